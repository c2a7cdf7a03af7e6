"""The writing end of the spool: one batch of predictions, one transaction, before any of them is answered.

    write(batch) ─ encode ─ INSERT ─ COMMIT ─► may be answered
         └─ on any failure: the file is given up, JournalUnavailableError, a fresh file is tried a moment later

Files are numbered within the worker's folder and replaced by size and age. Closing one means a checkpoint, which takes
milliseconds of disk: it happens on a thread of its own, never on the path of a request.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import sqlite3
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from relevo.errors import JournalUnavailableError
from relevo.util.files import NO_ROOM

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from relevo.domain.prediction import PredictionRecord

log = logging.getLogger(__name__)

SUFFIX = ".journal"
LOCK = "alive"
#: In the spool: touched when every worker shall begin a new file, since something in the old ones must go.
ROTATE_MARKER = "anew"
#: In the spool: since when what the database took is kept a second time, for its file was exchanged.
EXCHANGED = "exchanged"
#: What such a journal ends in once it was shipped.
KEPT = ".kept"
SCHEMA = "CREATE TABLE batches (number INTEGER PRIMARY KEY, predictions BLOB NOT NULL)"
#: SQLite's `synchronous` for each durability: whether the log reaches the disk before COMMIT returns.
_SYNCHRONOUS = {"process": "OFF", "relaxed": "OFF", "full": "FULL"}
_SUFFIXES = ("", "-wal", "-shm")


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalLimits:
    """When a file is replaced, and when writing stops."""

    rotate_bytes: int = 32 * 2**20
    rotate_s: float = 60.0
    #: Bytes of unshipped files of all workers, dead ones too, above which no further file is begun.
    max_bytes: int = 2 * 2**30
    #: Free bytes that must stay on the disk, so that the store and a rollback can still be written; at most a tenth of it.
    reserve_bytes: int = 64 * 2**20
    #: Seconds before a broken journal is tried again.
    retry_s: float = 0.5


class Journal:
    """The worker's journal; lives as long as the worker. One thread at a time writes, guarded by a lock."""

    def __init__(
        self,
        folder: Path,
        *,
        durability: str = "process",
        limits: JournalLimits | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the folder, which no other live worker may use. Opens no file yet."""
        self.folder = folder
        self.limits = limits or JournalLimits()
        self._synchronous = _SYNCHRONOUS[durability]
        self._monotonic = monotonic
        self._guard = threading.Lock()
        self._encode = msgspec.msgpack.Encoder().encode
        self._open: _OpenFile | None = None
        self._number = 0
        self._broken_until = 0.0
        self._reason = ""
        self._closers: list[threading.Thread] = []
        self._anew = rotation_requested_at(folder.parent)
        self._lock_fd = _claim(folder)

    @property
    def trouble(self) -> str:
        """Why nothing can be written at the moment; empty when all is well."""
        return self._reason

    def write(self, predictions: Sequence[PredictionRecord]) -> None:
        """Commit one batch. Raises JournalUnavailableError, and then none of the batch is kept."""
        data = self._encode(predictions)
        with self._guard:
            file = self._file()
            try:
                file.append(data)
            except sqlite3.Error as cause:
                # After a failed write the state of this file is unknown: it is never written again.
                self._give_up(file, str(cause))
                raise JournalUnavailableError(reason=str(cause)) from cause
            if self._is_due(file):
                self._open = None
                self._close_aside(file)

    def probe(self) -> bool:
        """Whether a write would be tried and succeed; opens a fresh file when the last one broke."""
        # Race: a batch is being written, and will tell. At durability=full the disk may take long; who asks must not wait for it.
        if not self._guard.acquire(blocking=False):
            return not self._reason
        try:
            self._file()
        except JournalUnavailableError:
            return False
        else:
            return True
        finally:
            self._guard.release()

    def rotate_if_old(self) -> None:
        """Replace a file that nobody wrote to for long, or that must go, so that it can be shipped and removed."""
        with self._guard:
            before, self._anew = self._anew, rotation_requested_at(self.folder.parent)
            must_go = before != self._anew
            file = self._open
            if file is not None and file.rows and (must_go or self._is_due(file)):
                self._open = None
                self._close_aside(file)
            if must_go and self._open is None and self._number:
                # A live worker's last file counts as unfinished; with a newer one beside it, it is shipped and removed.
                with contextlib.suppress(JournalUnavailableError):
                    self._file()

    def close(self) -> None:
        """Finish: close the file, wait for files being closed, free the folder."""
        with self._guard:
            file, self._open = self._open, None
        if file is not None:
            self._close_aside(file)
        for closer in self._closers:
            closer.join()
        os.close(self._lock_fd)

    def size(self) -> int:
        """Bytes of all files of this worker that are not shipped yet."""
        return folder_bytes(self.folder)

    def _file(self) -> _OpenFile:
        if self._open is not None:
            return self._open
        now = self._monotonic()
        if now < self._broken_until:
            raise JournalUnavailableError(reason=self._reason)
        try:
            self._check_room()
            self._number += 1
            path = self.folder / f"{self._number:08d}{SUFFIX}"
            self._open = _OpenFile(path, synchronous=self._synchronous, born=now)
        except (sqlite3.Error, OSError) as cause:
            why = _why(cause)
            if why != self._reason:
                # Callers are told the reason alone; where the journals lie is for the log.
                log.warning("no journal can be opened in %s: %s", self.folder, why, extra={"action": "journal_broken"})
            self._reason = why
            self._broken_until = now + self.limits.retry_s
            raise JournalUnavailableError(reason=self._reason) from cause
        self._reason = ""
        return self._open

    def _check_room(self) -> None:
        disk = shutil.disk_usage(self.folder)
        if disk.free < min(self.limits.reserve_bytes, disk.total // 10):
            raise OSError("the disk is full")
        if folder_bytes(self.folder.parent) > self.limits.max_bytes:
            raise OSError("too many predictions wait to be shipped (setting spool_max_mb)")

    def _is_due(self, file: _OpenFile) -> bool:
        return file.bytes >= self.limits.rotate_bytes or self._monotonic() - file.born >= self.limits.rotate_s

    def _give_up(self, file: _OpenFile, reason: str) -> None:
        log.error("journal broken: %s", reason, extra={"action": "journal_broken"})
        self._open = None
        self._reason = reason
        self._broken_until = self._monotonic() + self.limits.retry_s
        self._close_aside(file)

    def _close_aside(self, file: _OpenFile) -> None:
        self._closers = [closer for closer in self._closers if closer.is_alive()]
        closer = threading.Thread(target=file.close, name="journal-close", daemon=True)
        closer.start()
        self._closers.append(closer)


def _why(cause: Exception) -> str:
    """Why nothing can be written, without the path of a file."""
    if isinstance(cause, OSError) and cause.errno is not None:
        return "the disk is full" if cause.errno in NO_ROOM else os.strerror(cause.errno)
    return str(cause)


class _OpenFile:
    """One file while it is written; lives from its first batch to its replacement."""

    def __init__(self, path: Path, *, synchronous: str, born: float) -> None:
        self.born = born
        self.bytes = 0
        self.rows = 0
        # SQLite gives the log and the index the rights of the file.
        path.touch(mode=0o600)
        # One writer at a time is promised by Journal's guard, whichever thread it is.
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        run = self._connection.execute
        (mode,) = run("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            # A disk that fails at this moment leaves SQLite in its old mode without a word; there readers stop the writer.
            raise sqlite3.OperationalError("the write-ahead log cannot be made")
        run(f"PRAGMA synchronous = {synchronous}")
        run("PRAGMA wal_autocheckpoint = 0")
        run(SCHEMA)

    def append(self, data: bytes) -> None:
        self._connection.execute("INSERT INTO batches (predictions) VALUES (?)", (data,))
        self.bytes += len(data)
        self.rows += 1

    def close(self) -> None:
        try:
            self._connection.close()
        except sqlite3.Error as cause:
            log.warning("journal file not closed cleanly: %s", cause, extra={"action": "journal_close"})


def _claim(folder: Path) -> int:
    """Lock the folder for the life of this process: a free lock tells the loop that its writer is gone."""
    # Journals hold what people sent: nobody but the owner reads them.
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    # Race: the loop tries the lock for an instant when it looks around; so this waits instead of giving up.
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def request_rotation(spool: Path) -> None:
    """Ask every worker of a spool to begin a new file, so that what the old ones hold is soon gone."""
    if spool.is_dir():
        (spool / ROTATE_MARKER).touch(mode=0o600)


def remove_damaged(spool: Path) -> None:
    """Remove the journals that were set aside as damaged: nobody can tell whether they hold what a person asked to be erased."""
    for path in spool.glob("*/*.damaged*"):
        path.unlink(missing_ok=True)


def exchanged_at(spool: Path) -> float | None:
    """When the database's file was exchanged, in seconds since 1970, while journals are kept for that; else None."""
    try:
        return (spool / EXCHANGED).stat().st_mtime
    except OSError:
        return None


def remove_kept(spool: Path) -> None:
    """Keep no shipped journals any longer: what they hold is in the database, or was erased there."""
    # The mark goes first: what is put aside meanwhile goes with the next round of the loop.
    (spool / EXCHANGED).unlink(missing_ok=True)
    for path in spool.glob(f"*/*{KEPT}*"):
        path.unlink(missing_ok=True)


def rotation_requested_at(spool: Path) -> int:
    """When that was asked last, in nanoseconds since 1970; 0 for never."""
    try:
        return (spool / ROTATE_MARKER).stat().st_mtime_ns
    except OSError:
        return 0


def folder_bytes(folder: Path) -> int:
    """Bytes of all journal files below a folder, their logs included; files that vanish meanwhile count as nothing."""
    total = 0
    for path in folder.rglob(f"*{SUFFIX}*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            # Race: the loop removed it after it was listed.
            continue
    return total


def remove(path: Path) -> None:
    """Remove a journal file with its log and index."""
    for suffix in _SUFFIXES:
        path.with_name(path.name + suffix).unlink(missing_ok=True)
