"""Users on both databases: who there is, what they may do, and that somebody is always left who administers."""

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
#: Stands where the hash of a password does.
KEPT = "$argon2id$"


@pytest.fixture
def people(emptied: Engine) -> Users:
    """The people of an empty store."""
    return Users(emptied, AuditLog(b"key"))


@pytest.fixture
def begun(emptied: Engine) -> int:
    """Where the audit ended when the test began."""
    with read_transaction(emptied) as connection:
        return connection.scalar(select(func.max(audit.c.sequence))) or 0


def acts(engine: Engine, begun: int) -> list[tuple[str, str, str, str]]:
    """What the audit tells of this test: who, what, from what, to what."""
    told = select(audit.c.actor, audit.c.action, audit.c.before, audit.c.after).where(audit.c.sequence > begun)
    with read_transaction(engine) as connection:
        return [(*row[:3], without_marks(row.after)) for row in connection.execute(told.order_by(audit.c.sequence))]


def test_a_user_is_found_by_name_and_by_id(people: Users) -> None:
    """What was said of a user when they were made is what is known of them."""
    made = people.add_user("Ana López", Role.OPERATOR, grants={"digits": Role.ADMIN}, password_hash=KEPT, at=NOW)
    user = people.one(made)
    assert (user.name, user.role, user.grants, user.made) == ("Ana López", Role.OPERATOR, {"digits": Role.ADMIN}, NOW)
    assert user.has_password
    assert people.named("Ana López") == user
    assert list(people.each()) == [user]
    assert people.named("ANA LÓPEZ") == user, "and however it is written"
    with pytest.raises(UserNotFoundError):
        people.named("ana lopez")
    with pytest.raises(UserNotFoundError):
        people.one("nobody\x00")


@pytest.mark.parametrize("other", ["USER-A", "User-a", "\uff55ser-a", "us\u0435r-a"])
def test_no_user_can_pass_for_another(people: Users, other: str) -> None:
    """By large letters, by wide ones, or by one of another script; nor by a change of name, and one may be written anew."""
    user = people.add_user("user-a", Role.VIEWER, at=NOW)
    bob = people.add_user("bob", Role.VIEWER, at=NOW)
    with pytest.raises((NameTakenError, FieldTypeError)):
        people.add_user(other, Role.ADMIN, at=NOW)
    with pytest.raises((NameTakenError, FieldTypeError)):
        people.change_user(bob, UserChange(name=other), at=NOW)
    assert people.change_user(user, UserChange(name="User-A"), at=NOW).name == "User-A"


def test_one_name_in_two_spellings_is_one_name(people: Users) -> None:
    """An accent typed as one sign or as two names the same user, so nobody can pass for another."""
    people.add_user("Jos\u00e9", Role.VIEWER, at=NOW)
    assert people.named("Jose\u0301").name == "Jos\u00e9"
    with pytest.raises(NameTakenError):
        people.add_user("Jose\u0301", Role.ADMIN, at=NOW)


@pytest.mark.parametrize("name", ["", " ", " ana", "ana ", "a" * 65, "a\nb", "a\x00b", "a\u202eb"])
def test_a_name_that_cannot_be_read_is_refused(people: Users, name: str) -> None:
    """Blank ends, control characters and signs that turn the reading direction make names look like others."""
    with pytest.raises(FieldTypeError):
        people.add_user(name, Role.VIEWER, at=NOW)


def test_every_change_moves_the_epoch_and_is_told_in_the_audit(people: Users, emptied: Engine, begun: int) -> None:
    """Workers see each change by one number; who did it, and from what to what, stands in the chain, and no name does."""
    by = Actor(actor="user:boss", address="10.0.0.9")
    seen = [people.epoch()]
    user = people.add_user("ana", Role.ADMIN, password_hash=KEPT, at=NOW, by=by)
    seen.append(people.epoch())
    other = people.add_user("bob", Role.VIEWER, at=NOW, by=by)
    people.change_user(other, UserChange(role=Role.LABELER, grants={"digits": Role.OPERATOR}), at=NOW, by=by)
    people.change_user(other, UserChange(name="rob", disabled=True), at=NOW, by=by)
    people.change_user(other, UserChange(disabled=False, no_role=True, grants={"digits": None}), at=NOW, by=by)
    people.set_password(user, "y", at=NOW, by=LOCAL_ACTOR)
    seen.append(people.epoch())
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


