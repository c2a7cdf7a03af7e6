"""The reading end of the spool: what every worker, alive or dead, has committed and nobody has shipped yet.

    spool/ ─ files() ─► JournalFile(finished?) ─ read(after) ─► [(number, predictions), …] ─► ship ─► remove when finished

The database's file exchanged under a running server ─► mark: for a day, remove() keeps what was shipped as *.kept
another exchange, or a start ─► bring_back(): the kept files are journals again, and their rows reach this database too

A file is finished when a later one exists in the same folder or its writer's lock is free. Reading needs no word with the writer:
SQLite shows committed batches only.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from relevo.domain.prediction import PredictionRecord
from relevo.recording.journal import EXCHANGED, KEPT, LOCK, SUFFIX, exchanged_at, remove, remove_kept

if TYPE_CHECKING:
    from pathlib import Path


_SETTLED_S = 60.0
#: How long after an exchange of the database's file a shipped journal is kept.
KEPT_S = 24 * 3600.0
#: Where the loop names no bound: some hundredths of a second of the store, and a few MiB in memory.
_ROWS, _BYTES = 2500, 8 * 2**20
#: SQLite's words for a file whose writer has not made its table yet.
_NO_TABLE = "no such table"


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalFile:
    """One journal file as found; a finished one gets no further batches."""

    path: Path
    finished: bool

    @property
    def name(self) -> str:
        """Name within the spool: worker folder and number."""
        return f"{self.path.parent.name}/{self.path.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One committed batch; lives until it is shipped."""

    number: int
    predictions: list[PredictionRecord]


class JournalReader:
    """Finds and reads journal files; lives as long as the loop."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._decode = msgspec.msgpack.Decoder(list[PredictionRecord]).decode

    def files(self) -> list[JournalFile]:
        """All files, oldest first within each worker."""
        found: list[JournalFile] = []
        if not self.folder.is_dir():
            return found
        for worker in sorted(path for path in self.folder.iterdir() if path.is_dir()):
            # The lock is asked before the files are listed: a writer that dies in between only looks alive a little longer.
            dead = is_writer_dead(worker)
            paths = sorted(worker.glob(f"*{SUFFIX}"))
            found += [JournalFile(path=path, finished=dead or path != paths[-1]) for path in paths]
        return found

    def read(self, file: JournalFile, *, after: int, limit_rows: int = _ROWS, limit_bytes: int = _BYTES) -> list[Batch]:
        """Committed batches with a number above `after`, in order, up to about so many predictions or bytes of them.

        One transaction of the store ships what this gives, and others wait for its rows; so they are few. Large inputs are no
        part of it: they lie in files before it begins.

        A file that was just created and holds no table yet has none. Raises sqlite3.OperationalError when the file cannot be read
        now (its writer is just opening it, a full disk, no descriptors left) and sqlite3.DatabaseError when it is damaged.
        """
        connection = sqlite3.connect(f"file:{file.path}?mode=rw", uri=True, isolation_level=None)
        try:
            connection.execute("PRAGMA wal_autocheckpoint = 0")
            if file.finished:
                # Nobody else has it open: its index stays in memory, so it is read, shipped and removed even where the journals
                # themselves have filled the disk to the last byte.
                connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            return self._batches(connection, after, limit_rows, limit_bytes)
        except sqlite3.OperationalError as cause:
            if _NO_TABLE in str(cause):
                return []
            raise
        finally:
            # Race: closing the last connection checkpoints and removes the log; the writer of a live file holds its own, so
            # this only ever happens to files whose writer is gone.
            connection.close()

    def _batches(self, connection: sqlite3.Connection, after: int, limit_rows: int, limit_bytes: int) -> list[Batch]:
        batches: list[Batch] = []
        taken_rows = taken_bytes = 0
        rows = connection.execute("SELECT number, predictions FROM batches WHERE number > ? ORDER BY number", (after,))
        for number, data in rows:
            batches.append(Batch(number=number, predictions=self._decode(data)))
            taken_rows += len(batches[-1].predictions)
            taken_bytes += len(data)
            if taken_rows >= limit_rows or taken_bytes >= limit_bytes:
                break
        rows.close()
        return batches

    def remove(self, file: JournalFile) -> None:
        """Remove a shipped, finished file, or keep it while the database may be an older state that was put in place."""
        if exchanged_at(self.folder) is None:
            remove(file.path)
        else:
            _rename(file.path, KEPT)

    def mark_exchange(self) -> None:
        """From now on keep what is shipped: the database's file was exchanged, and may be exchanged again for a newer one."""
        if self.folder.is_dir():
            (self.folder / EXCHANGED).touch(mode=0o600)

    def bring_back(self) -> None:
        """Have the kept files shipped again: the database may be one that lacks their rows. Their ids keep each row one."""
        for path in self.folder.glob(f"*/*{KEPT}"):
            _rename(path, SUFFIX)

    def sweep(self) -> None:
        """Remove the folders of dead workers that hold no files any more, and what was kept for long enough."""
        if not self.folder.is_dir():
            return
        since = exchanged_at(self.folder)
        if since is None or time.time() - since > KEPT_S:
            remove_kept(self.folder)
        for worker in [path for path in self.folder.iterdir() if path.is_dir()]:
            # Race: a worker that starts has its folder a moment before it has the lock; a folder of some age is past that.
            settled = time.time() - worker.stat().st_mtime > _SETTLED_S
            if settled and not any(worker.glob(f"*{SUFFIX}")) and not any(worker.glob(f"*{KEPT}")) and is_writer_dead(worker):
                shutil.rmtree(worker, ignore_errors=True)

    def set_aside(self, file: JournalFile) -> Path:
        """Rename a damaged file with its log, so that it stops nobody and a person can look at it."""
        return _rename(file.path, ".damaged")


def _rename(path: Path, ending: str) -> Path:
    """Give a file another ending, its log before it."""
    renamed = path.with_suffix(ending)
    log = path.with_name(path.name + "-wal")
    if log.exists():
        log.rename(renamed.with_name(renamed.name + "-wal"))
    path.rename(renamed)
    return renamed


def is_writer_dead(worker: Path) -> bool:
    """Whether nobody holds the lock of this worker's folder any more; one without a lock yet is about to have it."""
    try:
        descriptor = os.open(worker / LOCK, os.O_RDWR)
    except FileNotFoundError:
        # Its writer has made the folder and not yet the lock; it will in a moment.
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
