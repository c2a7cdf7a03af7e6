"""The database engine: one per process, with one way to read, one to write, and one error when the database does not respond.

    connect(url) ─► Engine ─┬─► migrate(engine)                        once, before the first query
                            ├─► with read_transaction(engine) as c:    a snapshot
                            ├─► with write_transaction(engine) as c:   one transaction: committed completely or not at all
                            └─► checkpoint, truncate_wal(engine)       the background process only

A broken connection is dropped and replaced at the next use, so an outage needs no restart.
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

#: Arbitrary number, equal in every process that migrates one PostgreSQL database.
_MIGRATION_LOCK = 7_305_517_338
_POSTGRES_CONNECT_S = 5
_POSTGRES_OPTIONS = "-c lock_timeout=5s -c statement_timeout=60s -c idle_in_transaction_session_timeout=60s"
_POSTGRES_DISK_FULL = "53100"
#: Revisions of Relevo's migrations.
_REVISION = re.compile(r"\d{4}")
#: Execution option of a `write_transaction`: the functions to call after its commit.
_AFTER_COMMIT = "relevo_afterwards"
_CALLER_ERRORS = (exc.IntegrityError, exc.DataError)


def connect(url: str, *, busy_s: float = sqlite.BUSY_S, make: bool = True, identity: DatabaseIdentity | None = None) -> Engine:
    """Creates the engine of a database. Lifetime: the process. PostgreSQL is first contacted by the first query.

    url: `sqlite:///path` (an absolute path has four slashes), `sqlite://` for one in memory, `postgresql://user@host/database`.
    busy_s: seconds to wait for another writer. make: whether to create a missing SQLite file; otherwise nothing is written.
    identity: the identity that its database must have.
    Raises InvalidSettingError for another kind of URL, MissingDependencyError without psycopg, DatabaseUnavailableError when the
    file cannot be created.
    """
    try:
        parsed = make_url(url)
    except (exc.ArgumentError, ValueError) as cause:
        raise _invalid_url() from cause
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        engine = sqlite.open_engine(parsed, busy_s, make=make, identity=identity)
    elif backend in {"postgresql", "postgres"}:
        engine = _postgres(parsed, busy_s)
    else:
        raise _invalid_url()
    if identity is not None:
        engine.update_execution_options(**{IDENTITY: identity})
    return engine


def _invalid_url() -> InvalidSettingError:
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
        # Small, because every worker process has a pool, and PostgreSQL allows 100 connections by default.
        pool_size=2,
        max_overflow=6,
        pool_timeout=busy_s,
        connect_args=arguments,
    )


@contextmanager
def read_transaction(engine: Engine) -> Iterator[Connection]:
    """Opens a read transaction with one snapshot of the home's database. Raises DatabaseUnavailableError."""
    with _read(engine) as connection:
        _check_identity(connection)
        yield connection


@contextmanager
def _read(engine: Engine) -> Iterator[Connection]:
    with translate_db_errors(engine), engine.connect() as connection, connection.begin():
        yield connection


@contextmanager
def write_transaction(engine: Engine) -> Iterator[Connection]:
    """Opens a write transaction, committed at the end of the block. Raises DatabaseUnavailableError; then nothing was written.

    Refuses a database that is not the home's, or that the background process found damaged.
    """
    with _write(engine) as connection:
        _check_identity(connection)
        _refuse_if_untrusted(connection)
        yield connection


def _get_identity(engine: Engine | Connection) -> DatabaseIdentity | None:
    identity: DatabaseIdentity | None = engine.get_execution_options().get(IDENTITY)
    return identity


def _check_identity(connection: Connection) -> None:
    identity = _get_identity(connection)
    if identity is not None:
        identity.check(connection)


def _refuse_if_untrusted(connection: Connection) -> None:
    identity, file = _get_identity(connection), connection.get_execution_options().get(sqlite.FILE)
    if identity is None or file is None or not (identity.home / STATE_FILE).exists():
        return
    error = identity.trouble(fingerprint(file))
    if error is not None:
        raise error


@contextmanager
def _write(engine: Engine) -> Iterator[Connection]:
    callbacks: dict[Callable[[], object], None] = {}
    with translate_db_errors(engine), engine.connect() as raw:
        connection = raw.execution_options(**{sqlite.BEGIN: sqlite.IMMEDIATE, _AFTER_COMMIT: callbacks})
        with connection.begin():
            yield connection
    for callback in callbacks:
        callback()


def after_commit(connection: Connection, callback: Callable[[], object]) -> None:
    """Calls a function once, after the commit of this connection's transaction; not when it fails."""
    callbacks: dict[Callable[[], object], None] | None = connection.get_execution_options().get(_AFTER_COMMIT)
    if callbacks is not None:
        callbacks[callback] = None


@contextmanager
def translate_db_errors(engine: Engine) -> Iterator[None]:
    """Maps database errors to DatabaseUnavailableError. Integrity and data errors propagate: they are bugs."""
    try:
        yield
    except exc.DBAPIError as cause:
        if isinstance(cause, _CALLER_ERRORS):
            raise
        raise _to_store_error(cause, engine) from cause
    except exc.TimeoutError as cause:
        raise DatabaseUnavailableError from cause


