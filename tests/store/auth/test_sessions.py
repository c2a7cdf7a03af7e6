"""Sessions and wrong passwords on both databases: how long they count, and for whom."""

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
#: Stands where the hash of a password does.
KEPT = "$argon2id$"
SECOND = timedelta(seconds=1)


@pytest.fixture
def people(emptied: Engine) -> Users:
    """A store with one admin, ana."""
    people = Users(emptied, AuditLog(b"key"))
    people.add_user("ana", Role.ADMIN, grants={"digits": Role.VIEWER}, password_hash=KEPT, at=NOW)
    return people


@pytest.fixture
def ana(people: Users) -> str:
    """Her id."""
    return people.named("ana").id


@pytest.fixture
def book(people: Users) -> Sessions:
    """Everybody's sessions."""
    return people.sessions


def at_desk(name: str) -> Desk:
    """A place that is not known as anybody's."""
    return Desk(name=name, known=False)


def test_a_session_is_whoever_it_was_opened_for(book: Sessions, ana: str) -> None:
    """With role and grants, and known as a session."""
    found = book.find(book.open(ana, at=NOW, by=LOCAL_ACTOR), at=NOW)
    assert (found.id, found.name, found.role, found.grants) == (ana, "ana", Role.ADMIN, {"digits": Role.VIEWER})
    assert found.way is AuthMethod.SESSION
    with pytest.raises(AuthenticationError):
        book.find("made up", at=NOW)


def test_a_token_is_in_no_table(book: Sessions, ana: str, emptied: Engine) -> None:
    """Who reads the database can sign in as nobody."""
    token = book.open(ana, at=NOW, by=LOCAL_ACTOR)
    assert len(token) == 43
    with read_transaction(emptied) as connection:
        for table in metadata.sorted_tables:
            assert token not in repr(connection.execute(select(table)).all()), table.name


def test_an_idle_session_ends(book: Sessions, ana: str) -> None:
    """Half an hour after it was last seen, and no use brings it back."""
    token = book.open(ana, at=NOW, by=LOCAL_ACTOR)
    assert book.find(token, at=NOW + IDLE - SECOND)
    assert book.find(token, at=NOW + 2 * IDLE - 2 * SECOND), "being seen keeps it"
    for later in (3 * IDLE, 3 * IDLE - SECOND):
        with pytest.raises(AuthenticationError):
            book.find(token, at=NOW + later)


def test_a_session_ends_however_busy_it_is(book: Sessions, ana: str) -> None:
    """Twelve hours after it was opened."""
    token, at = book.open(ana, at=NOW, by=LOCAL_ACTOR), NOW
    while at + IDLE / 2 < NOW + LONGEST:
        at += IDLE / 2
        assert book.find(token, at=at)
    with pytest.raises(AuthenticationError):
        book.find(token, at=NOW + LONGEST)


def test_a_closed_session_is_over(book: Sessions, ana: str) -> None:
    """A cookie that is sent again is nobody's; other sessions of the same user go on."""
    token, other = book.open(ana, at=NOW, by=LOCAL_ACTOR), book.open(ana, at=NOW, by=LOCAL_ACTOR)
    assert book.count(ana, at=NOW) == 2
    book.close(token, at=NOW, by=LOCAL_ACTOR)
    book.close(token, at=NOW, by=LOCAL_ACTOR)
    with pytest.raises(AuthenticationError):
        book.find(token, at=NOW)
    assert book.find(other, at=NOW)


def test_a_new_session_ends_the_one_it_stands_for(book: Sessions, ana: str) -> None:
    """Signing in where somebody was signed in leaves one session."""
    old = book.open(ana, at=NOW, by=LOCAL_ACTOR)
    new = book.open(ana, at=NOW, by=LOCAL_ACTOR, instead_of=old)
    assert new != old
    with pytest.raises(AuthenticationError):
        book.find(old, at=NOW)
    assert book.count(ana, at=NOW) == 1


def test_what_is_over_is_swept_away(book: Sessions, ana: str, emptied: Engine) -> None:
    """The table does not grow with the years."""
    for _ in range(3):
        book.open(ana, at=NOW, by=LOCAL_ACTOR)
    book.open(ana, at=NOW + LONGEST, by=LOCAL_ACTOR)
    with read_transaction(emptied) as connection:
        assert connection.scalar(select(func.count()).select_from(sessions)) == 1


def test_looking_writes_once_a_minute(book: Sessions, ana: str, emptied: Engine) -> None:
    """A busy page is no load on the database."""
    token = book.open(ana, at=NOW, by=LOCAL_ACTOR)

    def seen() -> int:
        with read_transaction(emptied) as connection:
            return connection.scalar(select(sessions.c.seen_us)) or 0

    first = seen()
    book.find(token, at=NOW + 59 * SECOND)
    assert seen() == first
    book.find(token, at=NOW + 61 * SECOND)
    assert seen() == first + 61_000_000