def test_a_change_that_changes_nothing_ends_no_session(people: Users) -> None:
    """Saying again what is so signs nobody out."""
    user = people.add_user("ana", Role.ADMIN, password_hash=KEPT, at=NOW)
    token = people.sessions.open(user, at=NOW, by=LOCAL_ACTOR)
    people.change_user(user, UserChange(role=Role.ADMIN, name="ana", disabled=False), at=NOW)
    assert people.sessions.find(token, at=NOW).id == user


@pytest.mark.parametrize(
    "change",
    [UserChange(role=Role.VIEWER), UserChange(no_role=True), UserChange(disabled=True), UserChange(grants={"digits": Role.VIEWER})],
    ids=["role", "no role", "disabled", "grant"],
)
def test_whoever_may_do_other_things_signs_in_anew(people: Users, change: UserChange) -> None:
    """A change of what somebody may do ends every session of theirs, and of nobody else."""
    people.add_user("boss", Role.ADMIN, password_hash=KEPT, at=NOW)
    user = people.add_user("ana", Role.ADMIN, password_hash=KEPT, at=NOW)
    other = people.add_user("bob", Role.VIEWER, password_hash=KEPT, at=NOW)
    token, others = (people.sessions.open(one, at=NOW, by=LOCAL_ACTOR) for one in (user, other))
    people.change_user(user, change, at=NOW)
    with pytest.raises(AuthenticationError):
        people.sessions.find(token, at=NOW)
    assert people.sessions.find(others, at=NOW).name == "bob"


def test_a_new_password_ends_every_session(people: Users) -> None:
    """Whoever stole a session loses it with the password."""
    user = people.add_user("ana", Role.ADMIN, password_hash=KEPT, at=NOW)
    token = people.sessions.open(user, at=NOW, by=LOCAL_ACTOR)
    people.set_password(user, "y", at=NOW)
    with pytest.raises(AuthenticationError):
        people.sessions.find(token, at=NOW)


@pytest.mark.parametrize("change", [UserChange(role=Role.OPERATOR), UserChange(no_role=True), UserChange(disabled=True)])
def test_the_last_admin_stays(people: Users, change: UserChange, emptied: Engine, begun: int) -> None:
    """Nobody can take the last admin their rights, and nothing of a try is kept."""
    user = people.add_user("ana", Role.ADMIN, password_hash=KEPT, at=NOW)
    before = acts(emptied, begun)
    with pytest.raises(LastAdminError):
        people.change_user(user, change, at=NOW)
    assert people.one(user).role is Role.ADMIN
    assert people.one(user).disabled is None
    assert acts(emptied, begun) == before
    people.add_user("bob", Role.ADMIN, password_hash=KEPT, at=NOW)
    people.change_user(user, change, at=NOW)


def test_an_admin_who_cannot_sign_in_does_not_count_as_one(people: Users) -> None:
    """The last who can sign in stays, whoever else has the title."""
    user = people.add_user("ana", Role.ADMIN, password_hash=KEPT, at=NOW)
    people.add_user("robot", Role.ADMIN, at=NOW)
    with pytest.raises(LastAdminError):
        people.change_user(user, UserChange(disabled=True), at=NOW)


