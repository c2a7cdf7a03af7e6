"""API keys for programs: created, listed, rotated, revoked.

    add ─► "rlv_1f0c2a9b_…", shown once ─ SHA-256 ─► api_keys ─ active_keys ─► AccessSnapshot, held by every worker

A key is 256 random bits, so no slow hash is needed. Its public prefix is its id, so that users can tell keys apart.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, or_, select, update

from relevo.domain.access import ApiKeyEntry, AuthMethod, Principal, Role, Scope
from relevo.domain.audit import LOCAL_ACTOR, Actor, AuditEvent, with_marks
from relevo.domain.names import checked_name, name_key
from relevo.errors import ApiKeyNotFoundError, FieldTypeError, MissingFieldError, OriginError, UserNotFoundError
from relevo.store.auth.grants import grants_by_user
from relevo.store.db.engine import read_transaction, write_transaction
from relevo.store.db.tables import api_keys, users
from relevo.store.db.text import strip_unstorable, validate_name
from relevo.store.pagination import MOST_ITEMS, decode_cursor, validate_limit
from relevo.store.pagination import encode_cursor as cursor_after
from relevo.util.timestamps import from_us, to_us

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from sqlalchemy import Connection, Engine

    from relevo.store.audit.log import AuditLog

_MAX_BIGINT = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """An API key without its secret."""

    id: str
    user: str  # id of its owner
    owner: str  # their name
    owner_disabled: datetime | None  # since when the owner is disabled; then the key is rejected
    name: str
    scopes: tuple[Scope, ...]
    model: str | None  # None: every model of its owner
    made: datetime
    ends: datetime | None
    revoked: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A newly created key. `secret` is not stored and cannot be read again."""

    key: ApiKey
    secret: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPage:
    """One page of keys, newest first."""

    items: list[ApiKey]
    next_cursor: str | None  # opaque; None on the last page


class ApiKeys:
    """API keys of all users. Lifetime: the process; safe for several threads. All methods raise DatabaseUnavailableError."""

    def __init__(self, engine: Engine, audit: AuditLog, *, next_epoch: Callable[[Connection], None]) -> None:
        """next_epoch: increases the epoch of users and keys, within the transaction."""
        self._engine = engine
        self._audit = audit
        self._next_epoch = next_epoch

    def page(self, *, cursor: str | None = None, limit: int = 50, user: str | None = None) -> KeyPage:
        """Returns a page of keys, newest first, including ended ones. user: id of an owner. limit: 1 to 1000.

        Raises FieldTypeError, FieldRangeError for cursor and limit.
        """
        made, key = api_keys.c.made_us, api_keys.c.id
        query = _with_owner().order_by(made.desc(), key).limit(validate_limit(limit) + 1)
        if cursor is not None:
            made_us, last_key = decode_cursor(cursor, tuple[int, str])
            # A value outside a 64-bit integer is clamped: it sorts after or before every key.
            made_us = max(-_MAX_BIGINT, min(made_us, _MAX_BIGINT))
            query = query.where(or_(made < made_us, (made == made_us) & (key > strip_unstorable(last_key))))
        if user is not None:
            query = query.where(api_keys.c.user_id == strip_unstorable(user))
        with read_transaction(self._engine) as connection:
            rows = connection.execute(query).all()
        items = [_key(row) for row in rows[:limit]]
        more = len(rows) > limit
        return KeyPage(items=items, next_cursor=cursor_after([rows[limit - 1].made_us, items[-1].id]) if more else None)

    def iter_all(self, user: str | None = None) -> Iterator[ApiKey]:
        """Yields every key, or those of one user, newest first, page by page."""
        page = self.page(limit=MOST_ITEMS, user=user)
        yield from page.items
        while page.next_cursor is not None:
            page = self.page(cursor=page.next_cursor, limit=MOST_ITEMS, user=user)
            yield from page.items

    def get(self, key: str) -> ApiKey:
        """Returns the key with this id. Raises ApiKeyNotFoundError."""
        with read_transaction(self._engine) as connection:
            return _require_key(connection, key)

    def add(
        self,
        user: str,
        name: str,
        scopes: Iterable[Scope],
        *,
        at: datetime,
        model: str | None = None,
        ends: datetime | None = None,
        by: Actor = LOCAL_ACTOR,
    ) -> NewKey:
        """Adds a key. Raises UserNotFoundError, MissingFieldError without a scope, FieldTypeError for an invalid key or model name.

        The name must differ, by the rule for user names, from the names of this user's other active keys.
        """
        with write_transaction(self._engine) as connection:
            self._next_epoch(connection)
            if connection.execute(select(users.c.id).where(users.c.id == strip_unstorable(user))).first() is None:
                raise UserNotFoundError
            _check_name_free(connection, user, name, at)
            new = _insert(connection, user, name, tuple(sorted(set(scopes))), model, at, ends)
            description = with_marks(_description(new.key), _signature(connection, self._audit, new.key.id))
            self._audit_event(connection, "key.add", new.key, by, at, description)
        return new

    def revoke(self, key: str, *, at: datetime, by: Actor = LOCAL_ACTOR) -> ApiKey:
        """Revokes a key; revoking it again changes nothing. Raises ApiKeyNotFoundError."""
        with write_transaction(self._engine) as connection:
            self._next_epoch(connection)
            api_key = _require_key(connection, key)
            if api_key.revoked is None:
                connection.execute(update(api_keys).where(api_keys.c.id == api_key.id).values(revoked_us=to_us(at)))
                self._audit_event(connection, "key.revoke", api_key, by, at, _description(api_key))
            return _require_key(connection, key)

    def rotate(
        self, key: str, *, at: datetime, old_ends: datetime, ends: datetime | None = None, by: Actor = LOCAL_ACTOR
    ) -> NewKey:
        """Adds a key with the same properties and sets an end for the old one, so that programs can switch over in between.

        ends: of the new key; by default it lasts as long as the old one did, counted from now.
        Raises ApiKeyNotFoundError, also for an ended key, and OriginError while its owner is disabled.
        """
        with write_transaction(self._engine) as connection:
            self._next_epoch(connection)
            old = _require_key(connection, key)
            if old.revoked is not None or (old.ends is not None and old.ends <= at):
                raise ApiKeyNotFoundError
            if old.owner_disabled is not None:
                raise OriginError(reason="the owner of the key is switched off (`relevo user enable` lets them in again)")
            old_end = min(old_ends, old.ends) if old.ends else old_ends
            connection.execute(update(api_keys).where(api_keys.c.id == old.id).values(ends_us=to_us(old_end)))
            ends = ends or (at + (old.ends - old.made) if old.ends else None)
            new = _insert(connection, old.user, old.name, old.scopes, old.model, at, ends)
            signatures = (_signature(connection, self._audit, key_id) for key_id in (new.key.id, old.id))
            self._audit_event(connection, "key.rotate", old, by, at, with_marks(f"key:{new.key.id}", *signatures))
        return new

    def _audit_event(self, connection: Connection, action: str, key: ApiKey, by: Actor, at: datetime, description: str) -> None:
        self._audit.append(connection, AuditEvent(by=by, action=action, object=f"key:{key.id}", after=description), at=at)


