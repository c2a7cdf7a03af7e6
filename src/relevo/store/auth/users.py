"""Users and what they may do, and everybody who may come in by a key, as one value.

    add_user, change_user, add_key, … ─ one transaction: the change, the next epoch, a link of the audit
    roll() ─► Roll, held by every worker                 sign_in(name) ─► whose password is to be checked

The last admin who can sign in stays one. A user is switched off and never removed: histories name them, and a
server that has had users must not be open again. Every change first takes the row of the epoch, so that of two changes at once one
waits for the other, on PostgreSQL too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from sqlalchemy import Row, delete, func, or_, select, text, update

from relevo.domain.access import AccessSnapshot, Role
from relevo.domain.audit import LOCAL_ACTOR, Actor, AuditEvent, with_marks
from relevo.domain.names import checked_user_name, name_key
from relevo.errors import LastAdminError, UserNotFoundError
from relevo.store.auth.api_keys import ApiKeys, known_keys
from relevo.store.auth.grants import grants_by_user
from relevo.store.auth.login_attempts import Attempts
from relevo.store.auth.login_codes import LoginCodes
from relevo.store.auth.oidc_logins import OidcLogins
from relevo.store.auth.sessions import Sessions
from relevo.store.auth.user_names import called, mark_of_user, plain, refuse_taken
from relevo.store.db.engine import after_commit, read_transaction, write_transaction
from relevo.store.db.tables import api_keys, grants, people_epoch, sessions, users
from relevo.store.db.text import validate_name
from relevo.store.pagination import MOST_ITEMS, checked_limit, decode_cursor
from relevo.store.pagination import encode_cursor as cursor_after
from relevo.util.timestamps import from_us, to_us

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime

    from sqlalchemy import Connection, Engine

    from relevo.domain.access import Scope
    from relevo.store.audit.log import AuditLog

_NEXT_EPOCH = text(
    'INSERT INTO people_epoch ("row", epoch) VALUES (1, 1) ON CONFLICT ("row") DO UPDATE SET epoch = people_epoch.epoch + 1'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Somebody who may come in."""

    id: str
    name: str
    role: Role | None  # everywhere
    grants: Mapping[str, Role] = field(default_factory=dict)  # model → role there
    made: datetime
    disabled: datetime | None = None
    has_password: bool = False
    issuer: str | None = None  # who vouches for them where they sign in elsewhere


@dataclass(frozen=True, slots=True, kw_only=True)
class UserPage:
    """Some users, by name."""

    items: list[User]
    next_cursor: str | None  # opaque; None on the last page


@dataclass(frozen=True, slots=True, kw_only=True)
class UserChange:
    """What is to become of a user; None leaves a thing as it is."""

    name: str | None = None
    role: Role | None = None
    no_role: bool = False  # only by grants from now on
    grants: Mapping[str, Role | None] = field(default_factory=dict)  # model → role there; None takes it away
    disabled: bool | None = None


