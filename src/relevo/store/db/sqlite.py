"""SQLite specifics: connection settings, write locking, the write-ahead log, and validation of the file before it is opened.

connect   WAL, fsync at every commit, no automatic checkpoint, foreign keys on; a missing file is not created
          deleted content is overwritten with zeros
checkout  a connection whose file was moved or replaced is dropped: its writes would go to a file that is never opened again
begin     writers take the lock at once (BEGIN IMMEDIATE), so that concurrent ones wait instead of failing at commit,
          and queue for it fairly (`write_lock`)

Only the background process makes checkpoints. The last connection to close makes one too, with the file locked exclusively.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sqlite3
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sqlalchemy import create_engine, event, exc
from sqlalchemy.pool import QueuePool

from relevo.errors import (
    DatabaseCorruptError,
    DatabaseFullError,
    DatabaseMissingError,
    DatabaseNotRecognizedError,
    DatabaseUnavailableError,
)
from relevo.store.db.identity import fingerprint
from relevo.store.db.write_queue import write_lock
from relevo.util.files import load_state, save_state

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine

    from relevo.store.db.identity import DatabaseIdentity

#: Execution option: the statement that begins a transaction on this connection; empty for no statement.
BEGIN = "relevo_begin"
#: Execution option of an engine: its file.
FILE = "relevo_file"
#: Begins a write transaction.
IMMEDIATE = "BEGIN IMMEDIATE"
BUSY_S = 5.0
_FIXED_VERSION = (3, 51, 3)
_RETRY_S = 0.02
#: Journal modes after the switch to WAL: of a file, and of a database in memory.
_WAL_MODES = {"wal", "memory"}
#: The first bytes of a database file.
_MAGIC = b"SQLite format 3\x00"
_HEADER_BYTES = 100
#: File in the home: which database file the write-ahead log belongs to.
LOG_FILE = "database-log.json"
_STALE_SUFFIX = "-stale-"
_FileAndIndex = tuple[tuple[int, int], tuple[int, int]]
_MAX_WAIT_S = 0.5
#: Bytes that SQLite needs for its smallest file.
_MIN_FREE_BYTES = 64 * 1024
#: Open descriptors of database files; a process has one, tests have many.
_MAX_DESCRIPTORS = 32
_DESCRIPTORS: dict[Path, tuple[tuple[int, int], int]] = {}
_DESCRIPTORS_LOCK = threading.Lock()
_PRAGMAS = ("synchronous=FULL", "wal_autocheckpoint=0", "foreign_keys=ON", "temp_store=MEMORY", "secure_delete=ON")


def sqlite_warning() -> str | None:
    """Returns why to upgrade this SQLite library, or None when it is sound."""
    if sqlite3.sqlite_version_info >= _FIXED_VERSION:
        return None
    return (
        f"SQLite {sqlite3.sqlite_version} has a rare fault that can lose a commit when two connections write and checkpoint at "
        "once (3.7.0 to 3.51.2). Relevo avoids it by checkpointing in one process only; use SQLite 3.51.3 or newer, or PostgreSQL."
    )


def open_engine(url: URL, busy_s: float, *, make: bool, identity: DatabaseIdentity | None = None) -> Engine:
    """Creates an engine for a file, or for a database in memory that all threads of this process share.

    make: whether to create a missing file. Otherwise the file may be missing for now, and is looked for at each use.
    """
    if url.database in {None, "", ":memory:"}:
        return _add_listeners(
            create_engine(
                "sqlite://",
                poolclass=QueuePool,
                pool_size=1,  # each connection would have a database of its own
                max_overflow=0,
                pool_timeout=busy_s,
                connect_args={"check_same_thread": False, "isolation_level": None},
            )
        )
    path = Path(str(url.database)).absolute()
    if make:
        _create_file(path)

    log = None if identity is None else LogOwner(path, identity.home / LOG_FILE)

    def connect() -> sqlite3.Connection:
        if identity is not None:
            validate_file(path, identity)
            if log is not None and log.is_stale():
                raise DatabaseUnavailableError
        try:
            return _open(path, busy_s, identity)
        except sqlite3.OperationalError:
            if identity is None or identity.begins or not is_disk_full(path):
                raise
            # Reading needs no free space: the log's index is then in memory, and the file is locked exclusively meanwhile.
            return _open(path, busy_s, identity, shared=False)

    engine = create_engine("sqlite://", poolclass=QueuePool, creator=connect, pool_timeout=busy_s)
    engine.update_execution_options(**{FILE: path})
    _drop_outdated_connections(engine, path, identity)
    return _add_listeners(engine)


def _open(path: Path, busy_s: float, identity: DatabaseIdentity | None, *, shared: bool = True) -> sqlite3.Connection:
    address = f"file:{quote(str(path))}?mode=rw"
    connection = sqlite3.connect(address, uri=True, timeout=busy_s, isolation_level=None, check_same_thread=False)
    try:
        if not shared:
            connection.execute("PRAGMA locking_mode=EXCLUSIVE").close()
        # First of all: switching to WAL writes to the file, which may belong to another program.
        if identity is not None:
            identity.check_file(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def is_disk_full(path: Path) -> bool:
    """Whether the file's disk lacks the space for SQLite's smallest file."""
    try:
        return shutil.disk_usage(path.parent).free < _MIN_FREE_BYTES
    except OSError:
        return False


def _create_file(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
    except OSError as cause:
        raise (DatabaseFullError if cause.errno == errno.ENOSPC else DatabaseUnavailableError) from cause
    if not path.is_file():
        raise DatabaseNotRecognizedError(reason=f"{path.name} is no file")


def _add_listeners(engine: Engine) -> Engine:
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    return engine


def _configure(connection: sqlite3.Connection, _record: object) -> None:
    _switch_to_wal(connection)
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}").close()


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    # Race: of several processes that open a new file at once, SQLite reports to all but one that it is locked, whatever their
    # timeout; a moment later the file is in WAL mode and there is nothing left to switch.
    deadline = time.monotonic() + BUSY_S
    while True:
        try:
            _set_wal_mode(connection)
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_S)
        else:
            return


def _set_wal_mode(connection: sqlite3.Connection) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
    if mode not in _WAL_MODES:
        # On a disk error SQLite silently keeps its former mode.
        raise sqlite3.OperationalError("the write-ahead log cannot be made")


def _begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    statement = options.get(BEGIN, "BEGIN")
    if statement == IMMEDIATE and FILE in options:
        with write_lock(options[FILE], patience_s=BUSY_S / 2):
            connection.exec_driver_sql(statement)
    elif statement:
        connection.exec_driver_sql(statement)


def _drop_outdated_connections(engine: Engine, path: Path, identity: DatabaseIdentity | None) -> None:
    """Drops every pooled connection once the path refers to another file than the one it has open, or to none.

    Where the home knows its database, also once another program changed the file: the connection's page cache may be outdated.
    """

    def current_state() -> tuple[int, ...] | None:
        current = fingerprint(path)
        return current if current is None or identity is not None else current[:2]

    def remember(_connection: object, record: Any) -> None:
        record.info["file"] = current_state()

    def compare(_connection: object, record: Any, _proxy: object) -> None:
        if record.info["file"] != current_state():
            raise exc.InvalidatePoolError

    event.listen(engine, "connect", remember)
    event.listen(engine, "checkout", compare)


class LogOwner:
    """The file that the write-ahead log belongs to, as recorded in the home by the background process. Lifetime: an engine.

    A file moved to the path of another finds that one's log. SQLite would use it, and two indexes in one process release each
    other's locks. So no process opens the new file before the background process has removed the old log.
    """

    def __init__(self, path: Path, state_file: Path) -> None:
        self._path = path
        self._index = path.with_name(path.name + "-shm")
        self._state_file = state_file

    def keep(self) -> None:
        """Records the current file and index."""
        current = self._current()
        if current is not None and current != self._saved():
            save_state(self._state_file, current)

    def is_stale(self) -> bool:
        """Whether the file was replaced while the index is the same."""
        saved, current = self._saved(), self._current()
        return saved is not None and current is not None and current[0] != saved[0] and current[1] == saved[1]

    def _saved(self) -> _FileAndIndex | None:
        return load_state(self._state_file, tuple[tuple[int, int], tuple[int, int]])

    def _current(self) -> _FileAndIndex | None:
        file, index = fingerprint(self._path), fingerprint(self._index)
        return None if file is None or index is None else (file[:2], index[:2])

    def set_aside(self) -> None:
        """Renames the log. It stays until `sweep`, so that the next index has another inode. Called by integrity.py only."""
        for suffix in ("-wal", "-shm"):
            log = self._path.with_name(self._path.name + suffix)
            if log.exists():
                log.rename(log.with_name(f"{log.name}{_STALE_SUFFIX}{time.time_ns()}"))

    def sweep(self) -> None:
        """Deletes every renamed log: it belongs to no file any more, and contains user data."""
        for log in self._path.parent.glob(f"{self._path.name}-*{_STALE_SUFFIX}*"):
            log.unlink(missing_ok=True)


# --- validation of a file before SQLite opens it ----------------------------------------------------------------------------


def validate_file(path: Path, identity: DatabaseIdentity) -> None:
    """Refuses a file that cannot be the home's database, before SQLite opens and modifies it. Raises DatabaseUnavailableError."""
    deadline = time.monotonic() + _MAX_WAIT_S
    while (fault := _fault(path, identity)) is not None:
        # Race: a checkpoint writes the first page, which contains the length, before the file has that length.
        if not isinstance(fault, DatabaseCorruptError) or time.monotonic() > deadline:
            raise fault
        time.sleep(_RETRY_S)


