"""Reads the journals: the predictions that all workers, alive or dead, have committed and that are not shipped yet.

    journal folder ─ files() ─► JournalFile(finished?) ─ read(after) ─► [(number, predictions), …] ─► ship ─► remove when finished

Database file replaced under a running server ─► mark_exchange(): for a day, remove() keeps shipped journals as *.kept
replaced again, or a start ─► restore_quarantined(): the kept files are journals again, and their rows reach this database too

A file is finished when a later one exists in the same folder or when its writer's lock is free. Reading needs no coordination with
the writer: SQLite shows only committed batches.
"""

from __future__ import annotations

import shutil
import sqlite3
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from relevo.domain.prediction import PredictionRecord
from relevo.recording.journal import EXCHANGED, KEPT, LOCK, SUFFIX, exchanged_at, remove, remove_kept
from relevo.util.locks import is_locked

if TYPE_CHECKING:
    from pathlib import Path


_MIN_AGE_S = 60.0
#: Seconds for which shipped journals are kept after the database file was replaced.
KEPT_S = 24 * 3600.0
#: Default limits of one read: some hundredths of a second of database time, and a few MiB of memory.
_MAX_ROWS, _MAX_BYTES = 2500, 8 * 2**20
#: SQLite's message for a file whose writer has not created its table yet.
_NO_TABLE = "no such table"


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalFile:
    """A journal file; a finished one gets no further batches."""

    path: Path
    finished: bool

    @property
    def name(self) -> str:
        """Name within the journal folder: worker folder and file number."""
        return f"{self.path.parent.name}/{self.path.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One committed batch. Lifetime: until it is shipped."""

    number: int
    predictions: list[PredictionRecord]


class JournalReader:
    """Finds and reads journal files. Lifetime: the background process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._decode = msgspec.msgpack.Decoder(list[PredictionRecord]).decode

    def files(self) -> list[JournalFile]:
        """All files, oldest first within each worker."""
        files: list[JournalFile] = []
        if not self.folder.is_dir():
            return files
        for worker in sorted(path for path in self.folder.iterdir() if path.is_dir()):
            # The lock is checked before the files are listed: a writer that dies in between only looks alive a little longer.
            dead = is_writer_dead(worker)
            paths = sorted(worker.glob(f"*{SUFFIX}"))
            files += [JournalFile(path=path, finished=dead or path != paths[-1]) for path in paths]
        return files

    def read(self, file: JournalFile, *, after: int, limit_rows: int = _MAX_ROWS, limit_bytes: int = _MAX_BYTES) -> list[Batch]:
        """Committed batches with a number above `after`, in order, up to about this many predictions or bytes of them.

        The shipper copies them in one transaction, for which other writers of the database wait; so the limits are small. Large
        inputs do not count: they are written to files before the transaction.

        Empty for a file that was just created and has no table yet. Raises sqlite3.OperationalError if the file cannot be read now
        (its writer is just opening it, a full disk, no file descriptors left) and sqlite3.DatabaseError if it is damaged.
        """
        connection = sqlite3.connect(f"file:{file.path}?mode=rw", uri=True, isolation_level=None)
        try:
            connection.execute("PRAGMA wal_autocheckpoint = 0")
            if file.finished:
                # No other process has it open: its index stays in memory, so it can be read, shipped and removed even if the
                # journals themselves have filled the disk completely.
                connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            return self._batches(connection, after, limit_rows, limit_bytes)
        except sqlite3.OperationalError as cause:
            if _NO_TABLE in str(cause):
                return []
            raise
        finally:
            # Race: closing the last connection checkpoints and removes the WAL; the writer of a live file holds its own, so
            # this only happens to files whose writer is dead.
            connection.close()

    def _batches(self, connection: sqlite3.Connection, after: int, limit_rows: int, limit_bytes: int) -> list[Batch]:
        batches: list[Batch] = []
        total_rows = total_bytes = 0
        rows = connection.execute("SELECT number, predictions FROM batches WHERE number > ? ORDER BY number", (after,))
        for number, data in rows:
            batches.append(Batch(number=number, predictions=self._decode(data)))
            total_rows += len(batches[-1].predictions)
            total_bytes += len(data)
            if total_rows >= limit_rows or total_bytes >= limit_bytes:
                break
        rows.close()
        return batches

    def remove(self, file: JournalFile) -> None:
        """Remove a shipped, finished file, or keep it while the database file may be an older copy."""
        if exchanged_at(self.folder) is None:
            remove(file.path)
        else:
            _rename(file.path, KEPT)

    def mark_exchange(self) -> None:
        """Keep shipped journals from now on: the database file was replaced, and may be replaced by a newer one again."""
        if self.folder.is_dir():
            (self.folder / EXCHANGED).touch(mode=0o600)

    def restore_quarantined(self) -> None:
        """Ship the kept files again: the database may lack their rows. Their ids prevent duplicates."""
        for path in self.folder.glob(f"*/*{KEPT}"):
            _rename(path, SUFFIX)

    def remove_empty_folders(self) -> None:
        """Remove the folders of dead workers without files, and the kept files whose time is over."""
        if not self.folder.is_dir():
            return
        replaced_at = exchanged_at(self.folder)
        if replaced_at is None or time.time() - replaced_at > KEPT_S:
            remove_kept(self.folder)
        for worker in [path for path in self.folder.iterdir() if path.is_dir()]:
            # Race: a starting worker creates its folder a moment before its lock; an older folder is past that moment.
            is_old = time.time() - worker.stat().st_mtime > _MIN_AGE_S
            if is_old and not any(worker.glob(f"*{SUFFIX}")) and not any(worker.glob(f"*{KEPT}")) and is_writer_dead(worker):
                shutil.rmtree(worker, ignore_errors=True)

    def quarantine(self, file: JournalFile) -> Path:
        """Rename a damaged file and its WAL, so that it does not block shipping and can be inspected."""
        return _rename(file.path, ".damaged")


def _rename(path: Path, suffix: str) -> Path:
    """Change the suffix of a file, its WAL first."""
    renamed = path.with_suffix(suffix)
    wal = path.with_name(path.name + "-wal")
    if wal.exists():
        wal.rename(renamed.with_name(renamed.name + "-wal"))
    path.rename(renamed)
    return renamed


def is_writer_dead(worker: Path) -> bool:
    """Whether the lock of this worker's folder is free; False for a folder whose lock file does not exist yet."""
    try:
        return not is_locked(worker / LOCK)
    except FileNotFoundError:
        # Its writer has created the folder and will create the lock in a moment.
        return False
