"""Keys on both databases: shown once, kept as a hash, ended for good, changed for new ones without a gap."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from relevo.domain.access import Action, Role, Scope
from relevo.errors import ApiKeyNotFoundError, FieldRangeError, FieldTypeError, MissingFieldError, OriginError, UserNotFoundError
from relevo.store.audit.log import AuditLog
from relevo.store.auth.users import UserChange, Users
from relevo.store.db.engine import read_transaction
from relevo.store.db.tables import metadata
from relevo.store.pagination import encode_cursor as cursor_of

if TYPE_CHECKING:
    from sqlalchemy import Engine

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
#: Stands where the hash of a password does.
KEPT = "$argon2id$"


def us(at: datetime) -> int:
    """Microseconds since 1970."""
    return int(at.timestamp() * 1_000_000)


@pytest.fixture
def people(emptied: Engine) -> Users:
    """A store with one admin, ana."""
    people = Users(emptied, AuditLog(b"key"))
    people.add_user("ana", Role.ADMIN, password_hash=KEPT, at=NOW)
    return people


@pytest.fixture
def ana(people: Users) -> str:
    """Her id."""
    return people.named("ana").id


def test_a_key_is_in_no_table(people: Users, ana: str, emptied: Engine) -> None:
    """After it was made it is nowhere to be read: not in any row of any table, the audit among them."""
    secret = people.keys.add(ana, "shop", [Scope.PREDICT], at=NOW).secret.rpartition("_")[2]
    with read_transaction(emptied) as connection:
        for table in metadata.sorted_tables:
            assert secret not in repr(connection.execute(select(table)).all()), table.name


def test_two_keys_are_never_alike(people: Users, ana: str) -> None:
    """Each is 256 random bits behind a beginning that can be read."""
    keys = [people.keys.add(ana, f"shop {number}", [Scope.PREDICT], at=NOW) for number in range(3)]
    assert len({one.secret for one in keys}) == len({one.key.id for one in keys}) == 3
    assert all(one.secret.startswith(one.key.id + "_") and len(one.secret) - len(one.key.id) == 44 for one in keys)


@pytest.mark.parametrize("other", ["k", "K", "\u043a", "\uff4b"])
def test_keys_of_one_owner_are_told_apart_by_name(people: Users, ana: str, other: str) -> None:
    """One name is one key of a user, however it is written, until that key is over; a rotated key keeps its name."""
    first = people.keys.add(ana, "k", [Scope.READ], at=NOW, ends=NOW + timedelta(days=9)).key
    with pytest.raises(FieldTypeError):
        people.keys.add(ana, other, [Scope.READ], at=NOW)
    people.keys.add(people.add_user("bob", Role.VIEWER, at=NOW), other, [Scope.READ], at=NOW)
    second = people.keys.rotate(first.id, at=NOW, old_ends=NOW + timedelta(days=1)).key
    people.keys.revoke(second.id, at=NOW)
    with pytest.raises(FieldTypeError):
        people.keys.add(ana, other, [Scope.READ], at=NOW)
    people.keys.add(ana, other, [Scope.READ], at=NOW + timedelta(days=2))


def test_a_key_counts_until_its_end(people: Users, ana: str) -> None:
    """In the microsecond of its end it is over."""
    key = people.keys.add(ana, "shop", [Scope.PREDICT], at=NOW, ends=NOW + timedelta(days=1)).secret.encode()
    roll = people.roll()
    assert roll.by_key(key, us(NOW + timedelta(days=1)) - 1) is not None
    assert roll.by_key(key, us(NOW + timedelta(days=1))) is None


def test_a_revoked_key_is_dead_for_good(people: Users, ana: str) -> None:
    """Revoking twice changes nothing more, and rotating does not bring it back."""
    made = people.keys.add(ana, "shop", [Scope.PREDICT], at=NOW)
    assert people.keys.revoke(made.key.id, at=NOW).revoked == NOW
    assert people.keys.revoke(made.key.id, at=NOW + timedelta(days=1)).revoked == NOW
    assert people.roll().by_key(made.secret.encode(), us(NOW)) is None
    with pytest.raises(ApiKeyNotFoundError):
        people.keys.rotate(made.key.id, at=NOW, old_ends=NOW + timedelta(days=1))


def test_while_a_key_is_changed_for_a_new_one_both_count(people: Users, ana: str) -> None:
    """The new one is like the old one; the old one ends when it was said to, and never later than it would have."""
    old = people.keys.add(ana, "shop", [Scope.PREDICT, Scope.READ], model="digits", at=NOW)
    new = people.keys.rotate(old.key.id, at=NOW, old_ends=NOW + timedelta(hours=24))
    assert (new.key.scopes, new.key.model, new.key.name) == (old.key.scopes, "digits", "shop")
    roll = people.roll()
    for hours, counts in ((23, True), (24, False)):
        then = us(NOW + timedelta(hours=hours))
        assert (roll.by_key(old.secret.encode(), then) is not None) is counts
        assert roll.by_key(new.secret.encode(), then) is not None
    again = people.keys.rotate(old.key.id, at=NOW, old_ends=NOW + timedelta(days=30))
    assert people.keys.one(old.key.id).ends == NOW + timedelta(hours=24)
    assert again.secret != new.secret
    # The rule is one: what is left of the old one is its length by now.
    assert (new.key.ends, again.key.ends) == (None, NOW + timedelta(hours=24))


@pytest.mark.parametrize("days", [90, None])
def test_a_new_key_lasts_as_long_as_the_one_it_follows(people: Users, ana: str, days: int | None) -> None:
    """From made to its end, counted from now; without an end there is none; what is said counts more."""
    ends, then = None if days is None else NOW + timedelta(days=days), NOW + timedelta(days=80)
    old = people.keys.add(ana, "shop", [Scope.PREDICT], at=NOW, ends=ends).key
    new = people.keys.rotate(old.id, at=then, old_ends=then + timedelta(days=1)).key
    assert new.ends == (None if days is None else then + timedelta(days=days))
    week = people.keys.rotate(new.id, at=then, old_ends=then, ends=then + timedelta(days=7)).key
    assert week.ends == then + timedelta(days=7)


def test_a_key_that_is_over_is_not_changed_for_a_new_one(people: Users, ana: str) -> None:
    """Otherwise whoever finds an old id could have it live again."""
    made = people.keys.add(ana, "shop", [Scope.PREDICT], at=NOW, ends=NOW + timedelta(days=1))
    with pytest.raises(ApiKeyNotFoundError):
        people.keys.rotate(made.key.id, at=NOW + timedelta(days=1), old_ends=NOW + timedelta(days=9))


def test_keys_of_a_user_who_is_switched_off_are_told_apart(people: Users) -> None:
    """They let nobody in, say why, and are changed for no new ones; once the user is back they count as before."""
    bob = people.add_user("bob", Role.VIEWER, at=NOW)
    made = people.keys.add(bob, "shop", [Scope.PREDICT], at=NOW)
    people.change_user(bob, UserChange(disabled=True), at=NOW + timedelta(hours=1))
    assert people.keys.one(made.key.id).owner_disabled == NOW + timedelta(hours=1)
    with pytest.raises(OriginError, match="owner of the key"):
        people.keys.rotate(made.key.id, at=NOW, old_ends=NOW)
    assert [one.ends for one in people.keys.each()] == [None]
    people.change_user(bob, UserChange(disabled=False), at=NOW)
    assert people.keys.one(made.key.id) == made.key
    assert people.keys.rotate(made.key.id, at=NOW, old_ends=NOW).key.owner_disabled is None


def test_a_key_for_one_model_knows_no_other(people: Users, ana: str) -> None:
    """However much its owner may."""
    key = people.keys.add(ana, "shop", [Scope.PREDICT], model="digits", at=NOW).secret.encode()
    known = people.roll().by_key(key, us(NOW))
    assert known is not None
    assert known.may(Action.PREDICT, "digits")
    assert not known.may(Action.PREDICT, "churn")
    assert not known.sees("churn")


@pytest.mark.parametrize("scopes", [[], list(Scope)])
def test_no_key_administers(people: Users, ana: str, scopes: list[Scope]) -> None:
    """A key of an admin with every scope makes no users; one with no scope is not made at all."""
    if not scopes:
        with pytest.raises(MissingFieldError):
            people.keys.add(ana, "shop", scopes, at=NOW)
        return
    secret = people.keys.add(ana, "shop", scopes, at=NOW).secret
    known = people.roll().by_key(secret.encode(), us(NOW))
    assert known is not None
    assert not known.may(Action.ADMINISTER)
    assert not known.may(Action.TRUST)


def test_what_is_not_there_is_told(people: Users, ana: str) -> None:
    """No owner, no such key, no model of that name."""
    with pytest.raises(UserNotFoundError):
        people.keys.add("nobody", "shop", [Scope.PREDICT], at=NOW)
    with pytest.raises(ApiKeyNotFoundError):
        people.keys.revoke("rlv_00000000\x00", at=NOW)
    with pytest.raises(FieldTypeError):
        people.keys.add(ana, "shop", [Scope.PREDICT], model="../digits", at=NOW)


def test_keys_are_listed_the_newest_first(people: Users, ana: str) -> None:
    """All of them, or one user's."""
    bob = people.add_user("bob", Role.VIEWER, at=NOW)
    first = people.keys.add(ana, "first", [Scope.PREDICT], at=NOW).key
    second = people.keys.add(bob, "second", [Scope.READ], at=NOW + timedelta(seconds=1)).key
    assert list(people.keys.each()) == [second, first]
    assert list(people.keys.each(ana)) == [first]
    assert (second.owner, second.scopes) == ("bob", (Scope.READ,))


def test_keys_come_in_pages(people: Users, ana: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every key once, in one order, also where several were made in the same moment; a foreign cursor is refused."""
    made = [people.keys.add(ana, str(number), [Scope.READ], at=NOW + timedelta(seconds=number // 3)).key.id for number in range(8)]
    seen, cursor = [], None
    while True:
        page = people.keys.page(cursor=cursor, limit=3)
        seen += [key.id for key in page.items]
        if (cursor := page.next_cursor) is None:
            break
    assert sorted(seen) == sorted(made)
    assert set(seen[:2]) == set(made[6:])
    monkeypatch.setattr("relevo.store.auth.api_keys.MOST_ITEMS", 2)
    assert [key.id for key in people.keys.each()] == seen
    for foreign in ("", "x", cursor_of("ana"), cursor_of([1, 2]), cursor_of([1]), "\x00" * 9):
        with pytest.raises(FieldTypeError):
            people.keys.page(cursor=foreign)
    assert people.keys.page(cursor=cursor_of([-(2**63) + 1, "x\x00"])).items == []
    with pytest.raises(FieldRangeError):
        people.keys.page(limit=1001)