def _to_store_error(cause: exc.DBAPIError, engine: Engine) -> DatabaseUnavailableError:
    """Returns the specific error where the database reports one, else DatabaseUnavailableError."""
    # The low byte is the primary result code; the higher bits are the extended code.
    code = getattr(cause.orig, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_NOTADB:
        return DatabaseNotRecognizedError(reason="it is no SQLite database, or its beginning is damaged")
    if code == sqlite3.SQLITE_CORRUPT:
        return DatabaseCorruptError()
    if code == sqlite3.SQLITE_FULL or getattr(cause.orig, "sqlstate", None) == _POSTGRES_DISK_FULL:
        return DatabaseFullError()
    file: Path | None = engine.get_execution_options().get(sqlite.FILE)
    if code == sqlite3.SQLITE_CANTOPEN and file is not None and not file.exists():
        return DatabaseMissingError()
    # No space for the log's index: SQLite reports it like a disk error, or a file it cannot open.
    if code in {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN} and file is not None and sqlite.is_disk_full(file):
        return DatabaseFullError()
    return DatabaseUnavailableError()


def file_of(engine: Engine) -> Path | None:
    """Returns the file of an SQLite database; None for one in memory, or another backend."""
    file: Path | None = engine.get_execution_options().get(sqlite.FILE)
    return file


def checkpoint(engine: Engine) -> None:
    """Copies SQLite's write-ahead log into the database file; does nothing on PostgreSQL. Raises DatabaseUnavailableError.

    Only the background process may call this. It does not wait: pages that a reader still needs stay in the log until the next time.
    """
    if engine.dialect.name != "sqlite":
        return
    _warn_once()
    with translate_db_errors(engine), engine.connect() as connection:
        # Without a transaction: inside one SQLite refuses to checkpoint.
        connection.execution_options(**{sqlite.BEGIN: ""}).exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)").close()


def truncate_wal(engine: Engine) -> bool:
    """Copies SQLite's log into the file and empties it, so that it holds no erased data. Returns whether that was possible now.

    Waits briefly for readers. Only the background process, or a process that is alone, may call this. Raises DatabaseUnavailableError.
    """
    if engine.dialect.name != "sqlite":
        return True
    with translate_db_errors(engine), engine.connect() as connection:
        result = connection.execution_options(**{sqlite.BEGIN: ""}).exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
    return int(result[0]) == 0


def needs_vacuum(engine: Engine) -> bool:
    """Whether deleted data remains in the database's files until its tables are rewritten."""
    return engine.dialect.name == "postgresql"


def vacuum(engine: Engine, tables: Sequence[str]) -> None:
    """Makes PostgreSQL rewrite these tables into new files (VACUUM FULL); SQLite has overwritten deleted data already.

    Takes time and free disk space in proportion to the tables, and blocks their readers and writers. Raises DatabaseUnavailableError.
    """
    if not needs_vacuum(engine):
        return
    with translate_db_errors(engine), engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for name in ("statement_timeout", "lock_timeout"):
            connection.exec_driver_sql(f"SET {name} = 0")
        try:
            connection.exec_driver_sql(f"VACUUM (FULL, ANALYZE) {', '.join(tables)}")
        finally:
            # The settings apply to this connection, and the next user of the pool must have the usual limits.
            connection.invalidate()


def check_integrity(engine: Engine) -> None:
    """Reads the whole SQLite database and raises DatabaseCorruptError if it is damaged; skipped on PostgreSQL. Slow."""
    if engine.dialect.name == "sqlite":
        with read_transaction(engine) as connection:
            if connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar() != "ok":
                raise DatabaseCorruptError


@cache
def _warn_once() -> None:
    warning = sqlite_warning()
    if warning is not None:
        # Only informs, because there is a workaround; `relevo doctor` reports it too.
        _log.info(warning, extra={"action": "store.sqlite"})


def migrate(engine: Engine) -> None:
    """Migrates the schema to this release; safe to call from several processes at once. Raises DatabaseUnavailableError.

    An empty database is adopted only if the home has none recorded. A schema of a later release is refused: rows that this release
    writes may lack what that one needs. Alembic is imported only when there is something to migrate.
    """
    identity = _get_identity(engine)
    with _read(engine) as connection:
        revision = _current_revision(connection)
        _check_ownership(connection, revision)
        if identity is not None:
            identity.check(connection)
        if revision is None and identity is not None and not identity.begins:
            raise DatabaseMissingError
        if revision is not None and revision > HEAD:
            raise DatabaseSchemaTooNewError(found=revision, known=HEAD)
    if revision != HEAD:
        with _write(engine) as connection:
            if engine.dialect.name == "postgresql":
                _lock_migration(connection)
            _upgrade(connection)
    if identity is not None:
        with _read(engine) as connection:
            identity.adopt(connection)


def _check_ownership(connection: Connection, revision: str | None) -> None:
    """Refuses a database with tables or revisions of another program. Raises DatabaseNotRecognizedError."""
    if revision is not None and _REVISION.fullmatch(revision) is None:
        raise DatabaseNotRecognizedError(reason="its tables are another program's")
    if revision is None and connection.dialect.name == "sqlite":
        tables = connection.execute(text("SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"))
        if tables.scalar():
            raise DatabaseNotRecognizedError(reason="it is a database of another program")


def _lock_migration(connection: Connection) -> None:
    """Lets one process migrate at a time, without time limits."""
    for name in ("statement_timeout", "lock_timeout"):
        connection.execute(text(f"SET LOCAL {name} = 0"))
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})


def _current_revision(connection: Connection) -> str | None:
    if not connection.dialect.has_table(connection, "alembic_version"):
        return None
    revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return revision


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
