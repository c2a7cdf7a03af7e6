"""A home that has had users never allows anonymous access, whatever happens to its database."""

from __future__ import annotations

import shutil
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import httpx
import msgspec
import pytest
from tests.support.server import put, settings_of, started

import relevo.server
from relevo.domain.access import AccessSnapshot, Role, Scope
from relevo.errors import DatabaseUnavailableError
from relevo.server.home import HAD_USERS_FILE, PEOPLE_FILE, note_users
from relevo.store.auth.password_hash import hash_password

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from relevo.config import Settings
    from relevo.package.package import Package

PASSWORD = "correct horse battery"  # noqa: S105 - of a user who lives as long as a test
NOW = datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class House:
    """A home with one user, its intact database, and the user's key."""

    settings: Settings
    whole: Path
    key: str

    def requeue(self) -> None:
        """Restores the backup of the database, as documented."""
        for path in self.settings.home.glob("relevo.db*"):
            path.unlink()
        shutil.copy(self.whole, self.settings.home / "relevo.db")


def with_user(folder: Path) -> House:
    """Such a home, never served."""
    settings = settings_of(folder)
    store = relevo.server.open_store(settings)
    user = store.users.add_user("ana", Role.ADMIN, password_hash=hash_password(PASSWORD), at=NOW)
    key = store.users.add_key(user, "test", [Scope.READ], at=NOW)
    store.engine.dispose()
    whole = folder / "backup.db"
    with closing(sqlite3.connect(settings.home / "relevo.db")) as source, closing(sqlite3.connect(whole)) as target:
        source.backup(target)
    return House(settings=settings, whole=whole, key=key)


def fresh_database(folder: Path) -> Path:
    """The database of another home, with its own admin and key."""
    other = with_user(folder)
    (other.settings.home / "key").write_text(other.key)
    return other.settings.home / "relevo.db"


def emptied(home: Path, _: Path) -> None:
    """The file is truncated."""
    (home / "relevo.db").write_bytes(b"")


def overwritten(home: Path, _: Path) -> None:
    """The file contains something else."""
    (home / "relevo.db").write_bytes(b"x" * 65536)


def removed(home: Path, _: Path) -> None:
    """The file is missing."""
    for path in home.glob("relevo.db*"):
        path.unlink()


def replaced(home: Path, fresh: Path) -> None:
    """The file is another home's database."""
    removed(home, fresh)
    shutil.copy(fresh, home / "relevo.db")


def rows_removed(home: Path, _: Path) -> None:
    """The rows of the user table are deleted."""
    with closing(sqlite3.connect(home / "relevo.db")) as database, database:
        for table in ("api_keys", "sessions", "grants", "users"):
            database.execute(f"DELETE FROM {table}")  # noqa: S608 - names of ours


DAMAGES = [emptied, overwritten, removed, replaced, rows_removed]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fresh_database(tmp_path_factory.mktemp("fresh"))


CLOSED = {(401, "not_known"), (503, "users_lost"), (503, "store_unavailable"), (503, "store_foreign"), (503, "store_damaged")}


def lets_nobody_in(url: str) -> bool:
    """Whether all protected routes are denied, to browsers and to programs."""
    asked = [httpx.get(f"{url}{path}") for path in ("/me", "/users", "/models", "/predictions")]
    asked.append(httpx.post(f"{url}/models/churn/predict", json={}))
    return all((output.status_code, output.json()["code"]) in CLOSED for output in asked)


