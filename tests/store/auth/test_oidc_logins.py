"""Login attempts at an identity provider and the mapping of identities to users, on both databases."""

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
from relevo.store.db.tables import audit, oidc_login_attempts

if TYPE_CHECKING:
    from sqlalchemy import Engine

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
THERE = ExternalIdentity(issuer="https://id.example", subject="7")
BY = Actor(actor="oidc", address="203.0.113.9")


@pytest.fixture
def user_store(emptied: Engine) -> Users:
    """The users of an empty store."""
    return Users(emptied, AuditLog(b"key"))


def went(user_store: Users, number: int, *, address: str = "203.0.113.9", at: datetime = NOW) -> None:
    user_store.elsewhere.start(
        LoginAttempt(state=f"s{number}", browser_secret=f"t{number}", return_to=f"/{number}", address=address), at=at
    )


def test_an_attempt_is_accepted_once_from_its_browser_in_time(user_store: Users) -> None:
    """State and browser secret must belong to one attempt, in time, and are accepted once."""
    for number in (1, 2, 3):
        went(user_store, number)
    take = user_store.elsewhere.finish
    assert take("s1", "t2", at=NOW) is None
    assert take("s1", "", at=NOW) is None
    assert take("s1", "t1", at=NOW) == "/1"
    assert take("s1", "t1", at=NOW) is None
    assert take("s2", "t2", at=NOW + LOGIN_TTL) is None
    assert take("s3", "t3", at=NOW + LOGIN_TTL - timedelta(seconds=1)) == "/3"


def test_concurrent_callbacks_succeed_once(user_store: Users) -> None:
    """Of two concurrent callbacks with the same state and cookie, one succeeds."""
    went(user_store, 1)
    told: list[str | None] = []
    start = threading.Barrier(2)

    def take() -> None:
        start.wait()
        told.append(user_store.elsewhere.finish("s1", "t1", at=NOW))

    both = [threading.Thread(target=take) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert sorted(map(str, told)) == ["/1", "None"]


def test_attempts_are_limited_and_hashed(user_store: Users, emptied: Engine) -> None:
    """Each address has at most twenty open attempts, the newest; expired ones are deleted; the table contains only hashes."""
    went(user_store, 100, address="198.51.100.1")
    for number in range(30):
        went(user_store, number, at=NOW + timedelta(seconds=number))
    with read_transaction(emptied) as connection:
        rows = connection.execute(select(oidc_login_attempts)).all()
    assert len(rows) == 21
    assert not any(word in str(rows) for word in ("s29", "t29"))
    take = user_store.elsewhere.finish
    assert take("s9", "t9", at=NOW) is None
    assert take("s10", "t10", at=NOW) == "/10"
    assert take("s100", "t100", at=NOW) == "/100"
    went(user_store, 200, at=NOW + timedelta(hours=1))
    with read_transaction(emptied) as connection:
        assert len(connection.execute(select(oidc_login_attempts)).all()) == 1


def test_an_identity_becomes_one_user(user_store: Users, emptied: Engine) -> None:
    """The first login adds a user under the first free name, the second finds it; the audit has one entry, without the name."""
    user_store.add_user("ana", Role.ADMIN, at=NOW)
    epoch = user_store.revision()
    user = user_store.elsewhere.create_user(THERE, ["ana", "ana@example.org"], Role.VIEWER, at=NOW, by=BY)
    assert user_store.revision() > epoch
    assert user_store.elsewhere.create_user(THERE, ["another"], Role.OPERATOR, at=NOW, by=BY) == user
    made = user_store.get_by_identity(THERE.issuer, THERE.subject)
    assert (made.id, made.name, made.role, made.has_password) == (user, "ana@example.org", Role.VIEWER, False)
    with read_transaction(emptied) as connection:
        rows = connection.execute(select(audit).where(audit.c.object == f"user:{user}")).all()
    assert [(row.action, row.actor, row.address) for row in rows] == [("user.add", "oidc", "203.0.113.9")]
    with pytest.raises(NameTakenError):
        user_store.elsewhere.create_user(ExternalIdentity(issuer=THERE.issuer, subject="8"), ["ana"], Role.VIEWER, at=NOW, by=BY)


def test_the_first_user_cannot_come_from_oidc(user_store: Users) -> None:
    """The first user cannot come from OIDC: otherwise the server would require authentication without an admin."""
    with pytest.raises(LastAdminError):
        user_store.elsewhere.create_user(THERE, ["ana"], Role.VIEWER, at=NOW, by=BY)
    assert user_store.access_snapshot().no_users


def test_an_identity_is_linked_to_one_user(user_store: Users) -> None:
    """Linking ends the user's sessions, rejects an identity of another user, and replaces a former one."""
    ana, ben = (user_store.add_user(name, Role.VIEWER, at=NOW) for name in ("ana", "ben"))
    token = user_store.sessions.open(ana, at=NOW, by=BY)
    user_store.elsewhere.link_user(ana, THERE, at=NOW)
    with pytest.raises(AuthenticationError):
        user_store.sessions.find(token, at=NOW)
    with pytest.raises(IdentityTakenError):
        user_store.elsewhere.link_user(ben, THERE, at=NOW)
    user_store.elsewhere.link_user(ana, ExternalIdentity(issuer=THERE.issuer, subject="8"), at=NOW)
    user_store.elsewhere.link_user(ben, THERE, at=NOW)
    assert user_store.get_by_identity(THERE.issuer, THERE.subject).id == ben
    with pytest.raises(UserNotFoundError):
        user_store.elsewhere.link_user("nobody", ExternalIdentity(issuer=THERE.issuer, subject="9"), at=NOW)
