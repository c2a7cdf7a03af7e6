"""The database's file is damaged, emptied, deleted or exchanged under a running server; then a backup is put in its place."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import time
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.chaos import (
    Clients,
    Question,
    children,
    compare,
    say,
    talking,
    until,
)
from tests.support.server import put, settings_of, started

from relevo.store.db.engine import connect, migrate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import httpx

    from relevo.package.package import Package

pytestmark = pytest.mark.chaos


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another home's database."""
    path = tmp_path_factory.mktemp("another") / "relevo.db"
    engine = connect(f"sqlite:///{path}")
    migrate(engine)
    engine.dispose()
    return path


def overwritten(file: Path, _foreign: Path) -> None:
    """Every byte is another one, in place."""
    with file.open("r+b") as opened:
        opened.write(os.urandom(file.stat().st_size))


def overwritten_beyond_the_first_page(file: Path, _foreign: Path) -> None:
    """What SQLite looks at first is whole."""
    with file.open("r+b") as opened:
        opened.seek(4096)
        opened.write(os.urandom(file.stat().st_size - 4096))


def truncated(file: Path, _foreign: Path) -> None:
    """Cut in half."""
    os.truncate(file, file.stat().st_size // 2)


def emptied(file: Path, _foreign: Path) -> None:
    """Of no length, in place."""
    os.truncate(file, 0)


def deleted(file: Path, _foreign: Path) -> None:
    """Gone; its log stays."""
    file.unlink()


def exchanged(file: Path, foreign: Path) -> None:
    """Another home's database, moved into its place."""
    shutil.copy(foreign, file.with_name("foreign"))
    file.with_name("foreign").replace(file)


def exchanged_in_place(file: Path, foreign: Path) -> None:
    """Another home's database, copied over it."""
    shutil.copyfile(foreign, file)


def copied_over(backup: Path, file: Path) -> None:
    """Written into the file that is there, the log left as it is."""
    shutil.copyfile(backup, file)


def moved_in(backup: Path, file: Path) -> None:
    """As a new file, the log left as it is."""
    backup.replace(file)


CASES: list[tuple[Callable[[Path, Path], None], str, Callable[[Path, Path], None]]] = [
    (overwritten, "store_damaged", copied_over),
    (overwritten_beyond_the_first_page, "store_damaged", copied_over),
    (truncated, "store_damaged", moved_in),
    (emptied, "store_damaged", copied_over),
    (deleted, "store_missing", moved_in),
    (exchanged, "store_foreign", moved_in),
    (exchanged_in_place, "store_foreign", copied_over),
]


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """A process that does nothing meanwhile, so that what is shipped and removed is in the backup."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def backed_up(file: Path, place: Path) -> Path:
    """A backup as `sqlite3 .backup` makes it."""
    with contextlib.closing(sqlite3.connect(file)) as source, contextlib.closing(sqlite3.connect(place)) as target:
        source.backup(target)
    return place


def told(client: httpx.Client) -> str:
    """The error code of the database in the server's health; empty if there is none."""
    answer = client.get("/health/ready")
    assert answer.status_code == 200, "a prediction would be answered all the time"
    return str(answer.json()["store"]["code"])


def tells(client: httpx.Client, code: str) -> Callable[[], bool]:
    """Whether the server reports this code."""
    return lambda: told(client) == code


def goes_on(clients: Clients) -> Callable[[], bool]:
    """Whether forty more predictions were answered since now."""
    before = clients.answered()
    return lambda: clients.answered() > before + 40


def test_whatever_happens_to_the_database_nothing_acknowledged_is_lost(
    tmp_path: Path, digits_package: Package, churn_package: Package, questions: list[Question], foreign: Path
) -> None:
    """Seven kinds of damage, one after the other: predictions continue, the state is reported, and a backup receives every row."""
    settings = settings_of(tmp_path, workers=2, spool_rotate_s=1)
    for package in (digits_package, churn_package):
        put(settings, package)
    file = settings.home / "relevo.db"
    with started(settings) as server, talking(server.url) as client:
        with Clients(server.url, questions, tmp_path / "ledgers", threads=2, pause_s=0.02) as clients:
            for damage, code, restored in CASES:
                assert until(goes_on(clients), within_s=90)
                with stopped(children(server.pid, "loop")[0]):
                    backup = backed_up(file, tmp_path / "backup.db")
                    damage(file, foreign)
                assert until(tells(client, code), within_s=90), f"{damage.__name__}: {told(client)}"
                content = file.read_bytes() if file.exists() else b""
                assert until(goes_on(clients), within_s=90), damage.__name__
                assert (file.read_bytes() if file.exists() else b"") == content, f"{damage.__name__}: written to"
                restored(backup, file)
                assert until(lambda: not told(client), within_s=90), f"{damage.__name__}: {told(client)}"
            time.sleep(1.0)
        assert clients.seen.refused == {}
        comparison = compare(settings, clients.seen, questions)
    say(f"{len(CASES)} kinds of damage: {comparison.acknowledged} rows acknowledged, {comparison.missing} missing")
    assert (comparison.missing, comparison.doubled, comparison.different) == (0, 0, 0)


def test_an_older_database_put_in_place_takes_nothing_from_the_newer_one(
    tmp_path: Path, churn_package: Package, churn_records: list[dict[str, Any]]
) -> None:
    """An older state put under a running server gets the journals' rows; so does the newer one when that is put back."""
    settings = settings_of(tmp_path, workers=1, spool_rotate_s=1)
    put(settings, churn_package)
    file, mark = settings.home / "relevo.db", settings.spool_folder / "exchanged"
    with started(settings) as server, talking(server.url) as client:

        def asked(count: int) -> set[str]:
            path = "/models/churn/predict"
            answers = [client.post(path, json=churn_records[number]) for number in range(count)]
            return {str(answer.json()["query_id"]) for answer in answers}

        def there() -> set[str]:
            answer = client.get("/predictions", params={"limit": 200})
            return {str(one["query_id"]) for one in answer.json()["items"]} if answer.status_code == 200 else set()

        older = backed_up(file, tmp_path / "older.db")
        before = asked(20)
        assert until(lambda: before <= there(), within_s=90)
        newer = backed_up(file, tmp_path / "newer.db")
        moved_in(older, file)
        assert until(mark.exists, within_s=90)
        after = asked(20)
        assert until(lambda: after <= there(), within_s=90)
        assert until(lambda: any(settings.spool_folder.rglob("*.kept")), within_s=90), "nothing was shipped and finished"
        assert client.get("/health/ready").json()["store"]["exchanged"]
        moved_in(newer, file)
        assert until(lambda: before | after <= there(), within_s=90)
