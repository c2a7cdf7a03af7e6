"""The door to the database: one engine a process, one way to read, one to write, one error when it does not answer.

    connect(url) ─► Engine ─┬─► migrate(engine)              once, before the first query
                            ├─► with reading(engine) as c:   a snapshot
                            ├─► with writing(engine) as c:   one transaction: all of it or nothing
                            └─► checkpoint, truncate(engine) the loop alone

A connection that broke is dropped and a new one made at the next use, so an outage ends by itself.
"""

from __future__ import annotations

import logging
import re
import sqlite3
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import create_engine, exc, make_url, text

from relevo.errors import (
    DatabaseCorruptError,
    DatabaseFullError,
    DatabaseMissingError,
    DatabaseNotRecognizedError,
    DatabaseSchemaTooNewError,
    DatabaseUnavailableError,
    InvalidSettingError,
    MissingDependencyError,
)
from relevo.store.db import sqlite
from relevo.store.db.identity import IDENTITY, STATE_FILE, DatabaseIdentity, fingerprint
from relevo.store.db.migrations import HEAD
from relevo.store.db.sqlite import sqlite_warning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy import URL, Connection, Engine

_log = logging.getLogger(__name__)

#: Any number will do; it must be the same in every process that migrates one PostgreSQL database.
_MIGRATION_LOCK = 7_305_517_338
_POSTGRES_CONNECT_S = 5
_POSTGRES_OPTIONS = "-c lock_timeout=5s -c statement_timeout=60s -c idle_in_transaction_session_timeout=60s"
_POSTGRES_DISK_FULL = "53100"
#: How our migrations are numbered.
_OUR_NUMBERS = re.compile(r"\d{4}")
#: Execution option of a transaction that `writing` began: what to do once it is committed.
_AFTERWARDS = "relevo_afterwards"
_OUR_FAULT = (exc.IntegrityError, exc.DataError)


def connect(url: str, *, busy_s: float = sqlite.BUSY_S, make: bool = True, identity: DatabaseIdentity | None = None) -> Engine:
    """An engine for a database by URL; lives as long as the process. PostgreSQL is not spoken to before the first query.

    url: `sqlite:///path` (an absolute path has four slashes), `sqlite://` for one in memory, `postgresql://user@host/database`.
    busy_s: seconds to wait for another writer. make: whether an SQLite file that is not there is made; if not, nothing is touched.
    identity: that its database must have to be read or written.
    Raises InvalidSettingError for another kind of URL, MissingDependencyError without psycopg, DatabaseUnavailableError when the
    file cannot be made.
    """
    try:
        parsed = make_url(url)
    except (exc.ArgumentError, ValueError) as cause:
        raise _not_a_url() from cause
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        engine = sqlite.open_engine(parsed, busy_s, make=make, identity=identity)
    elif backend in {"postgresql", "postgres"}:
        engine = _postgres(parsed, busy_s)
    else:
        raise _not_a_url()
    if identity is not None:
        engine.update_execution_options(**{IDENTITY: identity})
    return engine


def _not_a_url() -> InvalidSettingError:
    return InvalidSettingError(
        source="The store", name="database_url", expected="sqlite:///path/to/file or postgresql://user@host/database"
    )


def _postgres(url: URL, busy_s: float) -> Engine:
    if find_spec("psycopg") is None:
        raise MissingDependencyError(extra="postgres")
    arguments: dict[str, object] = {"connect_timeout": _POSTGRES_CONNECT_S}
    if "options" not in url.query:
        arguments["options"] = _POSTGRES_OPTIONS
    return create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_pre_ping=True,
        # Small, for every worker process has one, and PostgreSQL takes a hundred connections in all.
        pool_size=2,
        max_overflow=6,
        pool_timeout=busy_s,
        connect_args=arguments,
    )


@contextmanager
def read_transaction(engine: Engine) -> Iterator[Connection]:
    """A connection that sees one state of the home's own database throughout. Raises DatabaseUnavailableError."""
    with _reading(engine) as connection:
        _check(connection)
        yield connection


