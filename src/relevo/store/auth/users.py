"""User accounts, their roles and grants, and the access snapshot that every worker holds.

    add_user, change_user, add_key, … ─ one transaction: the change, the next epoch, an audit entry
    roll() ─► AccessSnapshot, held by every worker       sign_in(name) ─► the user and the password hash to verify

The last admin who can log in stays one. A user is disabled and never deleted: stored records refer to them, and a server that has
had users must not become open again. Every change first updates the row of the epoch, which serializes concurrent changes on
PostgreSQL too.
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
from relevo.store.auth.api_keys import ApiKeys, active_keys
from relevo.store.auth.grants import grants_by_user
from relevo.store.auth.login_attempts import Attempts
from relevo.store.auth.login_codes import LoginCodes
from relevo.store.auth.oidc_logins import OidcLogins
from relevo.store.auth.sessions import Sessions
from relevo.store.auth.user_names import check_name_free, normalize_text, select_by_name, user_signature
from relevo.store.db.engine import after_commit, read_transaction, write_transaction
from relevo.store.db.tables import access_revision, api_keys, grants, sessions, users
from relevo.store.db.text import validate_name
from relevo.store.pagination import MOST_ITEMS, decode_cursor, validate_limit
from relevo.store.pagination import encode_cursor as cursor_after
from relevo.util.timestamps import from_us, to_us

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime

    from sqlalchemy import Connection, Engine

    from relevo.domain.access import Scope
    from relevo.store.audit.log import AuditLog

_NEXT_EPOCH = text(
    'INSERT INTO access_revision ("row", epoch) VALUES (1, 1) ON CONFLICT ("row") DO UPDATE SET epoch = access_revision.epoch + 1'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A user account."""

    id: str
    name: str
    role: Role | None  # for all models
    grants: Mapping[str, Role] = field(default_factory=dict)  # model → role
    made: datetime
    disabled: datetime | None = None
    has_password: bool = False
    issuer: str | None = None  # of the identity provider, for OIDC users


@dataclass(frozen=True, slots=True, kw_only=True)
class UserPage:
    """One page of users, by name."""

    items: list[User]
    next_cursor: str | None  # opaque; None on the last page


@dataclass(frozen=True, slots=True, kw_only=True)
class UserChange:
    """Changes to a user; None leaves a field unchanged."""

    name: str | None = None
    role: Role | None = None
    no_role: bool = False  # removes the role, so that only grants apply
    grants: Mapping[str, Role | None] = field(default_factory=dict)  # model → role; None removes the grant
    disabled: bool | None = None


