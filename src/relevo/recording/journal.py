"""The worker's journal: one batch of predictions is one transaction, committed before any of them is returned.

    write(batch) ─ encode ─ INSERT ─ COMMIT ─► may be returned
         └─ on any failure: the file is abandoned, JournalUnavailableError; a new file is opened after a short delay

Files are numbered within the worker's folder and rotated by size and age. Closing a file includes a checkpoint, which takes
milliseconds of disk time: it runs in a thread, never on the path of a request.
"""

from __future__ import annotations

import contextlib
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
from relevo.util.locks import hold_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from relevo.domain.prediction import PredictionRecord

log = logging.getLogger(__name__)

SUFFIX = ".journal"
LOCK = "alive"
#: File in the journal folder, touched to make every worker rotate its journal, since data in the old files must be deleted.
ROTATE_MARKER = "anew"
#: File in the journal folder: its mtime is when the database file was replaced; from then on shipped journals are kept.
EXCHANGED = "exchanged"
#: Suffix of a shipped journal that is kept.
KEPT = ".kept"
SCHEMA = "CREATE TABLE batches (number INTEGER PRIMARY KEY, predictions BLOB NOT NULL)"
#: SQLite's `synchronous` for each durability: whether the WAL reaches the disk before COMMIT returns.
_SYNCHRONOUS = {"process": "OFF", "relaxed": "OFF", "full": "FULL"}
_FILE_SUFFIXES = ("", "-wal", "-shm")


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalLimits:
    """When a journal file is rotated, and when writing stops."""

    rotate_bytes: int = 32 * 2**20
    rotate_s: float = 60.0
    #: Bytes of unshipped files of all workers, including dead ones, above which no new file is created.
    max_bytes: int = 2 * 2**30
    #: Free bytes to leave on the disk, so that the database and a rollback can still be written; at most a tenth of the disk.
    reserve_bytes: int = 64 * 2**20
    #: Seconds until a failed journal is retried.
    retry_s: float = 0.5


