"""The engine: transactions, concurrent writers, recovery from outages, and imports only when needed."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, text

from relevo.domain.ids import new_id
from relevo.domain.prediction import Label
from relevo.errors import DatabaseUnavailableError, InvalidSettingError
from relevo.store.audit.log import AuditLog
from relevo.store.db import engine as engine_module
from relevo.store.db.engine import checkpoint, connect, migrate, read_transaction, write_transaction
from relevo.store.db.migrations import HEAD
from relevo.store.db.sqlite import sqlite_warning
from relevo.store.labels.labels import Labels
from relevo.store.predictions import PredictionStore
from relevo.store.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Engine

    from relevo.domain.prediction import PredictionRecord

AUDIT_LOG = AuditLog(b"key")
AT = datetime(2026, 3, 1, tzinfo=UTC)
SOURCE = Path(__file__).parents[3] / "src"


def label(value: str = "7") -> Label:
    return Label(prediction=new_id(1), value=value, author="ana", source="cli", at=AT)


def terminate(url: str, pid: int | None) -> None:
    """Closes a connection from the server's side."""
    killer = connect(url)
    with write_transaction(killer) as connection:
        assert connection.scalar(text("SELECT pg_terminate_backend(:pid, 2000)"), {"pid": pid})
    killer.dispose()


class TestTransactions:
    """The contract of reading and writing."""

    def test_all_or_nothing(self, engine: Engine, history: PredictionStore) -> None:
        """A block that raises writes nothing, and its error propagates unchanged."""

        def half() -> None:
            with write_transaction(engine) as connection:
                connection.execute(text("INSERT INTO spool_positions VALUES ('a', 1)"))
                raise KeyError

        with pytest.raises(KeyError):
            half()
        assert history.positions() == {}

    def test_a_reader_sees_no_half_transaction(self, engine: Engine, history: PredictionStore) -> None:
        """During a write, readers continue and see the former state."""
        with write_transaction(engine) as connection:
            connection.execute(text("INSERT INTO spool_positions VALUES ('a', 1)"))
            assert history.positions() == {}
        assert history.positions() == {"a": 1}

    def test_writers_wait_for_each_other(self, url: str) -> None:
        """Concurrent writes of several processes' engines all succeed, and nothing is lost."""
        engines = [connect(url) for _ in range(4)]

        def put(number: int) -> None:
            Labels(engines[number % 4], AUDIT_LOG).put(label(str(number)))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(put, range(80)))
        with read_transaction(engines[0]) as connection:
            assert connection.scalar(text("SELECT count(DISTINCT value) FROM labels")) == 80
        for engine in engines:
            engine.dispose()

    def test_a_missing_table_is_an_unavailable_store(self, empty_url: str) -> None:
        """A database without migrations is reported as unavailable, not as a programming error."""
        engine = connect(empty_url)
        with pytest.raises(DatabaseUnavailableError):
            PredictionStore(engine).positions()
        engine.dispose()


class TestPostgresOutage:
    """Outages of the PostgreSQL server."""

    @pytest.fixture
    def backend(self) -> str:
        """PostgreSQL only."""
        return "postgresql"

    def test_a_restarted_server_is_used_again(
        self, engine: Engine, postgres: Any, prediction: Callable[..., PredictionRecord]
    ) -> None:
        """A stopped server is reported as unavailable at once; after its restart the same objects work, without duplicates."""
        history = PredictionStore(engine)
        some = [prediction(), prediction()]
        history.insert_from_journal("w1.spool", 10, some[:1])
        postgres.stop()
        try:
            for _ in range(3):
                before = time.monotonic()
                with pytest.raises(DatabaseUnavailableError):
                    history.insert_from_journal("w1.spool", 20, some)
                assert time.monotonic() - before < 3
        finally:
            postgres.start()
        assert history.insert_from_journal("w1.spool", 20, some) == 1
        assert history.positions() == {"w1.spool": 20}

    def test_a_cut_connection_is_not_noticed(self, engine: Engine, url: str) -> None:
        """An idle connection closed by the server is replaced without an error."""
        history = PredictionStore(engine)
        history.positions()
        with engine.connect() as connection:
            pid = connection.scalar(text("SELECT pg_backend_pid()"))
        terminate(url, pid)
        assert history.positions() == {}

    def test_a_cut_transaction_leaves_nothing(self, engine: Engine, url: str) -> None:
        """A connection lost during a transaction is reported as unavailable, and nothing is written."""

        def cut() -> None:
            with write_transaction(engine) as connection:
                connection.execute(text("INSERT INTO spool_positions VALUES ('a', 1)"))
                terminate(url, connection.scalar(text("SELECT pg_backend_pid()")))
                connection.execute(text("INSERT INTO spool_positions VALUES ('b', 1)"))

        with pytest.raises(DatabaseUnavailableError):
            cut()
        assert PredictionStore(engine).positions() == {}


