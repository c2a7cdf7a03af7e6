"""Identifies the database of a home by an id that is written into the database at its creation and stored in the home.

    home/database.json ── id by location ──┐
    table database_identity ── id ─────────┴─ equal? ─► it is read and written
         else ───► DatabaseMissingError · DatabaseCorruptError · DatabaseNotRecognizedError, and the database is not modified

A location is derived from `database_url`; another URL is another location, whose database is recorded at its first use. Where a
home has recorded an id, it never creates a new database: that file would stay empty in place of the lost records. To accept the
loss of a database, remove `database.json`; the next command that begins a home then creates a new one.

    home/database-state.json ── written by the background process while the database cannot be trusted: code, reason, and the
    fingerprint of the file it refers to; other processes do not write to that file
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import exc, make_url, text

from relevo.errors import DatabaseFullError, DatabaseNotRecognizedError, DatabaseUnavailableError, by_code
from relevo.util.files import load_state, save_state, write_atomic

if TYPE_CHECKING:
    from sqlalchemy import Connection

IDENTITY_FILE = "database.json"
STATE_FILE = "database-state.json"
#: Execution option of an engine: the identity its database must have.
IDENTITY = "relevo_identity"
#: Device, inode, size, and time of the last change (ns) of a file.
Fingerprint = tuple[int, int, int, int]
FIND = 'SELECT id FROM database_identity WHERE "row" = 1'
_FIND = text(FIND)
_NO_TABLE = "no such table"
_POSTGRES_NO_TABLE = "42P01"
_HOME_FILE = "relevo.db"


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Why the database cannot be used now, as found by the background process."""

    code: str
    reason: str
    file: Fingerprint | None = None  # None: not about a particular file


class DatabaseIdentity:
    """The id of a home's database. Lifetime: the engine; safe for several threads and processes."""

    def __init__(self, home: Path, url: str, *, begins: bool) -> None:
        """begins: whether a database may be created here if none is recorded."""
        self.home = home
        self.begins = begins
        self._file = home / IDENTITY_FILE
        self._location = _location(home, url)
        self._cached_id: str | None = None

    def known(self) -> str | None:
        """Returns the id stored in the home; None before the first use of this location.

        Raises DatabaseNotRecognizedError when the file cannot be read.
        """
        if self._cached_id is None:
            self._cached_id = self._load_ids().get(self._location)
        return self._cached_id

    def keep(self, database_id: str) -> None:
        """Stores the id of the database at this location. Raises DatabaseFullError, DatabaseUnavailableError."""
        ids = self._load_ids()
        if self._location not in ids:
            try:
                write_atomic({self._file: msgspec.json.encode(ids | {self._location: database_id}) + b"\n"})
            except OSError as cause:
                raise (DatabaseFullError if cause.errno == errno.ENOSPC else DatabaseUnavailableError) from cause
        self._cached_id = database_id

    def check(self, connection: Connection) -> None:
        """Checks that the database has the stored id. Raises DatabaseNotRecognizedError."""
        expected = self.known()
        if expected is None:
            return
        try:
            actual = connection.execute(_FIND).scalar()
        except exc.DBAPIError as cause:
            if _is_missing_table(cause):
                raise DatabaseNotRecognizedError(reason="it is empty or another one, where this home had a database") from cause
            raise
        if actual != expected:
            raise DatabaseNotRecognizedError(reason="it belongs to another home")

    def check_file(self, connection: sqlite3.Connection) -> None:
        """Checks that an SQLite file has the stored id. Raises DatabaseNotRecognizedError, and SQLite's errors."""
        expected = self.known()
        if expected is None:
            return
        try:
            row = connection.execute(FIND).fetchone()
        except sqlite3.OperationalError as cause:
            if _NO_TABLE in str(cause):
                raise DatabaseNotRecognizedError(reason="it is empty or another one, where this home had a database") from cause
            raise
        if row is None or row[0] != expected:
            raise DatabaseNotRecognizedError(reason="it belongs to another home")

    def adopt(self, connection: Connection) -> None:
        """Stores the id of this database if the home has none yet. Raises as `keep` does."""
        if self.known() is None:
            database_id = connection.execute(_FIND).scalar()
            if database_id is not None:
                self.keep(str(database_id))

    # --- state file of the background process -------------------------------------------------------------------------

    def tell(self, error: DatabaseUnavailableError | None, file: Fingerprint | None = None) -> None:
        """Writes why the database cannot be trusted; None deletes that state."""
        path = self.home / STATE_FILE
        if error is not None:
            save_state(path, State(code=error.code, reason=str(error.facts.get("reason", "")), file=file))
        else:
            with contextlib.suppress(OSError):
                path.unlink()

    def trouble(self, file: Fingerprint | None) -> DatabaseUnavailableError | None:
        """Returns the stored error about the file of this fingerprint, or None."""
        state = read_state(self.home)
        return None if state is None or state.file is None or state.file != file else error_of(state)

    def _load_ids(self) -> dict[str, str]:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=dict[str, str])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as cause:
            raise DatabaseNotRecognizedError(reason=f"{IDENTITY_FILE}, which names it, cannot be read") from cause


def read_state(home: Path) -> State | None:
    """Returns why the background process cannot use the database; None while it can, or when none runs."""
    path = home / STATE_FILE
    return load_state(path, State) if path.exists() else None


def error_of(state: State) -> DatabaseUnavailableError:
    """Returns the error that the state describes."""
    error_class = by_code(state.code)
    error = (error_class if issubclass(error_class, DatabaseUnavailableError) else DatabaseUnavailableError)(reason=state.reason)
    assert isinstance(error, DatabaseUnavailableError)  # noqa: S101 - narrows
    return error


def fingerprint(path: Path) -> Fingerprint | None:
    """Returns a value that changes with the file; None without a file."""
    try:
        stat = os.stat(path)  # noqa: PTH116 - on every checkout: a third of the time of Path.stat
    except OSError:
        return None
    return (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)


def _location(home: Path, url: str) -> str:
    """Returns a key for a database's location, without passwords; unchanged when a home is moved together with its file."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        path = Path(str(parsed.database)).resolve()
        return "home" if path == home.resolve() / _HOME_FILE else _digest(str(path))
    return _digest(f"{parsed.host or ''}:{parsed.port or ''}/{parsed.database or ''}?{parsed.query.get('host', '')}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _is_missing_table(cause: exc.DBAPIError) -> bool:
    return _NO_TABLE in str(cause.orig) or getattr(cause.orig, "sqlstate", None) == _POSTGRES_NO_TABLE
