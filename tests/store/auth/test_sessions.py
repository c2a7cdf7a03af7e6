"""Sessions and password throttling on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import func, select

from relevo.domain.access import AuthMethod, Role
from relevo.domain.audit import LOCAL_ACTOR
from relevo.domain.login_backoff import FREE_TRIES, FREE_TRIES_OF_NAME, LONGEST_WAIT_S, NAME_WAIT_S, WINDOW_S
from relevo.errors import AuthenticationError, LoginThrottledError
from relevo.store.audit.log import AuditLog
from relevo.store.auth.sessions import IDLE, LONGEST, Desk, Sessions
from relevo.store.auth.users import Users
from relevo.store.db.engine import read_transaction
from relevo.store.db.tables import metadata, sessions, sign_in_failures

if TYPE_CHECKING:
    from sqlalchemy import Engine

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
#: Placeholder of a password hash.
KEPT = "$argon2id$"
SECOND = timedelta(seconds=1)


@pytest.fixture
def user_store(emptied: Engine) -> Users:
    """A store with one admin, ana."""
    user_store = Users(emptied, AuditLog(b"key"))
    user_store.add_user("ana", Role.ADMIN, grants={"digits": Role.VIEWER}, password_hash=KEPT, at=NOW)
    return user_store


@pytest.fixture
def ana(user_store: Users) -> str:
    """Id of ana."""
    return user_store.get_by_name("ana").id


@pytest.fixture
def session_store(user_store: Users) -> Sessions:
    """All sessions."""
    return user_store.sessions


def unknown_source(name: str) -> Desk:
    """A login source that is known for no user."""
    return Desk(name=name, is_known=False)


def test_a_session_returns_its_user(session_store: Sessions, ana: str) -> None:
    """A session returns its user with role, grants and authentication method."""
    found = session_store.find(session_store.open(ana, at=NOW, by=LOCAL_ACTOR), at=NOW)
    assert (found.id, found.name, found.role, found.grants) == (ana, "ana", Role.ADMIN, {"digits": Role.VIEWER})
    assert found.auth_method is AuthMethod.SESSION
    with pytest.raises(AuthenticationError):
        session_store.find("made up", at=NOW)


def test_no_table_contains_the_token(session_store: Sessions, ana: str, emptied: Engine) -> None:
    """The database contains no usable token."""
    token = session_store.open(ana, at=NOW, by=LOCAL_ACTOR)
    assert len(token) == 43
    with read_transaction(emptied) as connection:
        for table in metadata.sorted_tables:
            assert token not in repr(connection.execute(select(table)).all()), table.name


def test_an_idle_session_ends(session_store: Sessions, ana: str) -> None:
    """A session ends half an hour after its last use, for good."""
    token = session_store.open(ana, at=NOW, by=LOCAL_ACTOR)
    assert session_store.find(token, at=NOW + IDLE - SECOND)
    assert session_store.find(token, at=NOW + 2 * IDLE - 2 * SECOND), "being seen keeps it"
    for later in (3 * IDLE, 3 * IDLE - SECOND):
        with pytest.raises(AuthenticationError):
            session_store.find(token, at=NOW + later)


def test_a_session_ends_after_its_maximum_time(session_store: Sessions, ana: str) -> None:
    """A session ends twelve hours after it was opened."""
    token, at = session_store.open(ana, at=NOW, by=LOCAL_ACTOR), NOW
    while at + IDLE / 2 < NOW + LONGEST:
        at += IDLE / 2
        assert session_store.find(token, at=at)
    with pytest.raises(AuthenticationError):
        session_store.find(token, at=NOW + LONGEST)


def test_a_closed_session_is_rejected(session_store: Sessions, ana: str) -> None:
    """A closed session's token is rejected; the user's other sessions continue."""
    token, other = session_store.open(ana, at=NOW, by=LOCAL_ACTOR), session_store.open(ana, at=NOW, by=LOCAL_ACTOR)
    assert session_store.count(ana, at=NOW) == 2
    session_store.close(token, at=NOW, by=LOCAL_ACTOR)
    session_store.close(token, at=NOW, by=LOCAL_ACTOR)
    with pytest.raises(AuthenticationError):
        session_store.find(token, at=NOW)
    assert session_store.find(other, at=NOW)


def test_a_new_session_replaces_the_old_one(session_store: Sessions, ana: str) -> None:
    """A login in an already logged-in browser leaves one session."""
    old = session_store.open(ana, at=NOW, by=LOCAL_ACTOR)
    new = session_store.open(ana, at=NOW, by=LOCAL_ACTOR, instead_of=old)
    assert new != old
    with pytest.raises(AuthenticationError):
        session_store.find(old, at=NOW)
    assert session_store.count(ana, at=NOW) == 1


def test_ended_sessions_are_deleted(session_store: Sessions, ana: str, emptied: Engine) -> None:
    """Ended sessions are deleted from the table."""
    for _ in range(3):
        session_store.open(ana, at=NOW, by=LOCAL_ACTOR)
    session_store.open(ana, at=NOW + LONGEST, by=LOCAL_ACTOR)
    with read_transaction(emptied) as connection:
        assert connection.scalar(select(func.count()).select_from(sessions)) == 1


def test_the_last_use_is_written_once_a_minute(session_store: Sessions, ana: str, emptied: Engine) -> None:
    """The last use is written at most once a minute."""
    token = session_store.open(ana, at=NOW, by=LOCAL_ACTOR)

    def seen() -> int:
        with read_transaction(emptied) as connection:
            return connection.scalar(select(sessions.c.seen_us)) or 0

    first = seen()
    session_store.find(token, at=NOW + 59 * SECOND)
    assert seen() == first
    session_store.find(token, at=NOW + 61 * SECOND)
    assert seen() == first + 61_000_000


def test_failures_increase_the_delay(session_store: Sessions) -> None:
    """The first failures are free, then the delay doubles up to a minute; a throttled attempt is not counted."""
    at = NOW
    waits: list[int] = []
    for _ in range(FREE_TRIES):
        session_store.register_attempt("ana", unknown_source("10.0.0.1"), at=at)
    for _ in range(8):
        with pytest.raises(LoginThrottledError) as refused:
            session_store.register_attempt("ana", unknown_source("10.0.0.1"), at=at)
        waits.append(int(str(refused.value.facts["retry_after"])))
        at += timedelta(seconds=waits[-1])
        session_store.register_attempt("ana", unknown_source("10.0.0.1"), at=at)
    assert waits == [1, 2, 4, 8, 16, 32, LONGEST_WAIT_S, LONGEST_WAIT_S]


def test_failures_throttle_no_other_user_or_source(session_store: Sessions) -> None:
    """Failures throttle neither the same user from another source nor another user from the same source."""
    for _ in range(FREE_TRIES):
        session_store.register_attempt("ana", unknown_source("10.0.0.1"), at=NOW)
    with pytest.raises(LoginThrottledError):
        session_store.register_attempt("ana", unknown_source("10.0.0.1"), at=NOW)
    session_store.register_attempt("ana", unknown_source("10.0.0.2"), at=NOW)
    session_store.register_attempt("bob", unknown_source("10.0.0.1"), at=NOW)


def test_a_network_is_known_for_its_user(session_store: Sessions, ana: str) -> None:
    """A network (64 bits of IPv6) is known for its user only; the most recent ones are kept."""
    session_store.record_address(ana, "2001:db8:1:2::7", at=NOW)
    assert session_store.throttle_key(ana, None, "2001:db8:1:2:ffff::1") == Desk(name="2001:db8:1:2::/64", is_known=True)
    assert not session_store.throttle_key(ana, None, "2001:db8:1:3::7").is_known
    assert not session_store.throttle_key(None, None, "2001:db8:1:2::7").is_known
    for number in range(30):
        session_store.record_address(ana, f"10.0.0.{number}", at=NOW + timedelta(seconds=number))
    assert [
        session_store.throttle_key(ana, None, address).is_known for address in ("2001:db8:1:2::7", "10.0.0.9", "10.0.0.29")
    ] == [
        False,
        False,
        True,
    ]


def test_distributed_guessing_is_throttled_by_name(session_store: Sessions, ana: str) -> None:
    """After a hundred failures of one name, in any spelling, one attempt in ten seconds is allowed; known sources never wait."""
    session_store.record_address(ana, "192.0.2.1", at=NOW)
    spelled = ("ana", "ANA", "ａｎａ", "аna")
    for number in range(FREE_TRIES_OF_NAME):
        session_store.register_attempt(spelled[number % 4], unknown_source(f"10.0.{number}.1"), at=NOW)
    with pytest.raises(LoginThrottledError) as told:
        session_store.register_attempt("ana", session_store.throttle_key(ana, None, "10.1.1.1"), at=NOW)
    assert told.value.facts["retry_after"] == NAME_WAIT_S
    for kept, address in ((None, "192.0.2.1"), (session_store.device_token(ana), "10.1.1.1")):
        session_store.register_attempt("ana", session_store.throttle_key(ana, kept, address), at=NOW)
    session_store.register_attempt(
        "ana", session_store.throttle_key(ana, None, "10.1.1.1"), at=NOW + timedelta(seconds=NAME_WAIT_S)
    )
    session_store.register_attempt("bob", unknown_source("10.1.1.1"), at=NOW)


def test_a_device_token_is_valid_for_its_user(session_store: Sessions, ana: str) -> None:
    """A device token is valid for its user only and identifies one browser; any other value falls back to the address."""
    mine, other = session_store.device_token(ana), session_store.device_token(ana)
    assert session_store.throttle_key(ana, mine, "10.0.0.1") != unknown_source("10.0.0.1")
    assert (
        session_store.throttle_key(ana, mine, "10.0.0.1")
        == session_store.throttle_key(ana, mine, "10.0.0.2")
        != session_store.throttle_key(ana, other, "10.0.0.1")
    )
    for user, kept in (
        ("another", mine),
        (None, mine),
        (ana, None),
        (ana, ""),
        (ana, "."),
        (ana, mine + "0"),
        (ana, "\u00e9.\u00e9"),
    ):
        assert session_store.throttle_key(user, kept, "10.0.0.1") == unknown_source("10.0.0.1")


def test_a_login_deletes_the_failures(session_store: Sessions, emptied: Engine) -> None:
    """A successful login deletes the failures, and old ones expire."""
    for _ in range(FREE_TRIES):
        session_store.register_attempt("ana", unknown_source("10.0.0.1"), at=NOW)
    session_store.reset_attempts("ana", unknown_source("10.0.0.1"))
    session_store.register_attempt("ana", unknown_source("10.0.0.1"), at=NOW)
    session_store.register_attempt("bob", unknown_source("x" * 300), at=NOW + timedelta(seconds=WINDOW_S + 1))
    with read_transaction(emptied) as connection:
        assert connection.scalar(select(func.count()).select_from(sign_in_failures)) == 1


def test_the_typed_name_is_not_stored(session_store: Sessions, emptied: Engine) -> None:
    """The typed name is not stored: users type passwords there by mistake."""
    session_store.register_attempt("my secret password\x00", unknown_source("10.0.0.1"), at=NOW)
    with read_transaction(emptied) as connection:
        assert "secret" not in repr(connection.execute(select(sign_in_failures)).all())