def test_whoever_mistypes_waits_longer_each_time(book: Sessions) -> None:
    """The first few are free, then the wait doubles up to a minute; a try that came too early is not held against anybody."""
    at = NOW
    waits: list[int] = []
    for _ in range(FREE_TRIES):
        book.try_password("ana", at_desk("10.0.0.1"), at=at)
    for _ in range(8):
        with pytest.raises(LoginThrottledError) as refused:
            book.try_password("ana", at_desk("10.0.0.1"), at=at)
        waits.append(int(str(refused.value.facts["retry_after"])))
        at += timedelta(seconds=waits[-1])
        book.try_password("ana", at_desk("10.0.0.1"), at=at)
    assert waits == [1, 2, 4, 8, 16, 32, LONGEST_WAIT_S, LONGEST_WAIT_S]


def test_nobody_is_kept_out_by_anothers_tries(book: Sessions) -> None:
    """Neither the same user from elsewhere nor another user from the same place."""
    for _ in range(FREE_TRIES):
        book.try_password("ana", at_desk("10.0.0.1"), at=NOW)
    with pytest.raises(LoginThrottledError):
        book.try_password("ana", at_desk("10.0.0.1"), at=NOW)
    book.try_password("ana", at_desk("10.0.0.2"), at=NOW)
    book.try_password("bob", at_desk("10.0.0.1"), at=NOW)


def test_a_network_is_known_for_whoever_signed_in_there(book: Sessions, ana: str) -> None:
    """Of an IPv6 one 64 bits; the last few are remembered, each for its user alone."""
    book.was_at(ana, "2001:db8:1:2::7", at=NOW)
    assert book.desk(ana, None, "2001:db8:1:2:ffff::1") == Desk(name="2001:db8:1:2::/64", known=True)
    assert not book.desk(ana, None, "2001:db8:1:3::7").known
    assert not book.desk(None, None, "2001:db8:1:2::7").known
    for number in range(30):
        book.was_at(ana, f"10.0.0.{number}", at=NOW + timedelta(seconds=number))
    assert [book.desk(ana, None, address).known for address in ("2001:db8:1:2::7", "10.0.0.9", "10.0.0.29")] == [False, False, True]


def test_a_name_is_not_guessed_from_a_thousand_addresses(book: Sessions, ana: str) -> None:
    """After a hundred wrong tries, however it is written, one in ten seconds is looked at; the owner's own places never wait."""
    book.was_at(ana, "192.0.2.1", at=NOW)
    spelled = ("ana", "ANA", "ａｎａ", "аna")
    for number in range(FREE_TRIES_OF_NAME):
        book.try_password(spelled[number % 4], at_desk(f"10.0.{number}.1"), at=NOW)
    with pytest.raises(LoginThrottledError) as told:
        book.try_password("ana", book.desk(ana, None, "10.1.1.1"), at=NOW)
    assert told.value.facts["retry_after"] == NAME_WAIT_S
    for kept, address in ((None, "192.0.2.1"), (book.recognised(ana), "10.1.1.1")):
        book.try_password("ana", book.desk(ana, kept, address), at=NOW)
    book.try_password("ana", book.desk(ana, None, "10.1.1.1"), at=NOW + timedelta(seconds=NAME_WAIT_S))
    book.try_password("bob", at_desk("10.1.1.1"), at=NOW)


def test_a_browser_is_recognised_for_its_user_alone(book: Sessions, ana: str) -> None:
    """By what only the server can make; anything else sits where its address is, and each browser is a desk of its own."""
    mine, other = book.recognised(ana), book.recognised(ana)
    assert book.desk(ana, mine, "10.0.0.1") != at_desk("10.0.0.1")
    assert book.desk(ana, mine, "10.0.0.1") == book.desk(ana, mine, "10.0.0.2") != book.desk(ana, other, "10.0.0.1")
    for user, kept in (
        ("another", mine),
        (None, mine),
        (ana, None),
        (ana, ""),
        (ana, "."),
        (ana, mine + "0"),
        (ana, "\u00e9.\u00e9"),
    ):
        assert book.desk(user, kept, "10.0.0.1") == at_desk("10.0.0.1")


def test_the_right_password_clears_the_slate(book: Sessions, emptied: Engine) -> None:
    """And old tries are forgotten by themselves."""
    for _ in range(FREE_TRIES):
        book.try_password("ana", at_desk("10.0.0.1"), at=NOW)
    book.forget_tries("ana", at_desk("10.0.0.1"))
    book.try_password("ana", at_desk("10.0.0.1"), at=NOW)
    book.try_password("bob", at_desk("x" * 300), at=NOW + timedelta(seconds=WINDOW_S + 1))
    with read_transaction(emptied) as connection:
        assert connection.scalar(select(func.count()).select_from(sign_in_failures)) == 1


def test_what_was_typed_as_a_name_is_not_kept(book: Sessions, emptied: Engine) -> None:
    """People type their password there by mistake."""
    book.try_password("my secret password\x00", at_desk("10.0.0.1"), at=NOW)
    with read_transaction(emptied) as connection:
        assert "secret" not in repr(connection.execute(select(sign_in_failures)).all())
