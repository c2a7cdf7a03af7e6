"""Who tried to sign in and was not let in: by user, address and hour, so that a flood is a few rows, and never what was typed.

refused try ─ note ─► same user or unknown name, same address, same reason, same hour ─► a row more, or one more in its count
page(cursor) ─► Attempts, newest first                     of more than so many rows the oldest go

A name that nobody has is not kept, for people type passwords there by mistake: a mark of it tells whether two tries named the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select, text

from relevo.domain.names import name_key
from relevo.store.db.engine import read_transaction, write_transaction
from relevo.store.db.tables import sign_in_attempts, users
from relevo.store.db.text import strip_unstorable
from relevo.store.pagination import checked_limit, decode_cursor
from relevo.store.pagination import encode_cursor as cursor_after
from relevo.util.timestamps import from_us, to_us

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Engine

    from relevo.store.audit.log import AuditLog

#: Rows kept.
MOST_ROWS = 10_000
_HOUR_US = 3_600_000_000
_MOST_ADDRESS = 64
_MARK_LETTERS = 16

#: Why somebody was not let in.
WRONG, UNKNOWN, WAITING = "wrong_password", "unknown_name", "waiting"

_COUNT = text(
    "INSERT INTO sign_in_attempts (user_id, name_mark, address, reason, hour, tries, first_us, last_us) "
    "VALUES (:user_id, :name_mark, :address, :reason, :hour, 1, :now, :now) "
    "ON CONFLICT (address, user_id, name_mark, reason, hour) DO UPDATE "
    "SET tries = sign_in_attempts.tries + 1, last_us = excluded.last_us"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """Tries of one hour that are alike."""

    user: str | None  # id; None for a name that nobody has
    name: str | None  # of that user
    mark: str  # equal for equal names; "" for a user's
    address: str
    reason: str
    tries: int
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptPage:
    """Some attempts, newest first, and where the next older ones begin."""

    items: list[Attempt]
    next_cursor: str | None  # opaque; None on the last page


class Attempts:
    """Tries that were refused; lives as long as the process, safe for several threads. All methods raise DatabaseUnavailableError."""

    def __init__(self, engine: Engine, audit: AuditLog, *, most: int = MOST_ROWS) -> None:
        self._engine = engine
        self._audit = audit
        self._most = most

    def note(self, user: str | None, name: str, address: str, reason: str, *, at: datetime) -> None:
        """One more try. user: whose name it was; None for nobody's, of which a mark is kept."""
        now, table = to_us(at), sign_in_attempts.c
        mark = "" if user else self._audit.mark(["name", name_key(name)])[:_MARK_LETTERS]
        alike = {"user_id": user or "", "name_mark": mark, "address": strip_unstorable(address)[:_MOST_ADDRESS], "reason": reason}
        with write_transaction(self._engine) as connection:
            connection.execute(_COUNT, {**alike, "hour": str(now // _HOUR_US), "now": now})
            newest = connection.scalar(select(func.max(table.serial))) or 0
            connection.execute(delete(sign_in_attempts).where(table.serial <= newest - self._most))

    def page(self, *, cursor: str | None = None, limit: int = 50) -> AttemptPage:
        """Some attempts, those that began last first. limit: 1 to 1000. Raises FieldTypeError, FieldRangeError."""
        table = sign_in_attempts.c
        query = select(sign_in_attempts, users.c.name).outerjoin(users, users.c.id == table.user_id)
        query = query.order_by(table.serial.desc()).limit(checked_limit(limit) + 1)
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
