"""API keys on both databases: shown once, stored as a hash, revoked for good, rotated without a gap."""

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
#: Placeholder of a password hash.
KEPT = "$argon2id$"


def us(at: datetime) -> int:
    """Returns microseconds since 1970."""
    return int(at.timestamp() * 1_000_000)


@pytest.fixture
def user_store(emptied: Engine) -> Users:
    """A store with one admin, ana."""
    user_store = Users(emptied, AuditLog(b"key"))
    user_store.add_user("ana", Role.ADMIN, password_hash=KEPT, at=NOW)
    return user_store


@pytest.fixture
def ana(user_store: Users) -> str:
    """Id of ana."""
    return user_store.get_by_name("ana").id


def test_no_table_contains_the_secret(user_store: Users, ana: str, emptied: Engine) -> None:
    """After its creation the secret is in no row of any table, including the audit."""
    secret = user_store.keys.add(ana, "shop", [Scope.PREDICT], at=NOW).secret.rpartition("_")[2]
    with read_transaction(emptied) as connection:
        for table in metadata.sorted_tables:
            assert secret not in repr(connection.execute(select(table)).all()), table.name


def test_keys_are_unique(user_store: Users, ana: str) -> None:
    """Each key is 256 random bits after a readable prefix."""
    keys = [user_store.keys.add(ana, f"shop {number}", [Scope.PREDICT], at=NOW) for number in range(3)]
    assert len({one.secret for one in keys}) == len({one.key.id for one in keys}) == 3
    assert all(one.secret.startswith(one.key.id + "_") and len(one.secret) - len(one.key.id) == 44 for one in keys)


@pytest.mark.parametrize("other", ["k", "K", "\u043a", "\uff4b"])
def test_key_names_of_one_owner_are_unique(user_store: Users, ana: str, other: str) -> None:
    """Active keys of a user have different names, by the rule for user names; a rotated key keeps its name."""
    first = user_store.keys.add(ana, "k", [Scope.READ], at=NOW, ends=NOW + timedelta(days=9)).key
    with pytest.raises(FieldTypeError):
        user_store.keys.add(ana, other, [Scope.READ], at=NOW)
    user_store.keys.add(user_store.add_user("bob", Role.VIEWER, at=NOW), other, [Scope.READ], at=NOW)
    second = user_store.keys.rotate(first.id, at=NOW, old_ends=NOW + timedelta(days=1)).key
    user_store.keys.revoke(second.id, at=NOW)
    with pytest.raises(FieldTypeError):
        user_store.keys.add(ana, other, [Scope.READ], at=NOW)
    user_store.keys.add(ana, other, [Scope.READ], at=NOW + timedelta(days=2))


def test_a_key_is_valid_until_its_end(user_store: Users, ana: str) -> None:
    """A key is invalid from the microsecond of its end."""
    key = user_store.keys.add(ana, "shop", [Scope.PREDICT], at=NOW, ends=NOW + timedelta(days=1)).secret.encode()
    roll = user_store.access_snapshot()
    assert roll.find_key(key, us(NOW + timedelta(days=1)) - 1) is not None
    assert roll.find_key(key, us(NOW + timedelta(days=1))) is None


def test_a_revoked_key_stays_revoked(user_store: Users, ana: str) -> None:
    """Revoking again changes nothing, and a revoked key cannot be rotated."""
    made = user_store.keys.add(ana, "shop", [Scope.PREDICT], at=NOW)
    assert user_store.keys.revoke(made.key.id, at=NOW).revoked == NOW
    assert user_store.keys.revoke(made.key.id, at=NOW + timedelta(days=1)).revoked == NOW
    assert user_store.access_snapshot().find_key(made.secret.encode(), us(NOW)) is None
    with pytest.raises(ApiKeyNotFoundError):
        user_store.keys.rotate(made.key.id, at=NOW, old_ends=NOW + timedelta(days=1))


def test_both_keys_are_valid_during_a_rotation(user_store: Users, ana: str) -> None:
    """The new key has the same properties; the old one ends as requested, and never later than its own end."""
    old = user_store.keys.add(ana, "shop", [Scope.PREDICT, Scope.READ], model="digits", at=NOW)
    new = user_store.keys.rotate(old.key.id, at=NOW, old_ends=NOW + timedelta(hours=24))
    assert (new.key.scopes, new.key.model, new.key.name) == (old.key.scopes, "digits", "shop")
    roll = user_store.access_snapshot()
    for hours, counts in ((23, True), (24, False)):
        then = us(NOW + timedelta(hours=hours))
        assert (roll.find_key(old.secret.encode(), then) is not None) is counts
        assert roll.find_key(new.secret.encode(), then) is not None
    again = user_store.keys.rotate(old.key.id, at=NOW, old_ends=NOW + timedelta(days=30))
    assert user_store.keys.get(old.key.id).ends == NOW + timedelta(hours=24)
    assert again.secret != new.secret
    # The same rule: the lifetime of the old key is now the shortened one.
    assert (new.key.ends, again.key.ends) == (None, NOW + timedelta(hours=24))


@pytest.mark.parametrize("days", [90, None])
def test_a_rotated_key_keeps_its_lifetime(user_store: Users, ana: str, days: int | None) -> None:
    """By default the new key has the old one's lifetime from now; an explicit end takes precedence."""
    ends, then = None if days is None else NOW + timedelta(days=days), NOW + timedelta(days=80)
    old = user_store.keys.add(ana, "shop", [Scope.PREDICT], at=NOW, ends=ends).key
    new = user_store.keys.rotate(old.id, at=then, old_ends=then + timedelta(days=1)).key
    assert new.ends == (None if days is None else then + timedelta(days=days))
    week = user_store.keys.rotate(new.id, at=then, old_ends=then, ends=then + timedelta(days=7)).key
    assert week.ends == then + timedelta(days=7)


