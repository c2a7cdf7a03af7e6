"""Changes of users and keys reach every worker within a second; without the database no new access is granted."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from tests.support.server import put, settings_of, started

import relevo.server
from relevo.domain.access import Role, Scope
from relevo.server.home import PEOPLE_FILE
from relevo.store.auth.password_hash import hash_password
from relevo.store.auth.users import UserChange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from relevo.package.package import Package
    from relevo.server.stores import Store

PASSWORD = "correct horse battery"  # noqa: S105 - of a user who lives as long as a test
NOW = datetime.now(UTC)
#: Connections enough for the kernel to spread over both workers.
CALLERS = 12


@dataclass(frozen=True, kw_only=True)
class House:
    """A running server and its store. Lifetime: one test."""

    url: str
    store: Store
    home: Path


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, churn_package: Package) -> Iterator[House]:
    """A server with two workers, the user ana, and its store."""
    settings = settings_of(tmp_path_factory.mktemp("people"), workers=2)
    put(settings, churn_package)
    store = relevo.server.open_store(settings)
    store.users.add_user("ana", Role.ADMIN, password_hash=hash_password(PASSWORD), at=NOW)
    with started(settings) as server:
        yield House(url=server.url, store=store, home=settings.home)
    store.engine.dispose()


@pytest.fixture
def callers(house: House) -> Iterator[list[httpx.Client]]:
    """Open connections, some to each worker."""
    held = [httpx.Client(base_url=house.url, timeout=10) for _ in range(CALLERS)]
    yield held
    for one in held:
        one.close()


def all_come_to(callers: list[httpx.Client], asked: Callable[[httpx.Client], int], status: int) -> float:
    """Seconds until every connection gets this status, and keeps getting it."""
    begin = time.monotonic()
    while {asked(one) for one in callers} != {status}:
        assert time.monotonic() - begin < 5, "some worker never learnt it"
    took = time.monotonic() - begin
    assert {asked(one) for one in callers} == {status}
    return took


def test_a_key_is_known_and_revoked_in_every_worker_within_a_second(house: House, callers: list[httpx.Client]) -> None:
    """A new key works in every worker; a revoked one fails in every worker, also on open connections."""
    store = house.store
    created = store.users.keys.add(store.users.get_by_name("ana").id, "test", [Scope.READ], at=NOW)

    def asked(caller: httpx.Client) -> int:
        return caller.get("/models", headers={"authorization": f"Bearer {created.secret}"}).status_code

    assert all_come_to(callers, asked, 200) < 1
    store.users.keys.revoke(created.key.id, at=NOW)
    assert all_come_to(callers, asked, 401) < 1


def test_signing_out_counts_in_every_worker(house: House, callers: list[httpx.Client]) -> None:
    """After sign-out, the other worker rejects the cookie within a second."""
    url = house.url
    with httpx.Client(base_url=url) as browser:
        csrf = browser.post("/login", json={"name": "ana", "password": PASSWORD}).json()["csrf"]
        session = {"cookie": f"relevo_session={browser.cookies['relevo_session']}"}

        def asked(caller: httpx.Client) -> int:
            return caller.get("/me", headers=session).status_code

        assert all_come_to(callers, asked, 200) < 1
        assert browser.post("/logout", headers={"origin": url, "x-csrf-token": csrf}).status_code == 204
    assert all_come_to(callers, asked, 401) < 1


def test_a_role_that_was_taken_is_gone_in_every_worker(house: House, callers: list[httpx.Client]) -> None:
    """A key loses permissions of its owner within a second."""
    store = house.store
    bob = store.users.add_user("bob", Role.OPERATOR, at=NOW)
    key = store.users.add_key(bob, "test", [Scope.READ], at=NOW)

    def asked(caller: httpx.Client) -> int:
        return caller.get("/audit", headers={"authorization": f"Bearer {key}"}).status_code

    assert all_come_to(callers, asked, 200) < 1
    store.users.change_user(bob, UserChange(role=Role.VIEWER), at=NOW)
    assert all_come_to(callers, asked, 403) < 1


def test_wrong_passwords_are_counted_over_all_workers(house: House, callers: list[httpx.Client]) -> None:
    """Failed sign-ins are counted over all workers."""
    store = house.store
    store.users.add_user("carol", Role.VIEWER, password_hash=hash_password(PASSWORD), at=NOW)
    output = [one.post("/login", json={"name": "carol", "password": "wrong password"}).status_code for one in callers]
    assert output == [401] * 5 + [429] * (CALLERS - 5)


def test_the_home_keeps_no_key_and_no_session(house: House) -> None:
    """No file of the home, the cached access snapshot included, contains a usable key or session."""
    key = house.store.users.add_key(house.store.users.get_by_name("ana").id, "test", [Scope.READ], at=NOW)
    with httpx.Client(base_url=house.url) as browser:
        browser.post("/login", json={"name": "ana", "password": PASSWORD})
        secrets = [key.rpartition("_")[2].encode(), browser.cookies["relevo_session"].encode(), PASSWORD.encode()]
    eventually(lambda: key.split("_")[1].encode() in (house.home / PEOPLE_FILE).read_bytes(), "the workers remember the key's id")
    for path in house.home.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not any(secret in content for secret in secrets), path


def test_the_history_tells_who_asked(house: House, churn_records: list[dict[str, Any]]) -> None:
    """The history shows and filters the caller, a key or a user, over HTTP and in the store."""
    people = house.store.users
    ana = people.get_by_name("ana").id
    created = people.keys.add(ana, "nightly job", [Scope.PREDICT, Scope.READ], at=NOW)
    program = {"authorization": f"Bearer {created.secret}"}
    known = lambda: httpx.get(f"{house.url}/me", headers=program).status_code == 200  # noqa: E731 - short
    eventually(known, "the key counts")
    asked = httpx.post(f"{house.url}/models/churn/predict", json=churn_records[0], headers=program, timeout=30).json()
    with httpx.Client(base_url=house.url, timeout=30) as browser:
        csrf = browser.post("/login", json={"name": "ana", "password": PASSWORD}).json()["csrf"]
        browser.headers.update({"origin": house.url, "x-csrf-token": csrf})
        by_hand = browser.post("/models/churn/predict", json=churn_records[0]).json()
        output = [browser.get(f"/predictions/{one['query_id']}").json() for one in (asked, by_hand)]
        assert [(one["requested_by"], one["requested_by_name"]) for one in output] == [
            (f"key:{created.key.id}", "nightly job"),
            (f"user:{ana}", "ana"),
        ]
        mine = browser.get("/predictions", params={"requested_by": f"key:{created.key.id}"}).json()["items"]
    assert [one["query_id"] for one in mine] == [asked["query_id"]]
    assert house.store.predictions.count(requested_by=f"user:{ana}") == 1


def eventually(true: Callable[[], bool], what: str) -> None:
    """Waits for a change in the workers."""
    end = time.monotonic() + 5
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.02)