def _fault(path: Path, identity: DatabaseIdentity) -> DatabaseUnavailableError | None:
    current = fingerprint(path)
    if current is None:
        return DatabaseMissingError()
    if not path.is_file():
        return DatabaseNotRecognizedError(reason=f"{path.name} is no file")
    if not os.access(path, os.R_OK, effective_ids=True):
        return DatabaseUnavailableError.with_message("This user may not read the database: change the rights of relevo.db.")
    expected_id, size = identity.known(), current[2]
    if expected_id is None:
        return None if size or identity.begins else DatabaseMissingError()
    header = _read_header(path, current[:2])
    page = int.from_bytes(header[16:18], "big")
    page = 65536 if page == 1 else page
    pages = int.from_bytes(header[28:32], "big")
    if not header.startswith(_MAGIC) or (size < page * pages and not _log_holds(path, range(size // page + 1, pages + 1))):
        return DatabaseCorruptError()
    return None


def _log_holds(path: Path, pages: range) -> bool:
    """Whether the write-ahead log contains all of these pages: a kill or a full disk may have ended a checkpoint early.

    See "The WAL File Format" in SQLite's documentation: a header of 32 bytes, then frames, each with a header of 24 bytes.
    """
    missing = set(pages)
    with contextlib.suppress(OSError), path.with_name(path.name + "-wal").open("rb") as log:
        header = log.read(32)
        frame_bytes = 24 + int.from_bytes(header[8:12], "big")
        while missing and len(frame_header := log.read(24)) == 24 and frame_header[8:16] == header[16:24]:  # the salts match
            missing.discard(int.from_bytes(frame_header[:4], "big"))
            log.seek(frame_bytes - 24, os.SEEK_CUR)
    return not missing


def _read_header(path: Path, file: tuple[int, int]) -> bytes:
    """Returns the first bytes of the file. Its descriptor stays open: closing it would release every lock this process has on the file."""
    with _DESCRIPTORS_LOCK:
        cached = _DESCRIPTORS.get(path)
        if cached is None or cached[0] != file:
            try:
                handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                return b""
            opened = os.fstat(handle)
            _DESCRIPTORS.pop(path, None)
            _DESCRIPTORS[path] = ((opened.st_dev, opened.st_ino), handle)
            stale = cached or (_DESCRIPTORS.pop(next(iter(_DESCRIPTORS))) if len(_DESCRIPTORS) > _MAX_DESCRIPTORS else None)
            if stale is not None:
                os.close(stale[1])
        return os.pread(_DESCRIPTORS[path][1], _HEADER_BYTES, 0)