@contextmanager
def _reading(engine: Engine) -> Iterator[Connection]:
    with translate_db_errors(engine), engine.connect() as connection, connection.begin():
        yield connection


@contextmanager
def write_transaction(engine: Engine) -> Iterator[Connection]:
    """A transaction, committed when the block ends well. Raises DatabaseUnavailableError; then nothing was written.

    Nothing is written into a database that is not the home's, or that the background process found damaged.
    """
    with _writing(engine) as connection:
        _check(connection)
        _refuse_in_trouble(connection)
        yield connection


def _identity_of(engine: Engine | Connection) -> DatabaseIdentity | None:
    found: DatabaseIdentity | None = engine.get_execution_options().get(IDENTITY)
    return found


def _check(connection: Connection) -> None:
    identity = _identity_of(connection)
    if identity is not None:
        identity.check(connection)


def _refuse_in_trouble(connection: Connection) -> None:
    identity, file = _identity_of(connection), connection.get_execution_options().get(sqlite.FILE)
    if identity is None or file is None or not (identity.home / STATE_FILE).exists():
        return
    trouble = identity.trouble(fingerprint(file))
    if trouble is not None:
        raise trouble


@contextmanager
def _writing(engine: Engine) -> Iterator[Connection]:
    afterwards: dict[Callable[[], object], None] = {}
    with translate_db_errors(engine), engine.connect() as plain:
        connection = plain.execution_options(**{sqlite.BEGIN: sqlite.IMMEDIATE, _AFTERWARDS: afterwards})
        with connection.begin():
            yield connection
    for act in afterwards:
        act()


def after_commit(connection: Connection, act: Callable[[], object]) -> None:
    """Have something done, once, when the transaction of this connection is committed; never when it fails."""
    afterwards: dict[Callable[[], object], None] | None = connection.get_execution_options().get(_AFTERWARDS)
    if afterwards is not None:
        afterwards[act] = None


@contextmanager
def translate_db_errors(engine: Engine) -> Iterator[None]:
    """Turn every failure of the database into DatabaseUnavailableError; values it would never take stay what they are, a fault of ours."""
    try:
        yield
    except exc.DBAPIError as cause:
        if isinstance(cause, _OUR_FAULT):
            raise
        raise _named(cause, engine) from cause
    except exc.TimeoutError as cause:
        raise DatabaseUnavailableError from cause


def _named(cause: exc.DBAPIError, engine: Engine) -> DatabaseUnavailableError:
    """What a person must mend, where the database says it; else it only does not answer."""
    # The low byte is the kind; what stands above it tells where it was met.
    kind = getattr(cause.orig, "sqlite_errorcode", 0) & 0xFF
    if kind == sqlite3.SQLITE_NOTADB:
        return DatabaseNotRecognizedError(reason="it is no SQLite database, or its beginning is damaged")
    if kind == sqlite3.SQLITE_CORRUPT:
        return DatabaseCorruptError()
    if kind == sqlite3.SQLITE_FULL or getattr(cause.orig, "sqlstate", None) == _POSTGRES_DISK_FULL:
        return DatabaseFullError()
    file: Path | None = engine.get_execution_options().get(sqlite.FILE)
    if kind == sqlite3.SQLITE_CANTOPEN and file is not None and not file.exists():
        return DatabaseMissingError()
    # The index of the log has no room: SQLite tells it like a broken disk, or a file it cannot open.
    if kind in {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN} and file is not None and sqlite.has_no_room(file):
        return DatabaseFullError()
    return DatabaseUnavailableError()


def file_of(engine: Engine) -> Path | None:
    """The file of an SQLite database; None for one in memory, or of another kind."""
    file: Path | None = engine.get_execution_options().get(sqlite.FILE)
    return file


def checkpoint(engine: Engine) -> None:
    """Bring SQLite's write-ahead log into the file; PostgreSQL needs none. Only the loop may call this. Raises DatabaseUnavailableError.

    Waits for nobody: pages that a reader still needs stay in the log until the next time.
    """
    if engine.dialect.name != "sqlite":
        return
    _warn_once()
    with translate_db_errors(engine), engine.connect() as connection:
        # No transaction: inside one SQLite refuses to checkpoint.
        connection.execution_options(**{sqlite.BEGIN: ""}).exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)").close()