def test_an_ended_key_cannot_be_rotated(user_store: Users, ana: str) -> None:
    """An ended key cannot be rotated, so an old id cannot be revived."""
    made = user_store.keys.add(ana, "shop", [Scope.PREDICT], at=NOW, ends=NOW + timedelta(days=1))
    with pytest.raises(ApiKeyNotFoundError):
        user_store.keys.rotate(made.key.id, at=NOW + timedelta(days=1), old_ends=NOW + timedelta(days=9))


def test_keys_of_a_disabled_user_are_rejected(user_store: Users) -> None:
    """Keys of a disabled user are rejected with a reason and cannot be rotated; they work again once the user is enabled."""
    bob = user_store.add_user("bob", Role.VIEWER, at=NOW)
    made = user_store.keys.add(bob, "shop", [Scope.PREDICT], at=NOW)
    user_store.change_user(bob, UserChange(disabled=True), at=NOW + timedelta(hours=1))
    assert user_store.keys.get(made.key.id).owner_disabled == NOW + timedelta(hours=1)
    with pytest.raises(OriginError, match="owner of the key"):
        user_store.keys.rotate(made.key.id, at=NOW, old_ends=NOW)
    assert [one.ends for one in user_store.keys.iter_all()] == [None]
    user_store.change_user(bob, UserChange(disabled=False), at=NOW)
    assert user_store.keys.get(made.key.id) == made.key
    assert user_store.keys.rotate(made.key.id, at=NOW, old_ends=NOW).key.owner_disabled is None


def test_a_key_for_one_model_is_limited_to_it(user_store: Users, ana: str) -> None:
    """A key for one model is limited to it, whatever its owner's permissions."""
    key = user_store.keys.add(ana, "shop", [Scope.PREDICT], model="digits", at=NOW).secret.encode()
    known = user_store.access_snapshot().find_key(key, us(NOW))
    assert known is not None
    assert known.can(Action.PREDICT, "digits")
    assert not known.can(Action.PREDICT, "churn")
    assert not known.can_see("churn")


@pytest.mark.parametrize("scopes", [[], list(Scope)])
def test_no_key_manages_users(user_store: Users, ana: str, scopes: list[Scope]) -> None:
    """An admin's key with every scope cannot manage users; a key without a scope cannot be created."""
    if not scopes:
        with pytest.raises(MissingFieldError):
            user_store.keys.add(ana, "shop", scopes, at=NOW)
        return
    secret = user_store.keys.add(ana, "shop", scopes, at=NOW).secret
    known = user_store.access_snapshot().find_key(secret.encode(), us(NOW))
    assert known is not None
    assert not known.can(Action.ADMINISTER)
    assert not known.can(Action.TRUST_CODE)


def test_unknown_names_are_different_errors(user_store: Users, ana: str) -> None:
    """An unknown owner, an unknown key and an invalid model name are different errors."""
    with pytest.raises(UserNotFoundError):
        user_store.keys.add("nobody", "shop", [Scope.PREDICT], at=NOW)
    with pytest.raises(ApiKeyNotFoundError):
        user_store.keys.revoke("rlv_00000000\x00", at=NOW)
    with pytest.raises(FieldTypeError):
        user_store.keys.add(ana, "shop", [Scope.PREDICT], model="../digits", at=NOW)


def test_keys_are_listed_the_newest_first(user_store: Users, ana: str) -> None:
    """Keys are listed newest first: all, or those of one user."""
    bob = user_store.add_user("bob", Role.VIEWER, at=NOW)
    first = user_store.keys.add(ana, "first", [Scope.PREDICT], at=NOW).key
    second = user_store.keys.add(bob, "second", [Scope.READ], at=NOW + timedelta(seconds=1)).key
    assert list(user_store.keys.iter_all()) == [second, first]
    assert list(user_store.keys.iter_all(ana)) == [first]
    assert (second.owner, second.scopes) == ("bob", (Scope.READ,))


def test_keys_come_in_pages(user_store: Users, ana: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each key appears once, in one order, even if several were created at the same moment; an invalid cursor is rejected."""
    made = [
        user_store.keys.add(ana, str(number), [Scope.READ], at=NOW + timedelta(seconds=number // 3)).key.id for number in range(8)
    ]
    seen, cursor = [], None
    while True:
        page = user_store.keys.page(cursor=cursor, limit=3)
        seen += [key.id for key in page.items]
        if (cursor := page.next_cursor) is None:
            break
    assert sorted(seen) == sorted(made)
    assert set(seen[:2]) == set(made[6:])
    monkeypatch.setattr("relevo.store.auth.api_keys.MOST_ITEMS", 2)
    assert [key.id for key in user_store.keys.iter_all()] == seen
    for foreign in ("", "x", cursor_of("ana"), cursor_of([1, 2]), cursor_of([1]), "\x00" * 9):
        with pytest.raises(FieldTypeError):
            user_store.keys.page(cursor=foreign)
    assert user_store.keys.page(cursor=cursor_of([-(2**63) + 1, "x\x00"])).items == []
    with pytest.raises(FieldRangeError):
        user_store.keys.page(limit=1001)
