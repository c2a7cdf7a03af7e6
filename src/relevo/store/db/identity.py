"""Which database belongs to a home: an id written into the database at its creation, and kept in the home beside it.

    home/database.json ── id by place ──┐
    table database_identity ── id ──────┴─ equal? ─► it is read and written
         else ───► DatabaseMissingError · DatabaseCorruptError · DatabaseNotRecognizedError, and nothing in its place is touched

A place is where the settings say the database is; another `database_url` is another place, whose database becomes known at its
first use. A home that knows an id never creates a database in that place again: the file would stay empty where records were.
Whoever accepts the loss of a database removes `database.json`; the next command that begins a home then creates a new one.

    home/database-state.json ── written by the background process while the database cannot be trusted: code, reason, and the
    fingerprint of the file it is about; other processes do not write to that file
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
from relevo.store.files.blobs import write_atomic
from relevo.util.state_file import load_state, save_state

if TYPE_CHECKING:
    from sqlalchemy import Connection

IDENTITY_FILE = "database.json"
STATE_FILE = "database-state.json"
#: Execution option of an engine: the identity its database must have.
IDENTITY = "relevo_identity"
#: Device, inode, size, and the nanosecond of the last change of a file.
Fingerprint = tuple[int, int, int, int]
FIND = 'SELECT id FROM database_identity WHERE "row" = 1'
_FIND = text(FIND)
_NO_TABLE = "no such table"
_POSTGRES_NO_TABLE = "42P01"
_HOME_FILE = "relevo.db"


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Why the database cannot be used now, as the background process found it."""

    code: str
    reason: str
    file: Fingerprint | None = None  # None: about no file in particular


class DatabaseIdentity:
    """The id that a home's database must have; lives as long as the engine. Safe for several threads and processes."""

    def __init__(self, home: Path, url: str, *, begins: bool) -> None:
        """begins: whether a database may be created here, where none was known before."""
        self.home = home
        self.begins = begins
        self._file = home / IDENTITY_FILE
        self._place = _place(home, url)
        self._known: str | None = None

    def known(self) -> str | None:
        """The id kept in the home; None before the first use of this place.

        Raises DatabaseNotRecognizedError when the file cannot be read.
        """
        if self._known is None:
            self._known = self._kept().get(self._place)
        return self._known

    def keep(self, found: str) -> None:
        """Keep the id of the database found in this place. Raises DatabaseFullError, DatabaseUnavailableError."""
        kept = self._kept()
        if self._place not in kept:
            try:
                write_atomic({self._file: msgspec.json.encode(kept | {self._place: found}) + b"\n"})
            except OSError as cause:
                raise (DatabaseFullError if cause.errno == errno.ENOSPC else DatabaseUnavailableError) from cause
        self._known = found

    def check(self, connection: Connection) -> None:
        """Refuse a database with another id, or none. Raises DatabaseNotRecognizedError."""
        known = self.known()
        if known is None:
            return
        try:
            found = connection.execute(_FIND).scalar()
        except exc.DBAPIError as cause:
            if _lacks_table(cause):
                raise DatabaseNotRecognizedError(reason="it is empty or another one, where this home had a database") from cause
            raise
        if found != known:
            raise DatabaseNotRecognizedError(reason="it belongs to another home")

    def check_file(self, connection: sqlite3.Connection) -> None:
        """Refuse an SQLite file with another id, or none. Raises DatabaseNotRecognizedError, and what SQLite raises."""
        known = self.known()
        if known is None:
            return
        try:
            found = connection.execute(FIND).fetchone()
        except sqlite3.OperationalError as cause:
            if _NO_TABLE in str(cause):
                raise DatabaseNotRecognizedError(reason="it is empty or another one, where this home had a database") from cause
            raise
        if found is None or found[0] != known:
            raise DatabaseNotRecognizedError(reason="it belongs to another home")

    def adopt(self, connection: Connection) -> None:
        """Keep the id of this database where the home knows none yet. Raises as `keep` does."""
        if self.known() is None:
            found = connection.execute(_FIND).scalar()
            if found is not None:
                self.keep(str(found))

    # --- what the background process found ----------------------------------------------------------------------------

    def tell(self, error: DatabaseUnavailableError | None, file: Fingerprint | None = None) -> None:
        """Write down why the database cannot be trusted; None: it can again."""
        place = self.home / STATE_FILE
        if error is not None:
            save_state(place, State(code=error.code, reason=str(error.facts.get("reason", "")), file=file))
        else:
            with contextlib.suppress(OSError):
                place.unlink()

    def trouble(self, file: Fingerprint | None) -> DatabaseUnavailableError | None:
        """What was written down about the file of this fingerprint, if anything."""
        state = read_state(self.home)
        return None if state is None or state.file is None or state.file != file else error_of(state)

    def _kept(self) -> dict[str, str]:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=dict[str, str])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as cause:
            raise DatabaseNotRecognizedError(reason=f"{IDENTITY_FILE}, which names it, cannot be read") from cause


def read_state(home: Path) -> State | None:
    """Why the background process cannot use the database; None while it can, or where none runs."""
    place = home / STATE_FILE
    return load_state(place, State) if place.exists() else None


def error_of(state: State) -> DatabaseUnavailableError:
    """The state as the error that it was."""
    kind = by_code(state.code)
    error = (kind if issubclass(kind, DatabaseUnavailableError) else DatabaseUnavailableError)(reason=state.reason)
    assert isinstance(error, DatabaseUnavailableError)  # noqa: S101 - narrows
    return error


def fingerprint(path: Path) -> Fingerprint | None:
    """What tells one state of a file from another; None where there is no file."""
    try:
        found = os.stat(path)  # noqa: PTH116 - on every checkout: a third of the time of Path.stat
    except OSError:
        return None
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def _place(home: Path, url: str) -> str:
    """A word for where a database is, without passwords; the same for a home that was moved with the file in it."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        where = Path(str(parsed.database)).resolve()
        return "home" if where == home.resolve() / _HOME_FILE else _digest(str(where))
    return _digest(f"{parsed.host or ''}:{parsed.port or ''}/{parsed.database or ''}?{parsed.query.get('host', '')}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _lacks_table(cause: exc.DBAPIError) -> bool:
    return _NO_TABLE in str(cause.orig) or getattr(cause.orig, "sqlstate", None) == _POSTGRES_NO_TABLE
