"""Journeys to an identity provider, and whose account is whose, on both databases."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from relevo.domain.access import Role
from relevo.domain.audit import Actor
from relevo.errors import AuthenticationError, IdentityTakenError, LastAdminError, NameTakenError, UserNotFoundError
from relevo.store.audit.log import AuditLog
from relevo.store.auth.oidc_logins import LOGIN_TTL, ExternalIdentity, LoginAttempt
from relevo.store.auth.users import Users
from relevo.store.db.engine import read_transaction
from relevo.store.db.tables import audit, sign_in_journeys

if TYPE_CHECKING:
    from sqlalchemy import Engine

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
THERE = ExternalIdentity(issuer="https://id.example", subject="7")
BY = Actor(actor="oidc", address="203.0.113.9")


@pytest.fixture
def people(emptied: Engine) -> Users:
    """The people of an empty store."""
    return Users(emptied, AuditLog(b"key"))


def went(people: Users, number: int, *, address: str = "203.0.113.9", at: datetime = NOW) -> None:
    people.elsewhere.begin(LoginAttempt(state=f"s{number}", tie=f"t{number}", back=f"/{number}", address=address), at=at)


def test_a_journey_ends_once_in_its_own_browser_in_time(people: Users) -> None:
    """Neither state nor tie alone is enough, nor are those of two journeys, and nothing is there a second time."""
    for number in (1, 2, 3):
        went(people, number)
    take = people.elsewhere.take
    assert take("s1", "t2", at=NOW) is None
    assert take("s1", "", at=NOW) is None
    assert take("s1", "t1", at=NOW) == "/1"
    assert take("s1", "t1", at=NOW) is None
    assert take("s2", "t2", at=NOW + LOGIN_TTL) is None
    assert take("s3", "t3", at=NOW + LOGIN_TTL - timedelta(seconds=1)) == "/3"


def test_two_at_once_take_a_journey_once(people: Users) -> None:
    """Whoever copied a link and its cookie and is as quick as its owner: one of them comes in."""
    went(people, 1)
    told: list[str | None] = []
    start = threading.Barrier(2)

    def take() -> None:
        start.wait()
        told.append(people.elsewhere.take("s1", "t1", at=NOW))

    both = [threading.Thread(target=take) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert sorted(map(str, told)) == ["/1", "None"]


def test_journeys_are_bounded_and_no_word_of_them_is_kept(people: Users, emptied: Engine) -> None:
    """Twenty of an address, the newest; those of others stay, old ones go; and nobody comes back by reading the table."""
    went(people, 100, address="198.51.100.1")
    for number in range(30):
        went(people, number, at=NOW + timedelta(seconds=number))
    with read_transaction(emptied) as connection:
        rows = connection.execute(select(sign_in_journeys)).all()
    assert len(rows) == 21
    assert not any(word in str(rows) for word in ("s29", "t29"))
    take = people.elsewhere.take
    assert take("s9", "t9", at=NOW) is None
    assert take("s10", "t10", at=NOW) == "/10"
    assert take("s100", "t100", at=NOW) == "/100"
    went(people, 200, at=NOW + timedelta(hours=1))
    with read_transaction(emptied) as connection:
        assert len(connection.execute(select(sign_in_journeys)).all()) == 1


def test_an_account_becomes_one_user(people: Users, emptied: Engine) -> None:
    """By the first free name; the second time the same user; and the audit has it once, without the name."""
    people.add_user("ana", Role.ADMIN, at=NOW)
    epoch = people.epoch()
    user = people.elsewhere.add(THERE, ["ana", "ana@example.org"], Role.VIEWER, at=NOW, by=BY)
    assert people.epoch() > epoch
    assert people.elsewhere.add(THERE, ["another"], Role.OPERATOR, at=NOW, by=BY) == user
    made = people.identified(THERE.issuer, THERE.subject)
    assert (made.id, made.name, made.role, made.has_password) == (user, "ana@example.org", Role.VIEWER, False)
    with read_transaction(emptied) as connection:
        rows = connection.execute(select(audit).where(audit.c.object == f"user:{user}")).all()
    assert [(row.action, row.actor, row.address) for row in rows] == [("user.add", "oidc", "203.0.113.9")]
    with pytest.raises(NameTakenError):
        people.elsewhere.add(ExternalIdentity(issuer=THERE.issuer, subject="8"), ["ana"], Role.VIEWER, at=NOW, by=BY)


def test_the_first_user_is_nobody_from_elsewhere(people: Users) -> None:
    """Else a server would ask everybody who they are, and nobody could make users."""
    with pytest.raises(LastAdminError):
        people.elsewhere.add(THERE, ["ana"], Role.VIEWER, at=NOW, by=BY)
    assert people.roll().open


def test_an_account_is_linked_to_one_user(people: Users) -> None:
    """Sessions end with it; nobody else can have the account; another one takes its place."""
    ana, ben = (people.add_user(name, Role.VIEWER, at=NOW) for name in ("ana", "ben"))
    token = people.sessions.open(ana, at=NOW, by=BY)
    people.elsewhere.link(ana, THERE, at=NOW)
    with pytest.raises(AuthenticationError):
        people.sessions.find(token, at=NOW)
    with pytest.raises(IdentityTakenError):
        people.elsewhere.link(ben, THERE, at=NOW)
    people.elsewhere.link(ana, ExternalIdentity(issuer=THERE.issuer, subject="8"), at=NOW)
    people.elsewhere.link(ben, THERE, at=NOW)
    assert people.identified(THERE.issuer, THERE.subject).id == ben
    with pytest.raises(UserNotFoundError):
        people.elsewhere.link("nobody", ExternalIdentity(issuer=THERE.issuer, subject="9"), at=NOW)