def _insert(
    connection: Connection,
    user: str,
    name: str,
    scopes: tuple[Scope, ...],
    model: str | None,
    at: datetime,
    ends: datetime | None,
) -> NewKey:
    if not scopes:
        raise MissingFieldError(field="scopes", expected="one or more of predict, label, read, operate")
    # The prefix is public, so it contains no part of the secret.
    prefix = f"rlv_{secrets.token_hex(4)}"
    secret = f"{prefix}_{secrets.token_urlsafe(32)}"
    row = {
        "id": prefix,
        "user_id": user,
        "name": checked_name(name),
        "secret_hash": hashlib.sha256(secret.encode()).hexdigest(),
        "scopes": " ".join(scopes),
        "model": validate_name(model, "model") if model else None,
        "made_us": to_us(at),
        "ends_us": to_us(ends) if ends else None,
    }
    connection.execute(api_keys.insert().values(row))
    return NewKey(key=_require_key(connection, prefix), secret=secret)


def _check_name_free(connection: Connection, user: str, name: str, at: datetime) -> None:
    not_ended = or_(api_keys.c.ends_us.is_(None), api_keys.c.ends_us > to_us(at))
    active_names = select(api_keys.c.name).where(api_keys.c.user_id == user, api_keys.c.revoked_us.is_(None), not_ended)
    if name_key(checked_name(name)) in {name_key(row.name) for row in connection.execute(active_names)}:
        raise FieldTypeError(field="name", expected="a name that no other key of this user has", got="one that is taken")


def _description(key: ApiKey) -> str:
    return describe_key(key.user, key.scopes, key.model)


def signed_key_fields(row: Row[Any]) -> list[object]:
    """Returns what the audit signs of a key: the columns that its description omits and SQL could change."""
    return ["key", row.id, row.name, row.secret_hash, row.made_us, row.ends_us]


def _signature(connection: Connection, audit: AuditLog, key: str) -> str:
    return audit.pseudonymize(signed_key_fields(connection.execute(select(api_keys).where(api_keys.c.id == key)).one()))


def describe_key(user: str, scopes: Iterable[str], model: str | None) -> str:
    """Returns how the audit describes a key: owner, scopes, model."""
    return f"user:{user} {' '.join(scopes)} {model or '*'}"


def active_keys(connection: Connection) -> dict[str, ApiKeyEntry]:
    """Returns every key not revoked, of enabled users, by its SHA-256; the end of a key is checked per request."""
    user_grants = grants_by_user(connection)
    active = _with_owner().where(api_keys.c.revoked_us.is_(None), users.c.disabled_us.is_(None))
    return {row.secret_hash: _entry(row, user_grants.get(row.user_id, {})) for row in connection.execute(active)}


def _with_owner() -> Any:
    is_owner = users.c.id == api_keys.c.user_id
    return select(api_keys, users.c.name.label("owner"), users.c.role, users.c.disabled_us).join(users, is_owner)


def _entry(row: Row[Any], grants: dict[str, Role]) -> ApiKeyEntry:
    principal = Principal(
        id=row.user_id,
        name=row.owner,
        auth_method=AuthMethod.KEY,
        role=Role(row.role) if row.role else None,
        grants=grants,
        key=row.id,
        scopes=frozenset(Scope(scope) for scope in row.scopes.split()),
        restricted_to=row.model,
    )
    return ApiKeyEntry(principal=principal, expires_us=row.ends_us)


def _require_key(connection: Connection, key: str) -> ApiKey:
    row = connection.execute(_with_owner().where(api_keys.c.id == strip_unstorable(key))).first()
    if row is None:
        raise ApiKeyNotFoundError
    return _key(row)


def _key(row: Row[Any]) -> ApiKey:
    return ApiKey(
        id=row.id,
        user=row.user_id,
        owner=row.owner,
        owner_disabled=from_us(row.disabled_us) if row.disabled_us is not None else None,
        name=row.name,
        scopes=tuple(Scope(scope) for scope in row.scopes.split()),
        model=row.model,
        made=from_us(row.made_us),
        ends=from_us(row.ends_us) if row.ends_us is not None else None,
        revoked=from_us(row.revoked_us) if row.revoked_us is not None else None,
    )