class Users:
    """All users. Lifetime: the process; safe for several threads. All methods raise DatabaseUnavailableError."""

    def __init__(self, engine: Engine, audit: AuditLog, *, noted: Callable[[], object] | None = None) -> None:
        """noted: called after each commit that adds a user, so that the home records that it has users."""
        self._engine = engine
        self._audit = audit
        self._noted = noted
        self.sessions = Sessions(engine, audit)
        self.attempts = Attempts(engine, audit)
        self.keys = ApiKeys(engine, audit, next_epoch=self._next_epoch)
        self.elsewhere = OidcLogins(engine, audit, next_epoch=self._next_epoch)
        self.hand_overs = LoginCodes(engine)

    # --- reading ------------------------------------------------------------------------------------------------------

    def revision(self) -> int:
        """Returns a number that increases with every change to users, grants and keys."""
        with read_transaction(self._engine) as connection:
            return connection.scalar(select(access_revision.c.epoch)) or 0

    def access_snapshot(self) -> AccessSnapshot:
        """Returns the access snapshot: all API keys and whether users exist, read in one transaction."""
        with read_transaction(self._engine) as connection:
            epoch = connection.scalar(select(access_revision.c.epoch)) or 0
            count = connection.scalar(select(func.count()).select_from(users)) or 0
            # The epoch increased with the first user, so an emptied table differs from one that was always empty.
            return AccessSnapshot(
                revision=epoch, no_users=count == 0 and epoch == 0, lost=count == 0 and epoch > 0, keys=active_keys(connection)
            )

    def page(self, *, cursor: str | None = None, limit: int = 50, name: str = "") -> UserPage:
        """Returns a page of users, by name. name: only names that contain this, ignoring case. limit: 1 to 1000.

        Raises FieldTypeError, FieldRangeError for cursor and limit.
        """
        query = select(users).order_by(users.c.name).limit(validate_limit(limit) + 1)
        if cursor is not None:
            query = query.where(users.c.name > normalize_text(decode_cursor(cursor, str)))
        if name:
            query = query.where(users.c.name.icontains(normalize_text(name), autoescape=True))
        with read_transaction(self._engine) as connection:
            rows = connection.execute(query).all()
            user_grants = grants_by_user(connection, [row.id for row in rows])
        items = [_user(row, user_grants.get(row.id, {})) for row in rows[:limit]]
        return UserPage(items=items, next_cursor=cursor_after(items[-1].name) if len(rows) > limit else None)

    def iter_all(self) -> Iterator[User]:
        """Yields every user, by name, page by page."""
        page = self.page(limit=MOST_ITEMS)
        yield from page.items
        while page.next_cursor is not None:
            page = self.page(cursor=page.next_cursor, limit=MOST_ITEMS)
            yield from page.items

    def get(self, user: str) -> User:
        """Returns the user with this id. Raises UserNotFoundError."""
        with read_transaction(self._engine) as connection:
            return _require_user(connection, user)

    def get_by_name(self, name: str) -> User:
        """Returns the user with this name. Raises UserNotFoundError."""
        with read_transaction(self._engine) as connection:
            row = connection.execute(select_by_name(name)).first()
            if row is None:
                raise UserNotFoundError
            return _require_user(connection, row.id)

    def get_by_identity(self, issuer: str, subject: str) -> User:
        """Returns the enabled user with this external identity. Raises UserNotFoundError."""
        conditions = (
            users.c.issuer == normalize_text(issuer),
            users.c.subject == normalize_text(subject),
            users.c.disabled_us.is_(None),
        )
        with read_transaction(self._engine) as connection:
            row = connection.execute(select(users.c.id).where(*conditions)).first()
            if row is None:
                raise UserNotFoundError
            return _require_user(connection, row.id)

    def names_of(self, actors: Iterable[str | None]) -> dict[str, str]:
        """Returns the names of keys and users by actor, as the audit and the prediction log store it: "key:…", "user:…"."""
        requested = {actor for actor in actors if actor}
        names: dict[str, str] = {}
        if not requested:
            return names
        with read_transaction(self._engine) as connection:
            for kind, table in (("key", api_keys), ("user", users)):
                ids = [actor.partition(":")[2] for actor in requested if actor.startswith(f"{kind}:")]
                rows = connection.execute(select(table.c.id, table.c.name).where(table.c.id.in_(ids))) if ids else ()
                names |= {f"{kind}:{row.id}": row.name for row in rows}
        return names

    def sign_in(self, name: str) -> tuple[User | None, str | None]:
        """Returns the enabled user of this name and their password hash. None for an unknown or disabled user; None without a password."""
        with read_transaction(self._engine) as connection:
            row = connection.execute(select_by_name(name)).first()
            if row is None or row.disabled_us is not None:
                return None, None
            return _user(row, grants_by_user(connection, [row.id]).get(row.id, {})), row.password_hash

    # --- writing ------------------------------------------------------------------------------------------------------

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
        """Adds a user and returns the id. identity: issuer and subject of an OIDC user. Raises NameTakenError, FieldTypeError."""
        user = uuid4().hex
        checked = checked_user_name(name)
        row = {
            "id": user,
            "name": checked,
            "name_key": name_key(checked),
            "role": role,
            "password_hash": password_hash,
            "made_us": to_us(at),
        }
        row["issuer"], row["subject"] = identity or (None, None)
        with write_transaction(self._engine) as connection:
            self._next_epoch(connection)
            check_name_free(connection, checked)
            connection.execute(users.insert().values(row))
            _set_grants(connection, user, grants or {})
            after = with_marks(describe_user(role, grants or {}), user_signature(connection, self._audit, user))
            self._audit.append(connection, AuditEvent(by=by, action="user.add", object=f"user:{user}", after=after), at=at)
            if self._noted is not None:
                after_commit(connection, self._noted)
        return user

    def change_user(self, user: str, change: UserChange, *, at: datetime, by: Actor = LOCAL_ACTOR) -> User:
        """Changes name, role, grants or the disabled state. A change of permissions ends the user's sessions.

        Raises UserNotFoundError, NameTakenError, FieldTypeError, and LastAdminError when no admin would be left.
        """
        with write_transaction(self._engine) as connection:
            self._next_epoch(connection)
            before = _require_user(connection, user)
            _apply(connection, before, change, at)
            after = _require_user(connection, user)
            if (before.role, before.grants, before.disabled) != (after.role, after.grants, after.disabled):
                connection.execute(delete(sessions).where(sessions.c.user_id == user))
            _require_admin(connection, before)
            for event in _change_events(before, after, by, user_signature(connection, self._audit, user)):
                self._audit.append(connection, event, at=at)
        return after

    def set_password(self, user: str, password_hash: str, *, at: datetime, by: Actor = LOCAL_ACTOR) -> None:
        """Replaces the password hash and ends the user's sessions. Raises UserNotFoundError."""
        with write_transaction(self._engine) as connection:
            self._next_epoch(connection)
            _require_user(connection, user)
            connection.execute(update(users).where(users.c.id == user).values(password_hash=password_hash))
            connection.execute(delete(sessions).where(sessions.c.user_id == user))
            self._audit_password(connection, "user.password", user, by, at)

    def rehash(self, user: str, old: str, new: str, *, at: datetime, by: Actor = LOCAL_ACTOR) -> None:
        """Replaces the hash of the same password, computed with current parameters. Ends no session."""
        with write_transaction(self._engine) as connection:
            unchanged = update(users).where(users.c.id == user, users.c.password_hash == old)
            if connection.execute(unchanged.values(password_hash=new)).rowcount:
                self._audit_password(connection, "user.rehash", user, by, at)

    def add_key(
        self, user: str, name: str, scopes: Iterable[Scope], *, at: datetime, ends: datetime | None = None, by: Actor = LOCAL_ACTOR
    ) -> str:
        """Adds an API key for all models of its owner and returns the secret, which is not stored."""
        return self.keys.add(user, name, scopes, at=at, ends=ends, by=by).secret

    def _audit_password(self, connection: Connection, action: str, user: str, by: Actor, at: datetime) -> None:
        after = with_marks("", user_signature(connection, self._audit, user))
        self._audit.append(connection, AuditEvent(by=by, action=action, object=f"user:{user}", after=after), at=at)

    def _next_epoch(self, connection: Connection) -> None:
        connection.execute(_NEXT_EPOCH)