class TestSqliteOutage:
    """Outages of the SQLite file."""

    @pytest.fixture
    def backend(self) -> str:
        """SQLite only."""
        return "sqlite"

    @pytest.fixture
    def path(self, url: str) -> Path:
        """The database file."""
        return Path(url.removeprefix("sqlite:///"))

    @pytest.fixture
    def engine(self, url: str) -> Iterator[Engine]:
        """An engine with a short lock timeout."""
        engine = connect(url, busy_s=0.2)
        yield engine
        engine.dispose()

    def test_a_lock_held_long_is_an_outage(self, engine: Engine, path: Path) -> None:
        """A lock held longer than the timeout blocks writing, not reading; writing works again after its release."""
        labels = Labels(engine, AUDIT_LOG)
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseUnavailableError):
            labels.put(label())
        assert labels.for_prediction(bytes(16)) == []
        holder.execute("ROLLBACK")
        holder.close()
        labels.put(label())

    def test_a_lock_held_short_is_waited_for(self, url: str, path: Path) -> None:
        """A writer waits for another one that takes less than the timeout."""
        engine = connect(url, busy_s=5)
        holder = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        holder.execute("BEGIN IMMEDIATE")
        free = threading.Timer(0.3, holder.rollback)
        free.start()
        Labels(engine, AUDIT_LOG).put(label())
        free.join()
        holder.close()
        engine.dispose()

    def test_a_file_moved_away_and_back(self, engine: Engine, path: Path) -> None:
        """Without its file the database is unavailable and not created anew; with the file back it continues."""
        labels = Labels(engine, AUDIT_LOG)
        given = label()
        labels.put(given)
        away = path.with_suffix(".away")
        path.rename(away)
        for _ in range(2):
            with pytest.raises(DatabaseUnavailableError):
                labels.put(given)
            with pytest.raises(DatabaseUnavailableError):
                labels.for_prediction(given.prediction)
        assert not path.exists()
        away.rename(path)
        corrected = labels.put(replace(given, value="9"))
        assert labels.for_prediction(given.prediction) == [given, corrected]

    def test_a_replaced_file_is_followed(self, engine: Engine, path: Path, tmp_path: Path) -> None:
        """After a backup replaced the file, writes go to the new file, not to the unlinked one."""
        labels = Labels(engine, AUDIT_LOG)
        backup = tmp_path / "backup.db"
        with write_transaction(engine) as connection:
            connection.execute(text("SELECT 1"))
        checkpoint(engine)
        shutil.copy(path, backup)
        given = label()
        labels.put(given)
        for tail in ("-wal", "-shm"):
            path.with_name(path.name + tail).unlink()
        backup.replace(path)
        assert labels.for_prediction(given.prediction) == []
        labels.put(given)
        witness = sqlite3.connect(path)
        assert witness.execute("SELECT count(*) FROM labels").fetchone() == (1,)
        witness.close()

    def test_a_broken_file_is_an_outage(self, tmp_path: Path) -> None:
        """A file that is no database is reported as unavailable and not modified."""
        path = tmp_path / "broken.db"
        path.write_bytes(b"this is no database " * 300)
        engine = connect(f"sqlite:///{path}")
        with pytest.raises(DatabaseUnavailableError):
            migrate(engine)
        engine.dispose()
        assert path.read_bytes().startswith(b"this is no database")

    def test_a_full_disk_leaves_nothing_half(
        self, engine: Engine, history: PredictionStore, prediction: Callable[..., PredictionRecord]
    ) -> None:
        """On a full disk a batch is rejected completely and reading continues; with free space the same batch succeeds."""
        some = [prediction(input=bytes(8000)) for _ in range(100)]
        with read_transaction(engine) as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(DatabaseUnavailableError):
            history.insert_from_journal("w1.spool", 10, some)
        assert (history.count(), history.positions()) == (0, {})
        with read_transaction(engine) as connection:
            connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
        assert history.insert_from_journal("w1.spool", 10, some) == 100

    def test_only_checkpoint_moves_the_log(self, engine: Engine, path: Path, prediction: Callable[..., PredictionRecord]) -> None:
        """Writes never copy the log into the file; `checkpoint` copies all commits."""
        size = path.stat().st_size
        PredictionStore(engine).insert([prediction(input=bytes(8000)) for _ in range(2000)])
        assert path.stat().st_size == size
        checkpoint(engine)
        assert path.stat().st_size > size + 16_000_000

    def test_an_acknowledged_commit_is_on_the_disk(self, engine: Engine) -> None:
        """Every commit is synced to disk, so that it survives a power failure."""
        with read_transaction(engine) as connection:
            settings = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")}
        assert settings == {"journal_mode": "wal", "synchronous": 2}

    def test_a_file_that_cannot_be_made(self, tmp_path: Path) -> None:
        """A path below something that is no folder is reported as unavailable."""
        (tmp_path / "file").write_text("")
        with pytest.raises(DatabaseUnavailableError):
            connect(f"sqlite:///{tmp_path}/file/relevo.db")

    def test_a_new_file_is_private(self, tmp_path: Path) -> None:
        """A new database and its folder are readable by the owner only."""
        connect(f"sqlite:///{tmp_path}/a folder%/relevo.db").dispose()
        assert (tmp_path / "a folder%" / "relevo.db").stat().st_mode & 0o077 == 0