def test_of_two_admins_who_dismiss_each_other_one_stays(people: Users) -> None:
    """At the same moment, on PostgreSQL too, where neither would see what the other is about to do."""
    ids = [people.add_user(name, Role.ADMIN, password_hash=KEPT, at=NOW) for name in ("ana", "bob")]
    start, refused = threading.Barrier(2), []

    def dismiss(user: str) -> None:
        start.wait()
        try:
            people.change_user(user, UserChange(role=Role.VIEWER), at=NOW)
        except LastAdminError:
            refused.append(user)

    threads = [threading.Thread(target=dismiss, args=(user,)) for user in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 1
    assert [one.role for one in people.each()].count(Role.ADMIN) == 1


def test_two_cannot_have_one_name(people: Users) -> None:
    """Neither as a new user nor by renaming."""
    user = people.add_user("ana", Role.ADMIN, at=NOW)
    people.add_user("bob", Role.VIEWER, at=NOW)
    with pytest.raises(NameTakenError):
        people.add_user("ana", Role.VIEWER, at=NOW)
    with pytest.raises(NameTakenError):
        people.change_user(user, UserChange(name="bob"), at=NOW)


def test_a_grant_is_for_what_may_be_a_model(people: Users) -> None:
    """A grant that could never count is refused."""
    with pytest.raises(FieldTypeError):
        people.add_user("ana", None, grants={"../digits": Role.VIEWER}, at=NOW)


def test_whose_password_is_checked_is_nobody_switched_off(people: Users) -> None:
    """For a user who is off there is nothing to check a password against."""
    people.add_user("ana", Role.ADMIN, password_hash=KEPT, at=NOW)
    user = people.add_user("bob", Role.VIEWER, password_hash=KEPT, at=NOW)
    assert people.sign_in("bob")[1] == KEPT
    people.change_user(user, UserChange(disabled=True), at=NOW)
    assert people.sign_in("bob") == (None, None)
    assert people.sign_in("nobody") == (None, None)


def test_an_identity_given_elsewhere_finds_its_user(people: Users) -> None:
    """Issuer and subject together, as long as the user is on."""
    people.add_user("boss", Role.ADMIN, password_hash=KEPT, at=NOW)
    user = people.add_user("ana", Role.VIEWER, identity=("https://id.example", "42"), at=NOW)
    assert people.identified("https://id.example", "42").id == user
    with pytest.raises(UserNotFoundError):
        people.identified("https://other.example", "42")
    people.change_user(user, UserChange(disabled=True), at=NOW)
    with pytest.raises(UserNotFoundError):
        people.identified("https://id.example", "42")


def test_the_roll_holds_what_a_user_may_do_now(people: Users) -> None:
    """Role, grants and being switched off count for a key from the next reading of the roll on."""
    people.add_user("boss", Role.ADMIN, password_hash=KEPT, at=NOW)
    user = people.add_user("ana", Role.VIEWER, at=NOW)
    key = people.add_key(user, "test", [Scope.READ], at=NOW).encode()
    now_us = int((NOW + timedelta(days=1)).timestamp() * 1e6)
    people.change_user(user, UserChange(role=Role.LABELER, grants={"digits": Role.OPERATOR}), at=NOW)
    known = people.roll().by_key(key, now_us)
    assert known is not None
    assert (known.role, known.grants) == (Role.LABELER, {"digits": Role.OPERATOR})
    people.change_user(user, UserChange(disabled=True), at=NOW)
    assert people.roll().by_key(key, now_us) is None
    assert not people.roll().open


def test_users_come_in_pages(people: Users, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every user once, by name, each with what they may do; a part of a name finds who is called so."""
    for number in range(7):
        people.add_user(f"user {number}%", Role.VIEWER, grants={f"m{number}": Role.LABELER}, at=NOW)
    seen, cursor = [], None
    while True:
        page = people.page(cursor=cursor, limit=3)
        seen += [(user.name, list(user.grants)) for user in page.items]
        if (cursor := page.next_cursor) is None:
            break
    assert seen == [(f"user {number}%", [f"m{number}"]) for number in range(7)]
    monkeypatch.setattr("relevo.store.auth.users.MOST_ITEMS", 2)
    assert [user.name for user in people.each()] == [name for name, _ in seen]
    assert [user.name for user in people.page(name="SER 3").items] == ["user 3%"]
    assert [len(people.page(name=part).items) for part in ("%", "r%", "_", "3%")] == [7, 0, 0, 1]
    assert people.page(name="user", limit=2).next_cursor is not None
    for foreign in ("", "x", "bnVsbA"):
        with pytest.raises(FieldTypeError):
            people.page(cursor=foreign)


@pytest.mark.parametrize("name", ["nobody", "System", "n\u043ebody", ".", "..", "user:ana", "a/b"])
def test_no_user_is_called_as_something_else_is(people: Users, name: str) -> None:
    """Reserved words and what could be read as an id or a path are refused, of a new user and of a new name."""
    ana = people.add_user("ana", Role.ADMIN, at=NOW)
    with pytest.raises(FieldTypeError):
        people.add_user(name, Role.VIEWER, at=NOW)
    with pytest.raises(FieldTypeError):
        people.change_user(ana, UserChange(name=name), at=NOW)
