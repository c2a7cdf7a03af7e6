"""Whether the database's file is still the one that Relevo wrote, asked by the background process before it ships.

    look ─ fingerprint as it was? ─► yes: trusted      the file changes by checkpoints alone, which this process makes
                └ no ─► opened anew: identity, integrity ─┬ right ─► trusted, perhaps an older state of it: True is returned
                                                          ├ wrong, but right without its log ─► the log is of another file: dropped
                                                          └ wrong ─► DatabaseCorrupt, NotRecognized or MissingError, also in the home

SQLite keeps a write-ahead log beside the file. When somebody puts a backup over the file, the log is of the former content, and
SQLite would bring it into the backup and spoil it. Therefore a file that is only right without its log is replaced by its own copy:
connections of other processes, whose file is then another one, neither use nor checkpoint the log any more.
PostgreSQL looks after its own files.
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
from relevo.store.files.blobs import sync_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy import Engine

    from relevo.store.db.identity import DatabaseIdentity, Fingerprint

#: A file that was written to a moment ago is perhaps being copied still.
_SETTLED_S = 1.0
_COPY = "-checked"
#: What an earlier process told counts until this one has looked.
_NOT_YET = "nothing"
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
#: A file that was found so stays so until it changes.
_LASTING = (DatabaseCorruptError, DatabaseNotRecognizedError)


class DatabaseTrust:
    """What the background process knows of the database's file; lives as long as that process."""

    def __init__(
        self,
        engine: Engine,
        *,
        now: Callable[[], float] = time.time,
        changed: Callable[[bool], None] = lambda _: None,
    ) -> None:
        """now: seconds since 1970, as files are stamped.

        changed: is told of each state of the file that was found right and was not written here, before anything is written to it;
        with True when another one was trusted before, so that the file was exchanged.
        """
        self._changed = changed
        options = engine.get_execution_options()
        self._file: Path | None = options.get(sqlite.FILE)
        self._identity: DatabaseIdentity | None = options.get(IDENTITY)
        self._now = now
        self._log: sqlite.LogOwner | None = None
        if self._file is not None and self._identity is not None:
            self._log = sqlite.LogOwner(self._file, self._identity.home / sqlite.LOG_FILE)
        self._trusted: Fingerprint | None = None
        self._rejected: tuple[Fingerprint, DatabaseUnavailableError] | None = None
        # The state of the file that was found wrong, and what was told of it last.
        self._blamed: Fingerprint | None = None
        self._told: tuple[str, Fingerprint | None] | str | None = _NOT_YET
        self._suspect: sqlite3.Connection | None = None
        # While it is open, no other connection is the last one to close, which would checkpoint the log into whatever lies there.
        self._anchor: sqlite3.Connection | None = None

    @property
    def holds(self) -> bool:
        """Whether the file is the one that was trusted at the last look."""
        return self._file is None or (self._trusted is not None and fingerprint(self._file) == self._trusted)

    def look(self) -> bool:
        """Whether it is another database, or an older state of it, than at the last look. Raises DatabaseUnavailableError."""
        if self._file is None or self._identity is None or self._identity.known() is None:
            return False
        found = fingerprint(self._file)
        if found is not None and found == self._trusted:
            return False
        self._blamed = found
        was_trusted = self._trusted is not None
        self._examine(self._file, self._identity, found)
        self._blamed = None
        self._changed(was_trusted)
        return True

    def note(self, error: DatabaseUnavailableError | None) -> None:
        """Tell in the home why the database cannot be used, or that it can again; nothing is written while that stays the same."""
        if self._identity is None:
            return
        told = None if error is None else (error.code, self._blamed)
        if told != self._told:
            self._identity.tell(error, self._blamed)
            self._told = told

    @contextlib.contextmanager
    def own_change(self) -> Iterator[None]:
        """Around a checkpoint: what it changes in the file, even ending early, is trusted as before. Raises DatabaseUnavailableError."""
        self.look()
        try:
            yield
        finally:
            if self._file is not None and self._identity is not None:
                sqlite.refuse_unfit(self._file, self._identity)
                self._trusted = fingerprint(self._file)

    def is_log_left(self) -> bool:
        """Whether a killed process left a log behind, which the next connection would bring into the file."""
        log = None if self._file is None else fingerprint(self._file.with_name(self._file.name + "-wal"))
        return log is not None and log[2] > 0

    def close(self) -> None:
        """Let the last connection to close checkpoint again; only where the file is trusted."""
        if self.holds:
            _close(self._anchor)
            self._anchor = None

    def _examine(self, file: Path, identity: DatabaseIdentity, found: Fingerprint | None) -> None:
        if found is None:
            raise DatabaseMissingError
        if self._rejected is not None and self._rejected[0] == found:
            raise self._rejected[1]
        # What was trusted was changed by somebody: nobody else writes until it is known to be right.
        if self._trusted is not None:
            self.note(DatabaseUnavailableError())
        if self._log is not None and self._log.is_stale():
            self._log.set_aside()
        sqlite.refuse_unfit(file, identity)
        checked, fault = _checked(file, identity)
        # Race: the last connection to close would checkpoint the log into what lies there now; so the former one is closed after.
        former, self._suspect = self._suspect, checked
        _close(former)
        if fault is not None:
            self._reject(file, identity, found, fault)
        trusted = fingerprint(file)
        self._hold(file)
        self._trusted, self._rejected = trusted, None

    def _reject(self, file: Path, identity: DatabaseIdentity, found: Fingerprint, fault: DatabaseUnavailableError) -> None:
        """Raise the fault, unless the file is right without its log."""
        if not isinstance(fault, _LASTING) or self._now() - found[3] / 1e9 < _SETTLED_S:
            raise fault
        if not self._drop_log(file, identity):
            self._rejected = (found, fault)
            raise fault

    def _hold(self, file: Path) -> None:
        former, self._anchor = self._anchor, _opened(file)
        self._anchor.execute("SELECT count(*) FROM sqlite_master").fetchone()
        _close(former)
        _close(self._suspect)
        self._suspect = None
        if self._log is not None:
            self._log.keep()
            self._log.sweep()

    def _drop_log(self, file: Path, identity: DatabaseIdentity) -> bool:
        """Whether the file is right without its log, which is then removed; else nothing is changed."""
        log = file.with_name(file.name + "-wal")
        if not log.exists() or not log.stat().st_size:
            return False
        copy = file.with_name(file.name + _COPY)
        try:
            shutil.copyfile(file, copy)
            copy.chmod(file.stat().st_mode & 0o777)
            connection, fault = _checked(copy, identity)
            _close(connection)
            if fault is not None:
                return False
            sync_file(copy)
            if self._log is not None:
                self._log.set_aside()
            copy.replace(file)
        except OSError as cause:
            raise DatabaseFullError from cause
        finally:
            for ending in ("", "-wal", "-shm"):
                copy.with_name(copy.name + ending).unlink(missing_ok=True)
        return True


def _opened(file: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{file.as_uri()}?mode=rw", uri=True, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA wal_autocheckpoint=0")
    return connection


def _close(connection: sqlite3.Connection | None) -> None:
    if connection is not None:
        with contextlib.suppress(sqlite3.Error):
            connection.close()


def _checked(file: Path, identity: DatabaseIdentity) -> tuple[sqlite3.Connection | None, DatabaseUnavailableError | None]:
    """A connection of its own, whose memory holds nothing of the database yet, and what is wrong with it."""
    connection = None
    try:
        connection = _opened(file)
        identity.check_file(connection)
        problems = connection.execute("PRAGMA integrity_check(1)").fetchall()
    except DatabaseNotRecognizedError as fault:
        return connection, fault
    except sqlite3.Error as cause:
        kind = getattr(cause, "sqlite_errorcode", 0) & 0xFF
        return connection, DatabaseCorruptError() if kind in _DAMAGED else DatabaseUnavailableError()
    return connection, None if problems == [("ok",)] else DatabaseCorruptError()
