"""Checks that the SQLite file is still the one that Relevo wrote; done by the background process before it ships journals.

    look ─ same fingerprint? ─► yes: trusted      only checkpoints change the file, and only this process makes them
                └ no ─► reopen: identity, integrity ─┬ valid ─► trusted, possibly an older state of it: returns True
                                                     ├ invalid, but valid without its log ─► the log is another file's: dropped
                                                     └ invalid ─► DatabaseCorrupt, NotRecognized or MissingError, also in the home

SQLite keeps a write-ahead log next to the file. When a backup is copied over the file, that log belongs to the former content, and
SQLite would write it into the backup and corrupt it. Therefore a file that is valid only without its log is replaced by its own
copy: other processes still have the former file open, and neither use nor checkpoint the log any more.
PostgreSQL manages its own files.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import time
from typing import TYPE_CHECKING

from relevo.errors import (
    DatabaseCorruptError,
    DatabaseFullError,
    DatabaseMissingError,
    DatabaseNotRecognizedError,
    DatabaseUnavailableError,
)
from relevo.store.db import sqlite
from relevo.store.db.identity import IDENTITY, fingerprint
from relevo.util.files import sync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy import Engine

    from relevo.store.db.identity import DatabaseIdentity, Fingerprint

#: Seconds; a file written more recently may still be being copied.
_MIN_AGE_S = 1.0
_COPY_SUFFIX = "-checked"
#: Initial value: the state written by an earlier process stays until the first check.
_NOT_CHECKED = "nothing"
_CORRUPT_CODES = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
#: Errors that stay until the file changes.
_PERMANENT_ERRORS = (DatabaseCorruptError, DatabaseNotRecognizedError)


class DatabaseTrust:
    """Tracks whether the database file can be trusted. Lifetime: the background process."""

    def __init__(
        self,
        engine: Engine,
        *,
        now: Callable[[], float] = time.time,
        changed: Callable[[bool], None] = lambda _: None,
    ) -> None:
        """now: seconds since 1970, as in file timestamps.

        changed: called for each valid state of the file that this process did not write, before anything is written to it; with True
        if another state was trusted before, so that the file was replaced.
        """
        self._on_change = changed
        options = engine.get_execution_options()
        self._file: Path | None = options.get(sqlite.FILE)
        self._identity: DatabaseIdentity | None = options.get(IDENTITY)
        self._now = now
        self._log_owner: sqlite.LogOwner | None = None
        if self._file is not None and self._identity is not None:
            self._log_owner = sqlite.LogOwner(self._file, self._identity.home / sqlite.LOG_FILE)
        self._trusted: Fingerprint | None = None
        self._rejected: tuple[Fingerprint, DatabaseUnavailableError] | None = None
        # The state of the file that the current error is about, and the error that was reported last.
        self._error_state: Fingerprint | None = None
        self._reported: tuple[str, Fingerprint | None] | str | None = _NOT_CHECKED
        self._unverified: sqlite3.Connection | None = None
        # While it is open, no other connection is the last one to close, which would checkpoint the log into a replaced file.
        self._anchor: sqlite3.Connection | None = None

    @property
    def holds(self) -> bool:
        """Whether the file is the one trusted at the last check."""
        return self._file is None or (self._trusted is not None and fingerprint(self._file) == self._trusted)

    def poll(self) -> bool:
        """Whether the file is another database, or an older state, than at the last check. Raises DatabaseUnavailableError."""
        if self._file is None or self._identity is None or self._identity.known() is None:
            return False
        current = fingerprint(self._file)
        if current is not None and current == self._trusted:
            return False
        self._error_state = current
        was_trusted = self._trusted is not None
        self._revalidate(self._file, self._identity, current)
        self._error_state = None
        self._on_change(was_trusted)
        return True

    def note(self, error: DatabaseUnavailableError | None) -> None:
        """Writes to the home why the database cannot be used, or that it can again; only when that changed."""
        if self._identity is None:
            return
        report = None if error is None else (error.code, self._error_state)
        if report != self._reported:
            self._identity.tell(error, self._error_state)
            self._reported = report

    @contextlib.contextmanager
    def trusted_change(self) -> Iterator[None]:
        """Wraps a checkpoint: its changes to the file are trusted, even if it ends early. Raises DatabaseUnavailableError."""
        self.poll()
        try:
            yield
        finally:
            if self._file is not None and self._identity is not None:
                sqlite.validate_file(self._file, self._identity)
                self._trusted = fingerprint(self._file)

    def is_log_left(self) -> bool:
        """Whether a killed process left a log, which the next connection would copy into the file."""
        log = None if self._file is None else fingerprint(self._file.with_name(self._file.name + "-wal"))
        return log is not None and log[2] > 0

    def close(self) -> None:
        """Lets the last connection checkpoint on close again; only while the file is trusted."""
        if self.holds:
            _close(self._anchor)
            self._anchor = None

    def _revalidate(self, file: Path, identity: DatabaseIdentity, current: Fingerprint | None) -> None:
        if current is None:
            raise DatabaseMissingError
        if self._rejected is not None and self._rejected[0] == current:
            raise self._rejected[1]
        # The trusted file was changed by another program: other processes must not write until it is validated.
        if self._trusted is not None:
            self.note(DatabaseUnavailableError())
        if self._log_owner is not None and self._log_owner.is_stale():
            self._log_owner.set_aside()
        sqlite.validate_file(file, identity)
        connection, fault = _validate(file, identity)
        # Race: the last connection to close would checkpoint the log into the current file; so the former one is closed afterwards.
        replaced, self._unverified = self._unverified, connection
        _close(replaced)
        if fault is not None:
            self._drop_log_or_raise(file, identity, current, fault)
        trusted = fingerprint(file)
        self._replace_anchor(file)
        self._trusted, self._rejected = trusted, None

    def _drop_log_or_raise(
        self, file: Path, identity: DatabaseIdentity, current: Fingerprint, fault: DatabaseUnavailableError
    ) -> None:
        """Raises the fault, unless the file is valid without its log."""
        if not isinstance(fault, _PERMANENT_ERRORS) or self._now() - current[3] / 1e9 < _MIN_AGE_S:
            raise fault
        if not self._drop_log(file, identity):
            self._rejected = (current, fault)
            raise fault

    def _replace_anchor(self, file: Path) -> None:
        replaced, self._anchor = self._anchor, _open(file)
        self._anchor.execute("SELECT count(*) FROM sqlite_master").fetchone()
        _close(replaced)
        _close(self._unverified)
        self._unverified = None
        if self._log_owner is not None:
            self._log_owner.keep()
            self._log_owner.sweep()

    def _drop_log(self, file: Path, identity: DatabaseIdentity) -> bool:
        """Whether the file is valid without its log, which is then removed; otherwise nothing is changed."""
        log = file.with_name(file.name + "-wal")
        if not log.exists() or not log.stat().st_size:
            return False
        copy = file.with_name(file.name + _COPY_SUFFIX)
        try:
            shutil.copyfile(file, copy)
            copy.chmod(file.stat().st_mode & 0o777)
            connection, fault = _validate(copy, identity)
            _close(connection)
            if fault is not None:
                return False
            sync(copy)
            if self._log_owner is not None:
                self._log_owner.set_aside()
            copy.replace(file)
        except OSError as cause:
            raise DatabaseFullError from cause
        finally:
            for suffix in ("", "-wal", "-shm"):
                copy.with_name(copy.name + suffix).unlink(missing_ok=True)
        return True


def _open(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{file.as_uri()}?mode=rw", uri=True, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA wal_autocheckpoint=0")
    return connection


def _close(connection: sqlite3.Connection | None) -> None:
    if connection is not None:
        with contextlib.suppress(sqlite3.Error):
            connection.close()


def _validate(file: Path, identity: DatabaseIdentity) -> tuple[sqlite3.Connection | None, DatabaseUnavailableError | None]:
    """Returns a new connection, which has nothing of the file cached, and what is wrong with the file."""
    connection = None
    try:
        connection = _open(file)
        identity.check_file(connection)
        problems = connection.execute("PRAGMA integrity_check(1)").fetchall()
    except DatabaseNotRecognizedError as fault:
        return connection, fault
    except sqlite3.Error as cause:
        code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
        return connection, DatabaseCorruptError() if code in _CORRUPT_CODES else DatabaseUnavailableError()
    return connection, None if problems == [("ok",)] else DatabaseCorruptError()
