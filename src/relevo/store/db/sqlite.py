"""What SQLite needs said on every connection, and when it may be checkpointed.

connect   WAL, fsync at every commit, no checkpoint on the way, foreign keys on; a file that went away is not made anew
          what is deleted is overwritten with zeros
checkout  a connection whose file was moved away or replaced is dropped: its writes would go to a file nobody opens again
begin     writers take the lock at once (BEGIN IMMEDIATE), so that two of them wait for each other instead of failing at commit,
          and take turns at it

Only the loop checkpoints. The last connection to close does so too, with the file locked for itself.
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
from relevo.util.state_file import load_state, save_state

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine

    from relevo.store.db.identity import DatabaseIdentity

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
#: How a database begins.
_MAGIC = b"SQLite format 3\x00"
_HEAD_BYTES = 100
#: In the home: which file the write-ahead log is of.
LOG_FILE = "database-log.json"
_ASIDE = "-stale-"
_FileAndIndex = tuple[tuple[int, int], tuple[int, int]]
_PATIENCE_S = 0.5
#: Bytes that SQLite needs for the smallest of its files.
_LEAST_ROOM = 64 * 1024
#: The open descriptor of each database's file; a process has one, tests have many.
_MOST_HEADS = 32
_HEADS: dict[Path, tuple[tuple[int, int], int]] = {}
_HEADS_GUARD = threading.Lock()
_PRAGMAS = ("synchronous=FULL", "wal_autocheckpoint=0", "foreign_keys=ON", "temp_store=MEMORY", "secure_delete=ON")


def sqlite_warning() -> str | None:
    """Why this SQLite library is better replaced, or None when it is sound."""
    if sqlite3.sqlite_version_info >= _SAFE:
        return None
    return (
        f"SQLite {sqlite3.sqlite_version} has a rare fault that can lose a commit when two connections write and checkpoint at "
        "once (3.7.0 to 3.51.2). Relevo avoids it by checkpointing in one process only; use SQLite 3.51.3 or newer, or PostgreSQL."
    )


def open_engine(url: URL, busy_s: float, *, make: bool, identity: DatabaseIdentity | None = None) -> Engine:
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

    log = None if identity is None else LogOwner(path, identity.home / LOG_FILE)

    def connect() -> sqlite3.Connection:
        if identity is not None:
            refuse_unfit(path, identity)
            if log is not None and log.is_stale():
                raise DatabaseUnavailableError
        try:
            return _opened(path, busy_s, identity)
        except sqlite3.OperationalError:
            if identity is None or identity.begins or not has_no_room(path):
                raise
            # Who only looks needs no room: the index of the log is then in memory, and the file is not shared meanwhile.
            return _opened(path, busy_s, identity, shared=False)

    engine = create_engine("sqlite://", poolclass=QueuePool, creator=connect, pool_timeout=busy_s)
    engine.update_execution_options(**{FILE: path})
    _follow(engine, path, identity)
    return _listening(engine)


def _opened(path: Path, busy_s: float, identity: DatabaseIdentity | None, *, shared: bool = True) -> sqlite3.Connection:
    address = f"file:{quote(str(path))}?mode=rw"
    connection = sqlite3.connect(address, uri=True, timeout=busy_s, isolation_level=None, check_same_thread=False)
    try:
        if not shared:
            connection.execute("PRAGMA locking_mode=EXCLUSIVE").close()
        # Before anything else is set on it: switching to WAL writes to the file, which may be somebody else's.
        if identity is not None:
            identity.check_file(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def has_no_room(path: Path) -> bool:
    """Whether the disk of this file has no room for the smallest of SQLite's files."""
    try:
        return shutil.disk_usage(path.parent).free < _LEAST_ROOM
    except OSError:
        return False