def knows_users(engine: Engine) -> bool:
    """Whether this database contains a user; its tables may not exist yet. Raises DatabaseUnavailableError."""
    with read_transaction(engine) as connection:
        exists = connection.dialect.has_table(connection, users.name)
        return exists and connection.execute(select(users.c.id).limit(1)).first() is not None


def _apply(connection: Connection, user: User, change: UserChange, at: datetime) -> None:
    values: dict[str, Any] = {}
    if change.name is not None and checked_user_name(change.name) != user.name:
        values["name"] = checked_user_name(change.name)
        values["name_key"] = name_key(values["name"])
        check_name_free(connection, values["name"], but=user.id)
    if change.role is not None or change.no_role:
        values["role"] = None if change.no_role else change.role
    if change.disabled is not None and change.disabled != (user.disabled is not None):
        values["disabled_us"] = to_us(at) if change.disabled else None
    if values:
        connection.execute(update(users).where(users.c.id == user.id).values(values))
    _set_grants(connection, user.id, change.grants)


def _set_grants(connection: Connection, user: str, roles: Mapping[str, Role | None]) -> None:
    for model, role in roles.items():
        validate_name(model, "grants")
        connection.execute(delete(grants).where(grants.c.user_id == user, grants.c.model == model))
        if role is not None:
            connection.execute(grants.insert().values(user_id=user, model=model, role=role))


def _require_admin(connection: Connection, before: User) -> None:
    """Checks that an admin remains after a change of one user. Raises LastAdminError, which rolls the transaction back."""
    if before.role is not Role.ADMIN or before.disabled is not None:
        return
    admins = select(func.count()).select_from(users).where(users.c.role == Role.ADMIN, users.c.disabled_us.is_(None))
    if before.has_password or before.issuer is not None:
        admins = admins.where(or_(users.c.password_hash.is_not(None), users.c.subject.is_not(None)))
    if not connection.scalar(admins):
        raise LastAdminError


def _change_events(before: User, after: User, by: Actor, mark: str) -> list[AuditEvent]:
    """Returns one audit event for each changed field; of names, only their keyed digest enters the audit."""
    old, new = describe_user(before.role, before.grants), describe_user(after.role, after.grants)
    events = []
    if before.name != after.name:
        events.append(AuditEvent(by=by, action="user.rename", object=f"user:{after.id}", after=with_marks("", mark)))
    if old != new:
        events.append(AuditEvent(by=by, action="user.role", object=f"user:{after.id}", before=old, after=new))
    if before.disabled != after.disabled:
        events.append(AuditEvent(by=by, action="user.disable" if after.disabled else "user.enable", object=f"user:{after.id}"))
    return events


def describe_user(role: Role | None, roles: Mapping[str, Role]) -> str:
    """Returns how the audit describes a user's permissions."""
    return ", ".join(
        [*([role.value] if role else []), *(f"{model}: {model_role.value}" for model, model_role in sorted(roles.items()))]
    )


def _require_user(connection: Connection, user: str) -> User:
    row = connection.execute(select(users).where(users.c.id == normalize_text(user))).first()
    if row is None:
        raise UserNotFoundError
    return _user(row, grants_by_user(connection, [row.id]).get(row.id, {}))


def _user(row: Row[Any], roles: Mapping[str, Role]) -> User:
    return User(
        id=row.id,
        name=row.name,
        role=Role(row.role) if row.role else None,
        grants=roles,
        made=from_us(row.made_us),
        disabled=from_us(row.disabled_us) if row.disabled_us is not None else None,
        has_password=row.password_hash is not None,
        issuer=row.issuer,
    )
