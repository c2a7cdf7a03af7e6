"""Users and their keys, and everybody who may come in by one, as one value.

    add_user, add_key, … ─ one transaction: the change and the next epoch ─► roll() ─► Roll, held by every worker

A key is shown once, when it is made; here lies its SHA-256. It is 256 random bits, so no slow hash is needed to keep it.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from sqlalchemy import Row, func, select, text

from relevo.domain.audit import HERE, Act, By
from relevo.domain.people import KnownKey, Principal, Role, Roll, Scope, Way
from relevo.store._words import storable
from relevo.store.engine import reading, writing
from relevo.store.moments import microseconds
from relevo.store.tables import api_keys, grants, people_epoch, users

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sqlalchemy import Connection, Engine

    from relevo.store.audit import Audit

_NEXT_EPOCH = text(
    'INSERT INTO people_epoch ("row", epoch) VALUES (1, 1) ON CONFLICT ("row") DO UPDATE SET epoch = people_epoch.epoch + 1'
)


class People:
    """Who there is; lives as long as the process, safe for several threads. All methods raise StoreUnavailable."""

    def __init__(self, engine: Engine, audit: Audit) -> None:
        self._engine = engine
        self._audit = audit

    def epoch(self) -> int:
        """A number that grows with every change to users, grants and keys."""
        with reading(self._engine) as connection:
            return connection.scalar(select(people_epoch.c.epoch)) or 0

    def roll(self) -> Roll:
        """Everybody who may come in by a key, all read at one moment."""
        with reading(self._engine) as connection:
            epoch = connection.scalar(select(people_epoch.c.epoch)) or 0
            count = connection.scalar(select(func.count()).select_from(users)) or 0
            return Roll(epoch=epoch, open=count == 0, keys=_known_keys(connection))

    def add_user(self, name: str, role: Role | None, *, at: datetime, by: By = HERE) -> str:
        """A new user. Returns the id."""
        user = uuid4().hex
        with writing(self._engine) as connection:
            row = {"id": user, "name": storable(name), "role": role, "made_us": microseconds(at)}
            connection.execute(users.insert().values(row))
            connection.execute(_NEXT_EPOCH)
            self._audit.append(connection, Act(by=by, action="user.add", object=f"user:{user}", after=role or ""), at=at)
        return user

    def add_key(
        self, user: str, name: str, scopes: Iterable[Scope], *, at: datetime, ends: datetime | None = None, by: By = HERE
    ) -> str:
        """A new key, whole; it is kept nowhere."""
        prefix = f"rlv_{secrets.token_hex(4)}"
        key = f"{prefix}_{secrets.token_urlsafe(32)}"
        row = {
            "id": prefix,
            "user_id": user,
            "name": storable(name),
            "secret_hash": hashlib.sha256(key.encode()).hexdigest(),
            "scopes": " ".join(sorted(scopes)),
            "made_us": microseconds(at),
            "ends_us": microseconds(ends) if ends else None,
        }
        with writing(self._engine) as connection:
            connection.execute(api_keys.insert().values(row))
            connection.execute(_NEXT_EPOCH)
            self._audit.append(connection, Act(by=by, action="key.add", object=f"key:{prefix}", after=f"user:{user}"), at=at)
        return key


def _known_keys(connection: Connection) -> dict[str, KnownKey]:
    granted: dict[str, dict[str, Role]] = {}
    for row in connection.execute(select(grants)):
        granted.setdefault(row.user_id, {})[row.model] = Role(row.role)
    counting = (
        select(api_keys, users.c.name.label("owner"), users.c.role)
        .join(users, users.c.id == api_keys.c.user_id)
        .where(api_keys.c.revoked_us.is_(None), users.c.disabled_us.is_(None))
    )
    return {row.secret_hash: _known_key(row, granted.get(row.user_id, {})) for row in connection.execute(counting)}


def _known_key(row: Row[Any], granted: dict[str, Role]) -> KnownKey:
    principal = Principal(
        id=row.user_id,
        name=row.owner,
        way=Way.KEY,
        role=Role(row.role) if row.role else None,
        grants=granted,
        key=row.id,
        scopes=frozenset(Scope(one) for one in row.scopes.split()),
        only_model=row.model,
    )
    return KnownKey(principal=principal, ends_us=row.ends_us)
