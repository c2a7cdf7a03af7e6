"""Log of failed logins, aggregated by user, address, reason and hour, so that an attack adds few rows. Never stores what was typed.

failed login ─ note ─► same user or unknown name, same address, same reason, same hour ─► a new row, or its count increased
page(cursor) ─► AttemptPage, newest first                  above the maximum number of rows the oldest are deleted

An unknown name is stored as a keyed digest, because users type passwords into the name field by mistake. Equal names have equal
digests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select, text

from relevo.domain.names import name_key
from relevo.store.db.engine import read_transaction, write_transaction
from relevo.store.db.tables import sign_in_attempts, users
from relevo.store.db.text import strip_unstorable
from relevo.store.pagination import decode_cursor, validate_limit
from relevo.store.pagination import encode_cursor as cursor_after
from relevo.util.timestamps import from_us, to_us

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Engine

    from relevo.store.audit.log import AuditLog

#: Maximum number of stored rows.
MOST_ROWS = 10_000
_HOUR_US = 3_600_000_000
_MAX_ADDRESS_CHARS = 64
_DIGEST_CHARS = 16

#: Reasons of a failed login.
WRONG, UNKNOWN, WAITING = "wrong_password", "unknown_name", "waiting"

_UPSERT = text(
    "INSERT INTO sign_in_attempts (user_id, name_mark, address, reason, hour, tries, first_us, last_us) "
    "VALUES (:user_id, :name_mark, :address, :reason, :hour, 1, :now, :now) "
    "ON CONFLICT (address, user_id, name_mark, reason, hour) DO UPDATE "
    "SET tries = sign_in_attempts.tries + 1, last_us = excluded.last_us"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """Failed logins of one hour with the same user, address and reason."""

    user: str | None  # id; None for an unknown name
    name: str | None  # of that user
    mark: str  # keyed digest of an unknown name; "" for a user
    address: str
    reason: str
    tries: int
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptPage:
    """One page of failed logins, newest first."""

    items: list[Attempt]
    next_cursor: str | None  # opaque; None on the last page


class Attempts:
    """Failed logins. Lifetime: the process; safe for several threads. All methods raise DatabaseUnavailableError."""

    def __init__(self, engine: Engine, audit: AuditLog, *, max_rows: int = MOST_ROWS) -> None:
        self._engine = engine
        self._audit = audit
        self._max_rows = max_rows

    def note(self, user: str | None, name: str, address: str, reason: str, *, at: datetime) -> None:
        """Records a failed login. user: id of the user with this name; None for an unknown name, which is stored as a digest."""
        now, table = to_us(at), sign_in_attempts.c
        digest = "" if user else self._audit.pseudonymize(["name", name_key(name)])[:_DIGEST_CHARS]
        group = {
            "user_id": user or "",
            "name_mark": digest,
            "address": strip_unstorable(address)[:_MAX_ADDRESS_CHARS],
            "reason": reason,
        }
        with write_transaction(self._engine) as connection:
            connection.execute(_UPSERT, {**group, "hour": str(now // _HOUR_US), "now": now})
            newest = connection.scalar(select(func.max(table.serial))) or 0
            connection.execute(delete(sign_in_attempts).where(table.serial <= newest - self._max_rows))

    def page(self, *, cursor: str | None = None, limit: int = 50) -> AttemptPage:
        """Returns a page of failed logins, those that began last first. limit: 1 to 1000. Raises FieldTypeError, FieldRangeError."""
        table = sign_in_attempts.c
        query = select(sign_in_attempts, users.c.name).outerjoin(users, users.c.id == table.user_id)
        query = query.order_by(table.serial.desc()).limit(validate_limit(limit) + 1)
        if cursor is not None:
            query = query.where(table.serial < max(0, min(decode_cursor(cursor, int), 2**62)))
        with read_transaction(self._engine) as connection:
            rows = connection.execute(query).all()
        items = [
            Attempt(
                user=row.user_id or None,
                name=row.name,
                mark=row.name_mark,
                address=row.address,
                reason=row.reason,
                tries=row.tries,
                first=from_us(row.first_us),
                last=from_us(row.last_us),
            )
            for row in rows[:limit]
        ]
        return AttemptPage(items=items, next_cursor=cursor_after(rows[limit - 1].serial) if len(rows) > limit else None)