def truncate_wal(engine: Engine) -> bool:
    """Bring SQLite's log into the file and empty it, so that nothing erased stays there. Tells whether that was possible now.

    Waits a moment for readers. Only the loop may call this, or whoever is alone. Raises DatabaseUnavailableError.
    """
    if engine.dialect.name != "sqlite":
        return True
    with translate_db_errors(engine), engine.connect() as connection:
        done = connection.execution_options(**{sqlite.BEGIN: ""}).exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
    return int(done[0]) == 0


def needs_vacuum(engine: Engine) -> bool:
    """Whether the database's files hold what was removed until its tables are written anew."""
    return engine.dialect.name == "postgresql"


def write_anew(engine: Engine, tables: Sequence[str]) -> None:
    """Have PostgreSQL write these tables into new files and drop the old ones; SQLite has overwritten what was removed.

    Takes as long, and as much free room, as the tables are large; whoever reads or writes them waits. Raises DatabaseUnavailableError.
    """
    if not needs_vacuum(engine):
        return
    with translate_db_errors(engine), engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for name in ("statement_timeout", "lock_timeout"):
            connection.exec_driver_sql(f"SET {name} = 0")
        try:
            connection.exec_driver_sql(f"VACUUM (FULL, ANALYZE) {', '.join(tables)}")
        finally:
            # What was set holds for this connection; whoever takes it from the pool next must have the usual limits.
            connection.invalidate()


def check_integrity(engine: Engine) -> None:
    """Read the whole SQLite database and raise DatabaseCorruptError where it is not whole; PostgreSQL looks after itself. Takes long."""
    if engine.dialect.name == "sqlite":
        with read_transaction(engine) as connection:
            if connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar() != "ok":
                raise DatabaseCorruptError


@cache
def _warn_once() -> None:
    warning = sqlite_warning()
    if warning is not None:
        # Worked around, so nobody needs to act; `relevo doctor` tells it too.
        _log.info(warning, extra={"action": "store.sqlite"})


def migrate(engine: Engine) -> None:
    """Bring the schema to this release's state; safe to call from several processes at once. Raises DatabaseUnavailableError.

    An empty database becomes this home's only where none was known before. A schema of a later release is refused: what this one
    would write may lack what that one needs. Alembic is loaded only when there is something to do.
    """
    identity = _identity_of(engine)
    with _reading(engine) as connection:
        found = _revision(connection)
        _refuse_foreign(connection, found)
        if identity is not None:
            identity.check(connection)
        if found is None and identity is not None and not identity.begins:
            raise DatabaseMissingError
        if found is not None and found > HEAD:
            raise DatabaseSchemaTooNewError(found=found, known=HEAD)
    if found != HEAD:
        with _writing(engine) as connection:
            if engine.dialect.name == "postgresql":
                _wait_for_turn(connection)
            _upgrade(connection)
    if identity is not None:
        with _reading(engine) as connection:
            identity.adopt(connection)


def _refuse_foreign(connection: Connection, revision: str | None) -> None:
    """No table is added to somebody else's file, and no other program's numbering is taken for ours. Raises DatabaseNotRecognizedError."""
    if revision is not None and _OUR_NUMBERS.fullmatch(revision) is None:
        raise DatabaseNotRecognizedError(reason="its tables are another program's")
    if revision is None and connection.dialect.name == "sqlite":
        tables = connection.execute(text("SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"))
        if tables.scalar():
            raise DatabaseNotRecognizedError(reason="it is a database of another program")


def _wait_for_turn(connection: Connection) -> None:
    """Let one process migrate at a time, and as long as it takes."""
    for name in ("statement_timeout", "lock_timeout"):
        connection.execute(text(f"SET LOCAL {name} = 0"))
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})


def _revision(connection: Connection) -> str | None:
    if not connection.dialect.has_table(connection, "alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