def test_a_full_pool_is_an_outage() -> None:
    """A caller that finds every connection in use gets DatabaseUnavailableError after the timeout."""
    engine = connect("sqlite://", busy_s=0.1)
    with read_transaction(engine), pytest.raises(DatabaseUnavailableError):
        PredictionStore(engine).positions()
    engine.dispose()


@pytest.mark.parametrize("url", ["", "relevo.db", "mysql://host/db", "postgresql://host:port/db", "sqlite"])
def test_another_kind_of_url_is_refused(url: str) -> None:
    """A URL of an unsupported database is an error that names the two supported forms."""
    with pytest.raises(InvalidSettingError, match="sqlite:///"):
        connect(url)


@pytest.mark.parametrize("start", ["postgres", "postgresql", "postgresql+psycopg"])
def test_common_spellings_of_postgres(start: str) -> None:
    """All common PostgreSQL URL schemes select psycopg 3, and no connection is made yet."""
    engine = connect(f"{start}://ana:secret@nowhere.invalid/relevo")
    assert engine.driver == "psycopg"
    engine.dispose()


def test_the_password_is_not_told() -> None:
    """The error of an unreachable database contains no password, nor does its cause."""
    engine = connect("postgresql://ana:s3cret@127.0.0.1:9/relevo")
    with pytest.raises(DatabaseUnavailableError) as told:
        migrate(engine)
    assert "s3cret" not in f"{told.value!r} {told.value.__cause__!r} {told.value.__cause__}"


@pytest.mark.parametrize(("version", "warns"), [((3, 40, 1), True), ((3, 51, 2), True), ((3, 51, 3), False), ((3, 53, 0), False)])
def test_old_sqlite_is_told(monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int], warns: bool) -> None:  # noqa: FBT001 - a table's column
    """An SQLite version that can lose a commit causes a warning with the fixed version; a sound one causes none."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", version)
    said = sqlite_warning()
    assert (said is not None and "3.51.3" in said) is warns


def test_old_sqlite_is_logged_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The process that checkpoints logs an old SQLite once, at level info."""
    monkeypatch.setattr(engine_module, "sqlite_warning", lambda: "old")
    engine_module._warn_once.cache_clear()
    engine = connect(f"sqlite:///{tmp_path}/relevo.db")
    with caplog.at_level(logging.INFO, logger="relevo"):
        checkpoint(engine)
        checkpoint(engine)
    engine.dispose()
    engine_module._warn_once.cache_clear()
    assert [(record.message, record.levelname) for record in caplog.records] == [("old", "INFO")]