def stays(true: Callable[[], bool], seconds: float) -> None:
    """Checks that a condition stays true; workers poll three times a second."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert true()
        time.sleep(0.1)


def eventually(true: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 15
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.05)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[House, str]]:
    """A server on such a home."""
    house = with_user(tmp_path_factory.mktemp("lost"))
    with started(house.settings) as server:
        yield house, server.url


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_running_server_stays_closed(served: tuple[House, str], fresh: Path, damage: Callable[[Path, Path], None]) -> None:
    """Whatever happens to the database, no one becomes admin; after restoring the backup, access is as before."""
    house, url = served
    me = {"authorization": f"Bearer {house.key}"}
    eventually(lambda: httpx.get(f"{url}/me", headers=me).status_code == 200, "the key counts")
    damage(house.settings.home, fresh)
    stays(lambda: lets_nobody_in(url), 1.2)
    stranger = {"authorization": f"Bearer {(fresh.parent / 'key').read_text()}"}
    assert httpx.get(f"{url}/me", headers=stranger).status_code in {401, 503}, "nor by a key of another home"
    output = httpx.post(f"{url}/login", json={"name": "ana", "password": PASSWORD})
    assert output.status_code == 503 or damage is rows_removed, "no right password is called wrong"
    house.requeue()
    signs_in = lambda: httpx.post(f"{url}/login", json={"name": "ana", "password": PASSWORD}).status_code == 200  # noqa: E731
    eventually(signs_in, "the users are back")


@pytest.mark.parametrize("damage", [emptied, removed, replaced])
def test_a_start_stays_closed(tmp_path: Path, fresh: Path, damage: Callable[[Path, Path], None]) -> None:
    """A home with users that was never served denies access when its database lost them."""
    house = with_user(tmp_path)
    damage(house.settings.home, fresh)
    with started(house.settings) as server:
        assert lets_nobody_in(server.url)
        assert httpx.get(f"{server.url}/login", headers={"accept": "text/html"}).status_code == 200


def test_the_file_that_tells_of_users_is_not_all_that_does(tmp_path: Path, fresh: Path) -> None:
    """Without the marker file, the audit checkpoints reveal that the database is another one."""
    house = with_user(tmp_path)
    (house.settings.home / HAD_USERS_FILE).unlink()
    replaced(house.settings.home, fresh)
    with started(house.settings) as server:
        assert lets_nobody_in(server.url)


@pytest.mark.parametrize("damage", DAMAGES)
def test_no_command_writes_into_what_lost_its_users(
    tmp_path: Path, fresh: Path, churn_package: Package, damage: Callable[[Path, Path], None]
) -> None:
    """Import and user add are rejected with an error, and create no new database."""
    house = with_user(tmp_path)
    home = house.settings.home
    damage(home, fresh)
    before = sorted((path.name, path.stat().st_size) for path in home.glob("relevo.db"))
    with pytest.raises(DatabaseUnavailableError) as output:
        put(house.settings, churn_package)
    with pytest.raises(DatabaseUnavailableError):
        relevo.server.open_store(house.settings)
    assert type(output.value) is not DatabaseUnavailableError, "it says what became of it"
    assert sorted((path.name, path.stat().st_size) for path in home.glob("relevo.db")) == before
    house.requeue()
    relevo.server.open_store(house.settings).engine.dispose()


def test_a_home_learns_of_users_that_were_made_before_it_kept_that(tmp_path: Path) -> None:
    """Any command that opens a database with users writes the marker file."""
    house = with_user(tmp_path)
    place = house.settings.home / HAD_USERS_FILE
    place.unlink()
    relevo.server.open_store(house.settings).engine.dispose()
    assert place.stat().st_mode & 0o077 == 0


def test_what_the_workers_remembered_before_the_first_user_opens_nothing(tmp_path: Path) -> None:
    """A cached snapshot from before the first user is not used when the database is unavailable."""
    settings = settings_of(tmp_path)
    with started(settings) as server:
        assert httpx.get(f"{server.url}/me").json()["auth_method"] == "open"
    assert (settings.home / PEOPLE_FILE).exists()
    note_users(settings.home)
    overwritten(settings.home, settings.home)
    with started(settings) as server:
        assert httpx.get(f"{server.url}/me").status_code == 503


def served_and_then_given_a_user(folder: Path) -> Settings:
    """A home served without users, whose first user was created offline afterwards."""
    settings = settings_of(folder)
    relevo.server.open_store(settings).engine.dispose()
    (settings.home / PEOPLE_FILE).write_bytes(msgspec.json.encode(AccessSnapshot(revision=0, no_users=True)))
    store = relevo.server.open_store(settings)
    store.users.add_user("boss", Role.ADMIN, password_hash=hash_password(PASSWORD), at=NOW)
    store.engine.dispose()
    return settings


@pytest.mark.parametrize("damage", [overwritten, removed])
def test_what_the_workers_remembered_goes_with_the_first_user(
    tmp_path: Path, fresh: Path, damage: Callable[[Path, Path], None]
) -> None:
    """Without marker file and database, the home stays locked: the anonymous snapshot is deleted with the first user."""
    settings = served_and_then_given_a_user(tmp_path)
    (settings.home / HAD_USERS_FILE).unlink()
    damage(settings.home, fresh)
    with started(settings) as server:
        assert lets_nobody_in(server.url)


def test_a_home_without_users_is_served_while_its_database_is_away(tmp_path: Path) -> None:
    """In a home that never had users, the cached snapshot applies without the database."""
    settings = settings_of(tmp_path)
    relevo.server.open_store(settings).engine.dispose()
    (settings.home / PEOPLE_FILE).write_bytes(msgspec.json.encode(AccessSnapshot(revision=0, no_users=True)))
    overwritten(settings.home, settings.home)
    with started(settings) as server:
        assert httpx.get(f"{server.url}/me").json()["auth_method"] == "open"