def _make(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
    except OSError as cause:
        raise (DatabaseFullError if cause.errno == errno.ENOSPC else DatabaseUnavailableError) from cause
    if not path.is_file():
        raise DatabaseNotRecognizedError(reason=f"{path.name} is no file")


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
        with write_lock(options[FILE], patience_s=BUSY_S / 2):
            connection.exec_driver_sql(statement)
    elif statement:
        connection.exec_driver_sql(statement)


def _follow(engine: Engine, path: Path, identity: DatabaseIdentity | None) -> None:
    """Drop every pooled connection once the path names another file than the one they hold, or none.

    Where the home knows its database, also once the file was changed past them: what they have in memory may be another one's.
    """

    def now() -> tuple[int, ...] | None:
        found = fingerprint(path)
        return found if found is None or identity is not None else found[:2]

    def remember(_connection: object, record: Any) -> None:
        record.info["file"] = now()

    def compare(_connection: object, record: Any, _proxy: object) -> None:
        if record.info["file"] != now():
            raise exc.InvalidatePoolError

    event.listen(engine, "connect", remember)
    event.listen(engine, "checkout", compare)


class LogOwner:
    """To which file the write-ahead log belongs, as the background process saw and kept it in the home; lives as long as an engine.

    A file moved into the place of another finds that one's log. SQLite would take it for its own, and two indexes of one process
    end each other's locks. So nobody opens the new file before the background process has taken the old log away.
    """

    def __init__(self, path: Path, kept: Path) -> None:
        self._path = path
        self._index = path.with_name(path.name + "-shm")
        self._kept = kept

    def keep(self) -> None:
        """Remember the file and the index that are there now."""
        seen = self._now()
        if seen is not None and seen != self._seen():
            save_state(self._kept, seen)

    def is_stale(self) -> bool:
        """Whether the file is another one beside the same index."""
        seen, now = self._seen(), self._now()
        return seen is not None and now is not None and now[0] != seen[0] and now[1] == seen[1]

    def _seen(self) -> _FileAndIndex | None:
        return load_state(self._kept, tuple[tuple[int, int], tuple[int, int]])

    def _now(self) -> _FileAndIndex | None:
        file, index = fingerprint(self._path), fingerprint(self._index)
        return None if file is None or index is None else (file[:2], index[:2])

    def set_aside(self) -> None:
        """Take a log from beside the file. Until `sweep` it stays, so that the next index has another inode. For trust.py alone."""
        for ending in ("-wal", "-shm"):
            log = self._path.with_name(self._path.name + ending)
            if log.exists():
                log.rename(log.with_name(f"{log.name}{_ASIDE}{time.time_ns()}"))

    def sweep(self) -> None:
        """Remove every log that was set aside: it belongs to no file any more, and holds what people sent."""
        for aside in self._path.parent.glob(f"{self._path.name}-*{_ASIDE}*"):
            aside.unlink(missing_ok=True)


# --- what lies in the place of a database that the home knows -------------------------------------------------------------


def refuse_unfit(path: Path, identity: DatabaseIdentity) -> None:
    """Refuse a file that cannot be the home's database, before SQLite opens it and writes to it. Raises DatabaseUnavailableError."""
    deadline = time.monotonic() + _PATIENCE_S
    while (fault := _fault(path, identity)) is not None:
        # Race: a checkpoint writes the first page, which tells the length, before the file has that length.
        if not isinstance(fault, DatabaseCorruptError) or time.monotonic() > deadline:
            raise fault
        time.sleep(_SWITCH_AGAIN_S)


def _fault(path: Path, identity: DatabaseIdentity) -> DatabaseUnavailableError | None:
    found = fingerprint(path)
    if found is None:
        return DatabaseMissingError()
    if not path.is_file():
        return DatabaseNotRecognizedError(reason=f"{path.name} is no file")
    if not os.access(path, os.R_OK, effective_ids=True):
        return DatabaseUnavailableError.told("This user may not read the database: change the rights of relevo.db.")
    known, size = identity.known(), found[2]
    if known is None:
        return None if size or identity.begins else DatabaseMissingError()
    head = _head(path, found[:2])
    page = int.from_bytes(head[16:18], "big")
    page = 65536 if page == 1 else page
    pages = int.from_bytes(head[28:32], "big")
    if not head.startswith(_MAGIC) or (size < page * pages and not _log_holds(path, range(size // page + 1, pages + 1))):
        return DatabaseCorruptError()
    return None


def _log_holds(path: Path, pages: range) -> bool:
    """Whether the write-ahead log has every one of these pages: a kill or a full disk ended a checkpoint early.

    See "The WAL File Format" in SQLite's documentation: a header of 32 bytes, then frames, each with a header of 24 bytes.
    """
    missing = set(pages)
    with contextlib.suppress(OSError), path.with_name(path.name + "-wal").open("rb") as log:
        header = log.read(32)
        frame = 24 + int.from_bytes(header[8:12], "big")
        while missing and len(head := log.read(24)) == 24 and head[8:16] == header[16:24]:  # the salts of this run of the log
            missing.discard(int.from_bytes(head[:4], "big"))
            log.seek(frame - 24, os.SEEK_CUR)
    return not missing


def _head(path: Path, file: tuple[int, int]) -> bytes:
    """The first bytes of the file. Its descriptor stays open: closing one would end every lock this process has on the file."""
    with _HEADS_GUARD:
        kept = _HEADS.get(path)
        if kept is None or kept[0] != file:
            try:
                handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                return b""
            opened = os.fstat(handle)
            _HEADS.pop(path, None)
            _HEADS[path] = ((opened.st_dev, opened.st_ino), handle)
            stale = kept or (_HEADS.pop(next(iter(_HEADS))) if len(_HEADS) > _MOST_HEADS else None)
            if stale is not None:
                os.close(stale[1])
        return os.pread(_HEADS[path][1], _HEAD_BYTES, 0)