class Users:
    """Who there is; lives as long as the process, safe for several threads. All methods raise DatabaseUnavailableError."""

    def __init__(self, engine: Engine, audit: AuditLog, *, noted: Callable[[], object] | None = None) -> None:
        """noted: called after each commit of a user that came in here, so that the home knows that it has some."""
        self._engine = engine
        self._audit = audit
        self._noted = noted
        self.sessions = Sessions(engine, audit)
        self.attempts = Attempts(engine, audit)
        self.keys = ApiKeys(engine, audit, next_epoch=self._next_epoch)
        self.elsewhere = OidcLogins(engine, audit, next_epoch=self._next_epoch)
        self.hand_overs = LoginCodes(engine)

    # --- looking ------------------------------------------------------------------------------------------------------

    def epoch(self) -> int:
        """A number that grows with every change to users, grants and keys."""
        with read_transaction(self._engine) as connection:
            return connection.scalar(select(people_epoch.c.epoch)) or 0

    def roll(self) -> AccessSnapshot:
        """Everybody who may come in by a key, all read at one moment."""
        with read_transaction(self._engine) as connection:
            epoch = connection.scalar(select(people_epoch.c.epoch)) or 0
            count = connection.scalar(select(func.count()).select_from(users)) or 0
            # The epoch grew with the first user: a table that was emptied since is no table that was always empty.
            return AccessSnapshot(
                epoch=epoch, open=count == 0 and epoch == 0, lost=count == 0 and epoch > 0, keys=known_keys(connection)
            )

    def page(self, *, cursor: str | None = None, limit: int = 50, name: str = "") -> UserPage:
        """Some users, by name. name: only those whose name has this in it, written large or small. limit: 1 to 1000.

        Raises FieldTypeError, FieldRangeError for cursor and limit.
        """
        query = select(users).order_by(users.c.name).limit(checked_limit(limit) + 1)
        if cursor is not None:
            query = query.where(users.c.name > plain(decode_cursor(cursor, str)))
        if name:
            query = query.where(users.c.name.icontains(plain(name), autoescape=True))
        with read_transaction(self._engine) as connection:
            rows = connection.execute(query).all()
            theirs = grants_by_user(connection, [row.id for row in rows])
        items = [_user(row, theirs.get(row.id, {})) for row in rows[:limit]]
        return UserPage(items=items, next_cursor=cursor_after(items[-1].name) if len(rows) > limit else None)

    def each(self) -> Iterator[User]:
        """Every user, by name, read some hundred at a time."""
        page = self.page(limit=MOST_ITEMS)
        yield from page.items
        while page.next_cursor is not None:
            page = self.page(cursor=page.next_cursor, limit=MOST_ITEMS)
            yield from page.items

    def one(self, user: str) -> User:
        """The user with this id. Raises UserNotFoundError."""
        with read_transaction(self._engine) as connection:
            return _found(connection, user)

    def named(self, name: str) -> User:
        """The user of this name. Raises UserNotFoundError."""
        with read_transaction(self._engine) as connection:
            row = connection.execute(called(name)).first()
            if row is None:
                raise UserNotFoundError
            return _found(connection, row.id)

    def identified(self, issuer: str, subject: str) -> User:
        """Whoever an issuer of identities calls so, and is not switched off. Raises UserNotFoundError."""
        theirs = (users.c.issuer == plain(issuer), users.c.subject == plain(subject), users.c.disabled_us.is_(None))
        with read_transaction(self._engine) as connection:
            row = connection.execute(select(users.c.id).where(*theirs)).first()
            if row is None:
                raise UserNotFoundError
            return _found(connection, row.id)

    def names_of(self, actors: Iterable[str | None]) -> dict[str, str]:
        """What keys and users are called, by how the audit and the history call them: "key:…", "user:…"."""
        wanted = {actor for actor in actors if actor}
        found: dict[str, str] = {}
        if not wanted:
            return found
        with read_transaction(self._engine) as connection:
            for kind, table in (("key", api_keys), ("user", users)):
                ids = [actor.partition(":")[2] for actor in wanted if actor.startswith(f"{kind}:")]
                rows = connection.execute(select(table.c.id, table.c.name).where(table.c.id.in_(ids))) if ids else ()
                found |= {f"{kind}:{row.id}": row.name for row in rows}
        return found

    def sign_in(self, name: str) -> tuple[User | None, str | None]:
        """Whoever goes by this name and is not switched off, and the hash of their password; None for nobody, or no password."""
        with read_transaction(self._engine) as connection:
            row = connection.execute(called(name)).first()
            if row is None or row.disabled_us is not None:
                return None, None
            return _user(row, grants_by_user(connection, [row.id]).get(row.id, {})), row.password_hash

    # --- changing -----------------------------------------------------------------------------------------------------

    def add_user(
        self,
        name: str,
        role: Role | None,
        *,
        at: datetime,
        password_hash: str | None = None,
        identity: tuple[str, str] | None = None,
        grants: Mapping[str, Role] | None = None,
        by: Actor = LOCAL_ACTOR,
    ) -> str:
        """A new user. identity: issuer and subject, if they sign in elsewhere. Returns the id. Raises NameTakenError, FieldTypeError."""
        user = uuid4().hex
        written = checked_user_name(name)
        row = {
            "id": user,
            "name": written,
            "name_key": name_key(written),
            "role": role,
            "password_hash": password_hash,
            "made_us": to_us(at),
        }
        row["issuer"], row["subject"] = identity or (None, None)
        with write_transaction(self._engine) as connection:
            self._next_epoch(connection)
            refuse_taken(connection, written)
            connection.execute(users.insert().values(row))
            _grant(connection, user, grants or {})
            after = with_marks(words_of_user(role, grants or {}), mark_of_user(connection, self._audit, user))
            self._audit.append(connection, AuditEvent(by=by, action="user.add", object=f"user:{user}", after=after), at=at)
            if self._noted is not None:
                after_commit(connection, self._noted)
        return user

    def change_user(self, user: str, change: UserChange, *, at: datetime, by: Actor = LOCAL_ACTOR) -> User:
        """Change name, role, grants, or whether they may come in at all. Whoever may do other things from now on signs in anew.

        Raises UserNotFoundError, NameTakenError, FieldTypeError, and LastAdminError when nobody would be left to undo it.
        """
        with write_transaction(self._engine) as connection:
            self._next_epoch(connection)
            before = _found(connection, user)
            _apply(connection, before, change, at)
            after = _found(connection, user)
            if (before.role, before.grants, before.disabled) != (after.role, after.grants, after.disabled):
                connection.execute(delete(sessions).where(sessions.c.user_id == user))
            _keep_an_admin(connection, before)
            for act in _acts(before, after, by, mark_of_user(connection, self._audit, user)):
                self._audit.append(connection, act, at=at)
        return after

    def set_password(self, user: str, password_hash: str, *, at: datetime, by: Actor = LOCAL_ACTOR) -> None:
        """Another password; every session of theirs ends. Raises UserNotFoundError."""
        with write_transaction(self._engine) as connection:
            self._next_epoch(connection)
            _found(connection, user)
            connection.execute(update(users).where(users.c.id == user).values(password_hash=password_hash))
            connection.execute(delete(sessions).where(sessions.c.user_id == user))
            self._say_hash(connection, "user.password", user, by, at)

    def rehash(self, user: str, old: str, new: str, *, at: datetime, by: Actor = LOCAL_ACTOR) -> None:
        """The same password, kept under today's parameters; nothing changes for anybody."""
        with write_transaction(self._engine) as connection:
            same = update(users).where(users.c.id == user, users.c.password_hash == old)
            if connection.execute(same.values(password_hash=new)).rowcount:
                self._say_hash(connection, "user.rehash", user, by, at)

    def add_key(
        self, user: str, name: str, scopes: Iterable[Scope], *, at: datetime, ends: datetime | None = None, by: Actor = LOCAL_ACTOR
    ) -> str:
        """A new key for every model of its owner, whole; it is kept nowhere."""
        return self.keys.add(user, name, scopes, at=at, ends=ends, by=by).secret

    def _say_hash(self, connection: Connection, action: str, user: str, by: Actor, at: datetime) -> None:
        after = with_marks("", mark_of_user(connection, self._audit, user))
        self._audit.append(connection, AuditEvent(by=by, action=action, object=f"user:{user}", after=after), at=at)

    def _next_epoch(self, connection: Connection) -> None:
        connection.execute(_NEXT_EPOCH)


