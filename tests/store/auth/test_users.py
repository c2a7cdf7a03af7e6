"""Users on both databases: names, permissions, and that an admin always remains."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import func, select

from relevo.domain.access import Role, Scope
from relevo.domain.audit import LOCAL_ACTOR, Actor, without_marks
from relevo.errors import AuthenticationError, FieldTypeError, LastAdminError, NameTakenError, UserNotFoundError
from relevo.store.audit.log import AuditLog
from relevo.store.auth.users import UserChange, Users
from relevo.store.db.engine import read_transaction
from relevo.store.db.tables import audit

if TYPE_CHECKING:
    from sqlalchemy import Engine

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
#: Placeholder of a password hash.
KEPT = "$argon2id$"


@pytest.fixture
def user_store(emptied: Engine) -> Users:
    """The users of an empty store."""
    return Users(emptied, AuditLog(b"key"))


@pytest.fixture
def begun(emptied: Engine) -> int:
    """Last audit entry before the test."""
    with read_transaction(emptied) as connection:
        return connection.scalar(select(func.max(audit.c.sequence))) or 0


def acts(engine: Engine, begun: int) -> list[tuple[str, str, str, str]]:
    """Returns the audit entries of this test: actor, action, before, after."""
    told = select(audit.c.actor, audit.c.action, audit.c.before, audit.c.after).where(audit.c.sequence > begun)
    with read_transaction(engine) as connection:
        return [(*row[:3], without_marks(row.after)) for row in connection.execute(told.order_by(audit.c.sequence))]


def test_a_user_is_found_by_name_and_by_id(user_store: Users) -> None:
    """A user is read back with the values it was added with."""
    made = user_store.add_user("Ana López", Role.OPERATOR, grants={"digits": Role.ADMIN}, password_hash=KEPT, at=NOW)
    user = user_store.get(made)
    assert (user.name, user.role, user.grants, user.made) == ("Ana López", Role.OPERATOR, {"digits": Role.ADMIN}, NOW)
    assert user.has_password
    assert user_store.get_by_name("Ana López") == user
    assert list(user_store.iter_all()) == [user]
    assert user_store.get_by_name("ANA LÓPEZ") == user, "and however it is written"
    with pytest.raises(UserNotFoundError):
        user_store.get_by_name("ana lopez")
    with pytest.raises(UserNotFoundError):
        user_store.get("nobody\x00")


@pytest.mark.parametrize("other", ["USER-A", "User-a", "\uff55ser-a", "us\u0435r-a"])
def test_look_alike_names_are_taken(user_store: Users, other: str) -> None:
    """Case, width and look-alike letters do not make a new name, also in a rename; a user can change the spelling of their own."""
    user = user_store.add_user("user-a", Role.VIEWER, at=NOW)
    bob = user_store.add_user("bob", Role.VIEWER, at=NOW)
    with pytest.raises((NameTakenError, FieldTypeError)):
        user_store.add_user(other, Role.ADMIN, at=NOW)
    with pytest.raises((NameTakenError, FieldTypeError)):
        user_store.change_user(bob, UserChange(name=other), at=NOW)
    assert user_store.change_user(user, UserChange(name="User-A"), at=NOW).name == "User-A"


def test_names_are_normalized(user_store: Users) -> None:
    """An accent as one code point or as two is the same user name."""
    user_store.add_user("Jos\u00e9", Role.VIEWER, at=NOW)
    assert user_store.get_by_name("Jose\u0301").name == "Jos\u00e9"
    with pytest.raises(NameTakenError):
        user_store.add_user("Jose\u0301", Role.ADMIN, at=NOW)


@pytest.mark.parametrize("name", ["", " ", " ana", "ana ", "a" * 65, "a\nb", "a\x00b", "a\u202eb"])
def test_unreadable_names_are_rejected(user_store: Users, name: str) -> None:
    """Leading or trailing spaces, control characters and direction marks are rejected."""
    with pytest.raises(FieldTypeError):
        user_store.add_user(name, Role.VIEWER, at=NOW)


def test_every_change_increases_the_epoch_and_is_audited(user_store: Users, emptied: Engine, begun: int) -> None:
    """Each change increases the epoch and adds an audit entry with actor, before and after, without names."""
    by = Actor(actor="user:boss", address="10.0.0.9")
    seen = [user_store.revision()]
    user = user_store.add_user("ana", Role.ADMIN, password_hash=KEPT, at=NOW, by=by)
    seen.append(user_store.revision())
    other = user_store.add_user("bob", Role.VIEWER, at=NOW, by=by)
    user_store.change_user(other, UserChange(role=Role.LABELER, grants={"digits": Role.OPERATOR}), at=NOW, by=by)
    user_store.change_user(other, UserChange(name="rob", disabled=True), at=NOW, by=by)
    user_store.change_user(other, UserChange(disabled=False, no_role=True, grants={"digits": None}), at=NOW, by=by)
    user_store.set_password(user, "y", at=NOW, by=LOCAL_ACTOR)
    seen.append(user_store.revision())
    assert sorted(set(seen)) == seen
    assert acts(emptied, begun) == [
        ("user:boss", "user.add", "", "admin"),
        ("user:boss", "user.add", "", "viewer"),
        ("user:boss", "user.role", "viewer", "labeler, digits: operator"),
        ("user:boss", "user.rename", "", ""),
        ("user:boss", "user.disable", "", ""),
        ("user:boss", "user.role", "labeler, digits: operator", ""),
        ("user:boss", "user.enable", "", ""),
        ("cli", "user.password", "", ""),
    ]


def test_a_change_without_effect_ends_no_session(user_store: Users) -> None:
    """A change without effect ends no session."""
    user = user_store.add_user("ana", Role.ADMIN, password_hash=KEPT, at=NOW)
    token = user_store.sessions.open(user, at=NOW, by=LOCAL_ACTOR)
    user_store.change_user(user, UserChange(role=Role.ADMIN, name="ana", disabled=False), at=NOW)
    assert user_store.sessions.find(token, at=NOW).id == user


@pytest.mark.parametrize(
    "change",
    [UserChange(role=Role.VIEWER), UserChange(no_role=True), UserChange(disabled=True), UserChange(grants={"digits": Role.VIEWER})],
    ids=["role", "no role", "disabled", "grant"],
)
def test_a_change_of_permissions_ends_the_sessions(user_store: Users, change: UserChange) -> None:
    """A change of permissions ends all sessions of that user only."""
    user_store.add_user("boss", Role.ADMIN, password_hash=KEPT, at=NOW)
    user = user_store.add_user("ana", Role.ADMIN, password_hash=KEPT, at=NOW)
    other = user_store.add_user("bob", Role.VIEWER, password_hash=KEPT, at=NOW)
    token, others = (user_store.sessions.open(one, at=NOW, by=LOCAL_ACTOR) for one in (user, other))
    user_store.change_user(user, change, at=NOW)
    with pytest.raises(AuthenticationError):
        user_store.sessions.find(token, at=NOW)
    assert user_store.sessions.find(others, at=NOW).name == "bob"


def test_a_new_password_ends_every_session(user_store: Users) -> None:
    """A new password ends every session of the user."""
    user = user_store.add_user("ana", Role.ADMIN, password_hash=KEPT, at=NOW)
    token = user_store.sessions.open(user, at=NOW, by=LOCAL_ACTOR)
    user_store.set_password(user, "y", at=NOW)
    with pytest.raises(AuthenticationError):
        user_store.sessions.find(token, at=NOW)


@pytest.mark.parametrize("change", [UserChange(role=Role.OPERATOR), UserChange(no_role=True), UserChange(disabled=True)])
def test_the_last_admin_stays(user_store: Users, change: UserChange, emptied: Engine, begun: int) -> None:
    """The last admin cannot lose the role, and a rejected attempt leaves no change."""
    user = user_store.add_user("ana", Role.ADMIN, password_hash=KEPT, at=NOW)
    before = acts(emptied, begun)
    with pytest.raises(LastAdminError):
        user_store.change_user(user, change, at=NOW)
    assert user_store.get(user).role is Role.ADMIN
    assert user_store.get(user).disabled is None
    assert acts(emptied, begun) == before
    user_store.add_user("bob", Role.ADMIN, password_hash=KEPT, at=NOW)
    user_store.change_user(user, change, at=NOW)


def test_an_admin_who_cannot_log_in_does_not_count(user_store: Users) -> None:
    """The last admin who can log in stays, even if others have the role."""
    user = user_store.add_user("ana", Role.ADMIN, password_hash=KEPT, at=NOW)
    user_store.add_user("robot", Role.ADMIN, at=NOW)
    with pytest.raises(LastAdminError):
        user_store.change_user(user, UserChange(disabled=True), at=NOW)


def test_concurrent_demotions_leave_one_admin(user_store: Users) -> None:
    """Of two admins who demote each other at the same moment one stays, on PostgreSQL too."""
    ids = [user_store.add_user(name, Role.ADMIN, password_hash=KEPT, at=NOW) for name in ("ana", "bob")]
    start, refused = threading.Barrier(2), []

    def dismiss(user: str) -> None:
        start.wait()
        try:
            user_store.change_user(user, UserChange(role=Role.VIEWER), at=NOW)
        except LastAdminError:
            refused.append(user)

    threads = [threading.Thread(target=dismiss, args=(user,)) for user in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 1
    assert [one.role for one in user_store.iter_all()].count(Role.ADMIN) == 1


def test_names_are_unique(user_store: Users) -> None:
    """A name is unique, for new users and renames."""
    user = user_store.add_user("ana", Role.ADMIN, at=NOW)
    user_store.add_user("bob", Role.VIEWER, at=NOW)
    with pytest.raises(NameTakenError):
        user_store.add_user("ana", Role.VIEWER, at=NOW)
    with pytest.raises(NameTakenError):
        user_store.change_user(user, UserChange(name="bob"), at=NOW)


def test_a_grant_requires_a_valid_model_name(user_store: Users) -> None:
    """A grant with an invalid model name is rejected."""
    with pytest.raises(FieldTypeError):
        user_store.add_user("ana", None, grants={"../digits": Role.VIEWER}, at=NOW)


def test_a_disabled_user_has_no_password_hash_to_verify(user_store: Users) -> None:
    """For a disabled user there is no password hash to verify."""
    user_store.add_user("ana", Role.ADMIN, password_hash=KEPT, at=NOW)
    user = user_store.add_user("bob", Role.VIEWER, password_hash=KEPT, at=NOW)
    assert user_store.sign_in("bob")[1] == KEPT
    user_store.change_user(user, UserChange(disabled=True), at=NOW)
    assert user_store.sign_in("bob") == (None, None)
    assert user_store.sign_in("nobody") == (None, None)


def test_a_user_is_found_by_external_identity(user_store: Users) -> None:
    """An external identity is issuer and subject together, of enabled users only."""
    user_store.add_user("boss", Role.ADMIN, password_hash=KEPT, at=NOW)
    user = user_store.add_user("ana", Role.VIEWER, identity=("https://id.example", "42"), at=NOW)
    assert user_store.get_by_identity("https://id.example", "42").id == user
    with pytest.raises(UserNotFoundError):
        user_store.get_by_identity("https://other.example", "42")
    user_store.change_user(user, UserChange(disabled=True), at=NOW)
    with pytest.raises(UserNotFoundError):
        user_store.get_by_identity("https://id.example", "42")


def test_the_access_snapshot_has_current_permissions(user_store: Users) -> None:
    """Role, grants and the disabled state apply to a key from the next access snapshot on."""
    user_store.add_user("boss", Role.ADMIN, password_hash=KEPT, at=NOW)
    user = user_store.add_user("ana", Role.VIEWER, at=NOW)
    key = user_store.add_key(user, "test", [Scope.READ], at=NOW).encode()
    now_us = int((NOW + timedelta(days=1)).timestamp() * 1e6)
    user_store.change_user(user, UserChange(role=Role.LABELER, grants={"digits": Role.OPERATOR}), at=NOW)
    known = user_store.access_snapshot().find_key(key, now_us)
    assert known is not None
    assert (known.role, known.grants) == (Role.LABELER, {"digits": Role.OPERATOR})
    user_store.change_user(user, UserChange(disabled=True), at=NOW)
    assert user_store.access_snapshot().find_key(key, now_us) is None
    assert not user_store.access_snapshot().no_users


def test_users_come_in_pages(user_store: Users, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each user appears once, by name, with their permissions; a part of a name finds matching users."""
    for number in range(7):
        user_store.add_user(f"user {number}%", Role.VIEWER, grants={f"m{number}": Role.LABELER}, at=NOW)
    seen, cursor = [], None
    while True:
        page = user_store.page(cursor=cursor, limit=3)
        seen += [(user.name, list(user.grants)) for user in page.items]
        if (cursor := page.next_cursor) is None:
            break
    assert seen == [(f"user {number}%", [f"m{number}"]) for number in range(7)]
    monkeypatch.setattr("relevo.store.auth.users.MOST_ITEMS", 2)
    assert [user.name for user in user_store.iter_all()] == [name for name, _ in seen]
    assert [user.name for user in user_store.page(name="SER 3").items] == ["user 3%"]
    assert [len(user_store.page(name=part).items) for part in ("%", "r%", "_", "3%")] == [7, 0, 0, 1]
    assert user_store.page(name="user", limit=2).next_cursor is not None
    for foreign in ("", "x", "bnVsbA"):
        with pytest.raises(FieldTypeError):
            user_store.page(cursor=foreign)


@pytest.mark.parametrize("name", ["nobody", "System", "n\u043ebody", ".", "..", "user:ana", "a/b"])
def test_reserved_names_are_rejected(user_store: Users, name: str) -> None:
    """Reserved words and names that look like an id or a path are rejected, for new users and renames."""
    ana = user_store.add_user("ana", Role.ADMIN, at=NOW)
    with pytest.raises(FieldTypeError):
        user_store.add_user(name, Role.VIEWER, at=NOW)
    with pytest.raises(FieldTypeError):
        user_store.change_user(ana, UserChange(name=name), at=NOW)