def test_a_worker_stays_light(tmp_path: Path) -> None:
    """A worker that reads routes from a migrated database imports neither Alembic nor PostgreSQL's driver."""
    url = f"sqlite:///{tmp_path}/relevo.db"
    engine = connect(url)
    migrate(engine)
    engine.dispose()
    program = f"""
import sys
from relevo.store.db.engine import connect, migrate
from relevo.store.audit.log import AuditLog
from relevo.store.registry import Registry
engine = connect({url!r}); migrate(engine); assert Registry(engine, AuditLog(b"key")).routes() == []; engine.dispose()
print(sorted({{"alembic", "mako", "psycopg", "logging.config"}} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(SOURCE)},
    )
    assert done.stdout.strip() == "[]"


def test_routes_are_one_query(engine: Engine) -> None:
    """The query that every worker repeats twice a second is one statement."""
    asked: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda _c, _k, sql, *_rest: asked.append(sql))
    Registry(engine, AUDIT_LOG).routes()
    assert sum(sql.startswith("SELECT") for sql in asked) == 1


def damaged(path: Path) -> None:
    """Overwrites the middle of Relevo's own file."""
    engine = connect(f"sqlite:///{path}")
    migrate(engine)
    checkpoint(engine)
    engine.dispose()
    page = 4096
    content = path.read_bytes()
    path.write_bytes(content[:page] + b"\xff" * (len(content) - page))


def another(path: Path) -> None:
    with sqlite3.connect(path) as plain:
        plain.execute("CREATE TABLE recipes (name TEXT)")
    plain.close()


def numbered_by_others(path: Path) -> None:
    with sqlite3.connect(path) as plain:
        plain.execute("CREATE TABLE alembic_version (version_num TEXT)")
        plain.execute("INSERT INTO alembic_version VALUES ('ab12cd34ef56')")
    plain.close()


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (damaged, "store_damaged"),
        (lambda path: path.write_bytes(b"no database " * 1000), "store_foreign"),
        (lambda path: path.mkdir(), "store_foreign"),
        (another, "store_foreign"),
        (numbered_by_others, "store_foreign"),
    ],
    ids=["damaged", "no database", "a folder", "another program's", "numbered by another program"],
)
def test_a_wrong_file_is_named(make: Callable[[Path], object], code: str, tmp_path: Path) -> None:
    """A damaged file, a folder and another program's file are reported as such, not as an outage, and not modified."""
    path = tmp_path / "relevo.db"
    make(path)
    before = path.read_bytes() if path.is_file() else b""

    def use() -> None:
        engine = connect(f"sqlite:///{path}", busy_s=1)
        migrate(engine)
        Registry(engine, AUDIT_LOG).models()

    with pytest.raises(DatabaseUnavailableError) as refused:
        use()
    assert refused.value.code == code
    assert path.is_dir() or path.read_bytes()[4096:] == before[4096:]


def test_a_full_disk_is_reported(tmp_path: Path) -> None:
    """A write without disk space raises DatabaseFullError and changes nothing."""
    engine = connect(f"sqlite:///{tmp_path / 'relevo.db'}")
    migrate(engine)

    def write() -> None:
        with write_transaction(engine) as connection:
            connection.exec_driver_sql("PRAGMA max_page_count = 1")
            for number in range(2000):
                connection.execute(text("INSERT INTO spool_positions VALUES (:file, 1)"), {"file": f"{number:200}"})

    with pytest.raises(DatabaseUnavailableError) as refused:
        write()
    assert refused.value.code == "store_full"
    assert PredictionStore(engine, None).positions() == {}
    engine.dispose()


def test_a_later_schema_is_refused(url: str) -> None:
    """A schema of a later release is refused with an error that names both revisions."""
    engine = connect(url)
    with write_transaction(engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0977'"))
    with pytest.raises(DatabaseUnavailableError, match=f"0977.*{HEAD}") as refused:
        migrate(engine)
    assert refused.value.code == "store_later"
    engine.dispose()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_a_disk_without_room_for_the_index_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is reported even where the log's index cannot be opened."""
    engine = connect(f"sqlite:///{tmp_path / 'relevo.db'}")
    migrate(engine)
    engine.dispose()
    for ending in ("-shm", "-wal"):
        (tmp_path / f"relevo.db{ending}").unlink(missing_ok=True)
        (tmp_path / f"relevo.db{ending}").symlink_to("/dev/full")
    with pytest.raises(DatabaseUnavailableError) as refused:
        Registry(engine, AUDIT_LOG).models()
    assert refused.value.code == "store_unavailable", "a disk with room is not full"
    used = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: used._replace(free=0))
    with pytest.raises(DatabaseUnavailableError) as refused:
        Registry(engine, AUDIT_LOG).models()
    assert refused.value.code == "store_full"
