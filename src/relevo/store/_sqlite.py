"""What SQLite needs said on every connection, and when it may be checkpointed.

connect   WAL, fsync at every commit, no checkpoint on the way, foreign keys on; a file that went away is not made anew
          what is deleted is overwritten with zeros
checkout  a connection whose file was moved away or replaced is dropped: its writes would go to a file nobody opens again
begin     writers take the lock at once (BEGIN IMMEDIATE), so that two of them wait for each other instead of failing at commit,
          and take turns at it

Only the loop checkpoints. The last connection to close does so too, with the file locked for itself.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sqlalchemy import create_engine, event, exc
from sqlalchemy.pool import QueuePool

from relevo.errors import StoreForeign, StoreFull, StoreUnavailable
from relevo.store._turns import turn

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine

#: Execution option: the statement that begins a transaction on this connection; empty for none.
BEGIN = "relevo_begin"
#: Execution option of an engine: where its file is.
FILE = "relevo_file"
#: How a transaction begins that will write.
IMMEDIATE = "BEGIN IMMEDIATE"
BUSY_S = 5.0
_SAFE = (3, 51, 3)
_SWITCH_AGAIN_S = 0.02
#: What the switch to WAL answers where it took place, and where the database is in memory.
_SWITCHED = {"wal", "memory"}
_PRAGMAS = ("synchronous=FULL", "wal_autocheckpoint=0", "foreign_keys=ON", "temp_store=MEMORY", "secure_delete=ON")


def sqlite_warning() -> str | None:
    """Why this SQLite library is better replaced, or None when it is sound."""
    if sqlite3.sqlite_version_info >= _SAFE:
        return None
    return (
        f"SQLite {sqlite3.sqlite_version} has a rare fault that can lose a commit when two connections write and checkpoint at "
        "once (3.7.0 to 3.51.2). Relevo avoids it by checkpointing in one process only; use SQLite 3.51.3 or newer, or PostgreSQL."
    )


def open_engine(url: URL, busy_s: float, *, make: bool) -> Engine:
    """An engine for a file, or for a database in memory that all threads of this process share in turn.

    make: whether a file that is not there is made. Without it the file may be away for now, and is looked for at each use.
    """
    if url.database in {None, "", ":memory:"}:
        return _listening(
            create_engine(
                "sqlite://",
                poolclass=QueuePool,
                pool_size=1,  # one connection is one database in memory
                max_overflow=0,
                pool_timeout=busy_s,
                connect_args={"check_same_thread": False, "isolation_level": None},
            )
        )
    path = Path(str(url.database)).absolute()
    if make:
        _make(path)

    def connect() -> sqlite3.Connection:
        address = f"file:{quote(str(path))}?mode=rw"
        return sqlite3.connect(address, uri=True, timeout=busy_s, isolation_level=None, check_same_thread=False)

    engine = create_engine("sqlite://", poolclass=QueuePool, creator=connect, pool_timeout=busy_s)
    engine.update_execution_options(**{FILE: path})
    _follow(engine, path)
    return _listening(engine)


def _make(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
    except OSError as cause:
        raise (StoreFull if cause.errno == errno.ENOSPC else StoreUnavailable) from cause
    if not path.is_file():
        raise StoreForeign(reason=f"{path.name} is no file")


def _listening(engine: Engine) -> Engine:
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    _switch_to_wal(connection)
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}").close()


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    # Race: of several processes that open a new file at once, SQLite tells all but one that it is locked, whatever their
    # timeout; a moment later the file is in WAL mode and there is nothing left to switch.
    deadline = time.monotonic() + BUSY_S
    while True:
        try:
            _ask_for_wal(connection)
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_SWITCH_AGAIN_S)
        else:
            return


def _ask_for_wal(connection: sqlite3.Connection) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
    if mode not in _SWITCHED:
        # A disk that fails at this moment leaves SQLite in the mode it had, without a word.
        raise sqlite3.OperationalError("the write-ahead log cannot be made")


def _begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    statement = options.get(BEGIN, "BEGIN")
    if statement == IMMEDIATE and FILE in options:
        with turn(options[FILE], patience_s=BUSY_S / 2):
            connection.exec_driver_sql(statement)
    elif statement:
        connection.exec_driver_sql(statement)


def _follow(engine: Engine, path: Path) -> None:
    """Drop every pooled connection once the path names another file than the one they hold, or none."""

    def remember(_connection: object, record: Any) -> None:  # noqa: ANN401 - SQLAlchemy's record of a connection
        record.info["file"] = _identity(path)

    def compare(_connection: object, record: Any, _proxy: object) -> None:  # noqa: ANN401 - SQLAlchemy's record of a connection
        if record.info["file"] != _identity(path):
            raise exc.InvalidatePoolError

    event.listen(engine, "connect", remember)
    event.listen(engine, "checkout", compare)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - on every checkout: a third of the time of Path.stat
    except OSError:
        return None
    return (found.st_dev, found.st_ino)
