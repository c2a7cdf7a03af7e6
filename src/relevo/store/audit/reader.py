"""Reads the audit log: newest first in pages, oldest first for verification.

page(filters, cursor) ─► AuditPage         links() ─► AuditEntry, AuditEntry, … oldest first         head() ─► the last one
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import false, or_, select

from relevo.errors import FieldRangeError, FieldTypeError
from relevo.store.db.engine import read_transaction
from relevo.store.db.tables import audit
from relevo.store.db.text import strip_unstorable
from relevo.util.timestamps import from_us

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Engine, Row

MOST_ITEMS = 1000
_FETCH_ROWS = 1000
_MAX_DIGITS = 18


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One entry of the audit log. Immutable."""

    sequence: int  # 1, 2, …
    at_us: int  # microseconds since 1970, UTC
    actor: str
    action: str
    object: str
    before: str
    after: str
    reason: str
    address: str
    key: str  # id of the key of the MAC
    previous: str  # MAC of the previous entry; "" for the first
    mac: str  # MAC of this entry

    @property
    def at(self) -> datetime:
        """Time of the entry, aware, UTC."""
        return from_us(self.at_us)

    @property
    def signed_fields(self) -> dict[str, Any]:
        """The authenticated fields: all except the MAC."""
        fields = asdict(self)
        del fields["mac"]
        return fields

    @classmethod
    def from_row(cls, row: Row[Any]) -> AuditEntry:
        """Creates the value from a row of `audit`."""
        return cls(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for a row as a mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPage:
    """One page of entries, newest first, and the cursor of the next."""

    items: list[AuditEntry]
    next_cursor: str | None  # None on the last page


class AuditReader:
    """Reads the audit log. Lifetime: the process; safe for several threads. All methods raise DatabaseUnavailableError."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def page(
        self,
        *,
        cursor: str | None = None,
        limit: int = 50,
        object: str | None = None,  # noqa: A002 - as the column is called, and the parameter of the address
        actor: str | None = None,
        models: Sequence[str] | None = None,
    ) -> AuditPage:
        """Returns a page of entries, newest first.

        object: an object and everything within it: "model:digits" also finds "model:digits/alias:champion". limit: 1 to 1000.
        models: only objects within these models. Raises FieldTypeError, FieldRangeError for cursor and limit.
        """
        if not 1 <= limit <= MOST_ITEMS:
            raise FieldRangeError(field="limit", minimum=1, maximum=MOST_ITEMS)
        query = select(audit).order_by(audit.c.sequence.desc()).limit(limit + 1)
        if cursor is not None:
            query = query.where(audit.c.sequence < _decode_cursor(cursor))
        if object is not None:
            query = query.where(_within(object))
        if actor is not None:
            query = query.where(audit.c.actor == strip_unstorable(actor))
        if models is not None:
            query = query.where(or_(false(), *(_within(f"model:{model}") for model in models)))
        with read_transaction(self._engine) as connection:
            rows = connection.execute(query).all()
        items = [AuditEntry.from_row(row) for row in rows[:limit]]
        return AuditPage(items=items, next_cursor=str(items[-1].sequence) if len(rows) > limit else None)

    def last_entry(self) -> AuditEntry | None:
        """Returns the last entry, or None."""
        with read_transaction(self._engine) as connection:
            row = connection.execute(select(audit).order_by(audit.c.sequence.desc()).limit(1)).first()
        return None if row is None else AuditEntry.from_row(row)

    def mac_of(self, sequence: int) -> str | None:
        """Returns the MAC of one entry, or None if it does not exist."""
        with read_transaction(self._engine) as connection:
            return connection.scalar(select(audit.c.mac).where(audit.c.sequence == sequence))

    def entries(self) -> Iterator[AuditEntry]:
        """Yields every entry, oldest first, from one snapshot of the database."""
        query = select(audit).order_by(audit.c.sequence)
        with read_transaction(self._engine) as connection:
            for row in connection.execution_options(yield_per=_FETCH_ROWS).execute(query):
                yield AuditEntry.from_row(row)


def _within(object_name: str) -> ColumnElement[bool]:
    storable = strip_unstorable(object_name)
    return or_(audit.c.object == storable, audit.c.object.startswith(f"{storable}/", autoescape=True))


def _decode_cursor(cursor: str) -> int:
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= _MAX_DIGITS):
        raise FieldTypeError(field="cursor", expected="the next_cursor of an earlier page", got="something else")
    return int(cursor)