def knows_users(engine: Engine) -> bool:
    """Whether there is a user in this database, whose tables may not even be made. Raises DatabaseUnavailableError."""
    with read_transaction(engine) as connection:
        there = connection.dialect.has_table(connection, users.name)
        return there and connection.execute(select(users.c.id).limit(1)).first() is not None


def _apply(connection: Connection, user: User, change: UserChange, at: datetime) -> None:
    values: dict[str, Any] = {}
    if change.name is not None and checked_user_name(change.name) != user.name:
        values["name"] = checked_user_name(change.name)
        values["name_key"] = name_key(values["name"])
        refuse_taken(connection, values["name"], but=user.id)
    if change.role is not None or change.no_role:
        values["role"] = None if change.no_role else change.role
    if change.disabled is not None and change.disabled != (user.disabled is not None):
        values["disabled_us"] = to_us(at) if change.disabled else None
    if values:
        connection.execute(update(users).where(users.c.id == user.id).values(values))
    _grant(connection, user.id, change.grants)


def _grant(connection: Connection, user: str, wanted: Mapping[str, Role | None]) -> None:
    for model, role in wanted.items():
        validate_name(model, "grants")
        connection.execute(delete(grants).where(grants.c.user_id == user, grants.c.model == model))
        if role is not None:
            connection.execute(grants.insert().values(user_id=user, model=model, role=role))


def _keep_an_admin(connection: Connection, before: User) -> None:
    """Hold a change of one user against who is left. Raises LastAdminError, which takes the whole transaction back."""
    if before.role is not Role.ADMIN or before.disabled is not None:
        return
    admins = select(func.count()).select_from(users).where(users.c.role == Role.ADMIN, users.c.disabled_us.is_(None))
    if before.has_password or before.issuer is not None:
        admins = admins.where(or_(users.c.password_hash.is_not(None), users.c.subject.is_not(None)))
    if not connection.scalar(admins):
        raise LastAdminError


def _acts(before: User, after: User, by: Actor, mark: str) -> list[AuditEvent]:
    """One act for each thing that changed; what people are called stays out of the chain but for its mark."""
    old, new = words_of_user(before.role, before.grants), words_of_user(after.role, after.grants)
    acts = []
    if before.name != after.name:
        acts.append(AuditEvent(by=by, action="user.rename", object=f"user:{after.id}", after=with_marks("", mark)))
    if old != new:
        acts.append(AuditEvent(by=by, action="user.role", object=f"user:{after.id}", before=old, after=new))
    if before.disabled != after.disabled:
        acts.append(AuditEvent(by=by, action="user.disable" if after.disabled else "user.enable", object=f"user:{after.id}"))
    return acts


def words_of_user(role: Role | None, granted: Mapping[str, Role]) -> str:
    """How the audit says what somebody may do."""
    return ", ".join([*([role.value] if role else []), *(f"{model}: {one.value}" for model, one in sorted(granted.items()))])


def _found(connection: Connection, user: str) -> User:
    row = connection.execute(select(users).where(users.c.id == plain(user))).first()
    if row is None:
        raise UserNotFoundError
    return _user(row, grants_by_user(connection, [row.id]).get(row.id, {}))


def _user(row: Row[Any], granted: Mapping[str, Role]) -> User:
    return User(
        id=row.id,
        name=row.name,
        role=Role(row.role) if row.role else None,
        grants=granted,
        made=from_us(row.made_us),
        disabled=from_us(row.disabled_us) if row.disabled_us is not None else None,
        has_password=row.password_hash is not None,
        issuer=row.issuer,
    )