class Journal:
    """The journal of one worker. Lifetime: the worker. A lock makes sure that one thread at a time writes."""

    def __init__(
        self,
        folder: Path,
        *,
        durability: str = "process",
        limits: JournalLimits | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Lock the folder, which no other live worker may use. Creates no file yet."""
        self.folder = folder
        self.limits = limits or JournalLimits()
        self._synchronous = _SYNCHRONOUS[durability]
        self._monotonic = monotonic
        self._write_lock = threading.Lock()
        self._encode = msgspec.msgpack.Encoder().encode
        self._open: _OpenFile | None = None
        self._number = 0
        self._broken_until = 0.0
        self._error = ""
        self._closers: list[threading.Thread] = []
        self._rotation_requested_at = rotation_requested_at(folder.parent)
        self._lock_fd = _lock_folder(folder)

    @property
    def error(self) -> str:
        """Why nothing can be written at the moment; empty if writing works."""
        return self._error

    def write(self, predictions: Sequence[PredictionRecord]) -> None:
        """Commit one batch. Raises JournalUnavailableError, and then none of the batch is recorded."""
        data = self._encode(predictions)
        with self._write_lock:
            file = self._current_file()
            try:
                file.append(data)
            except sqlite3.Error as cause:
                # After a failed write the state of this file is unknown: it is never written again.
                self._abandon(file, str(cause))
                raise JournalUnavailableError(reason=str(cause)) from cause
            if self._is_due(file):
                self._open = None
                self._close_in_thread(file)

    def is_writable(self) -> bool:
        """Whether a write would be attempted and succeed; creates a new file if the last one failed."""
        # Race: a batch is being written, and its result will show. With durability=full the disk may be slow; a probe must not wait.
        if not self._write_lock.acquire(blocking=False):
            return not self._error
        try:
            self._current_file()
        except JournalUnavailableError:
            return False
        else:
            return True
        finally:
            self._write_lock.release()

    def rotate_if_old(self) -> None:
        """Rotate a file that is old or whose deletion was requested, so that it can be shipped and removed."""
        with self._write_lock:
            previous, self._rotation_requested_at = self._rotation_requested_at, rotation_requested_at(self.folder.parent)
            is_requested = previous != self._rotation_requested_at
            file = self._open
            if file is not None and file.rows and (is_requested or self._is_due(file)):
                self._open = None
                self._close_in_thread(file)
            if is_requested and self._open is None and self._number:
                # The newest file of a live worker counts as unfinished; once a newer one exists, it is shipped and removed.
                with contextlib.suppress(JournalUnavailableError):
                    self._current_file()

    def close(self) -> None:
        """Close the file, wait for files being closed, unlock the folder."""
        with self._write_lock:
            file, self._open = self._open, None
        if file is not None:
            self._close_in_thread(file)
        for closer in self._closers:
            closer.join()
        os.close(self._lock_fd)

    def size(self) -> int:
        """Bytes of all files of this worker that are not shipped yet."""
        return folder_bytes(self.folder)

    def _current_file(self) -> _OpenFile:
        if self._open is not None:
            return self._open
        now = self._monotonic()
        if now < self._broken_until:
            raise JournalUnavailableError(reason=self._error)
        try:
            self._check_disk_space()
            self._number += 1
            path = self.folder / f"{self._number:08d}{SUFFIX}"
            self._open = _OpenFile(path, synchronous=self._synchronous, opened_at=now)
        except (sqlite3.Error, OSError) as cause:
            reason = _failure_reason(cause)
            if reason != self._error:
                # Clients receive only the reason; the path of the journals is logged.
                log.warning("no journal can be opened in %s: %s", self.folder, reason, extra={"action": "journal_broken"})
            self._error = reason
            self._broken_until = now + self.limits.retry_s
            raise JournalUnavailableError(reason=self._error) from cause
        self._error = ""
        return self._open

    def _check_disk_space(self) -> None:
        disk = shutil.disk_usage(self.folder)
        if disk.free < min(self.limits.reserve_bytes, disk.total // 10):
            raise OSError("the disk is full")
        if folder_bytes(self.folder.parent) > self.limits.max_bytes:
            raise OSError("too many predictions wait to be shipped (setting spool_max_mb)")

    def _is_due(self, file: _OpenFile) -> bool:
        return file.bytes >= self.limits.rotate_bytes or self._monotonic() - file.opened_at >= self.limits.rotate_s

    def _abandon(self, file: _OpenFile, reason: str) -> None:
        log.error("journal broken: %s", reason, extra={"action": "journal_broken"})
        self._open = None
        self._error = reason
        self._broken_until = self._monotonic() + self.limits.retry_s
        self._close_in_thread(file)

    def _close_in_thread(self, file: _OpenFile) -> None:
        self._closers = [closer for closer in self._closers if closer.is_alive()]
        closer = threading.Thread(target=file.close, name="journal-close", daemon=True)
        closer.start()
        self._closers.append(closer)


def _failure_reason(cause: Exception) -> str:
    """Reason for clients why nothing can be written, without a path."""
    if isinstance(cause, OSError) and cause.errno is not None:
        return "the disk is full" if cause.errno in NO_ROOM else os.strerror(cause.errno)
    return str(cause)


class _OpenFile:
    """A journal file being written. Lifetime: from its first batch to its rotation."""

    def __init__(self, path: Path, *, synchronous: str, opened_at: float) -> None:
        self.opened_at = opened_at
        self.bytes = 0
        self.rows = 0
        # SQLite gives the WAL and its index the permissions of the file.
        path.touch(mode=0o600)
        # Journal's lock guarantees one writer at a time, in any thread.
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        execute = self._connection.execute
        (mode,) = execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            # If the disk fails now, SQLite silently stays in its old journal mode, in which readers block the writer.
            raise sqlite3.OperationalError("the write-ahead log cannot be made")
        execute(f"PRAGMA synchronous = {synchronous}")
        execute("PRAGMA wal_autocheckpoint = 0")
        execute(SCHEMA)

    def append(self, data: bytes) -> None:
        self._connection.execute("INSERT INTO batches (predictions) VALUES (?)", (data,))
        self.bytes += len(data)
        self.rows += 1

    def close(self) -> None:
        try:
            self._connection.close()
        except sqlite3.Error as cause:
            log.warning("journal file not closed cleanly: %s", cause, extra={"action": "journal_close"})


def _lock_folder(folder: Path) -> int:
    """Lock the folder for the lifetime of this process: once the lock is free, the background process knows that it is dead."""
    # Journals hold inputs of users: only the owner may read them.
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    # Race: the background process tries the lock for an instant when it lists the folder; so this waits instead of failing.
    return hold_lock(folder / LOCK)


def request_rotation(folder: Path) -> None:
    """Request every worker to start a new journal file, so that the data in the old ones is deleted soon."""
    if folder.is_dir():
        (folder / ROTATE_MARKER).touch(mode=0o600)


def remove_damaged(folder: Path) -> None:
    """Remove the journals that were set aside as damaged: they may contain data that a user asked to erase."""
    for path in folder.glob("*/*.damaged*"):
        path.unlink(missing_ok=True)


def exchanged_at(folder: Path) -> float | None:
    """When the database file was replaced, in seconds since 1970, while journals are kept for that; else None."""
    try:
        return (folder / EXCHANGED).stat().st_mtime
    except OSError:
        return None


def remove_kept(folder: Path) -> None:
    """Stop keeping shipped journals: their rows are in the database, or were erased there."""
    # The marker is removed first: files that are kept meanwhile are removed by the next tick of the background process.
    (folder / EXCHANGED).unlink(missing_ok=True)
    for path in folder.glob(f"*/*{KEPT}*"):
        path.unlink(missing_ok=True)


def rotation_requested_at(folder: Path) -> int:
    """When rotation was last requested, in nanoseconds since 1970; 0 for never."""
    try:
        return (folder / ROTATE_MARKER).stat().st_mtime_ns
    except OSError:
        return 0


def folder_bytes(folder: Path) -> int:
    """Bytes of all journal files below a folder, including their WALs; files that vanish meanwhile count as 0."""
    total = 0
    for path in folder.rglob(f"*{SUFFIX}*"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            # Race: the background process removed it after it was listed.
            continue
    return total


def remove(path: Path) -> None:
    """Remove a journal file with its WAL and index."""
    for suffix in _FILE_SUFFIXES:
        path.with_name(path.name + suffix).unlink(missing_ok=True)
