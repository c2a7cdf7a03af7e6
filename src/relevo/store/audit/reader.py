"""The audit as it is read: newest first for people, oldest first for whoever checks it.

page(filters, cursor) ─► AuditPage         links() ─► Link, Link, … from the first one         head() ─► the last one
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
_AT_ONCE = 1000
_MOST_DIGITS = 18


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One entry of the audit; never changed after it was written."""

    sequence: int  # 1, 2, …
    at_us: int  # microseconds since 1970, UTC
    actor: str
    action: str
    object: str
    before: str
    after: str
    reason: str
    address: str
    key: str  # id of the key of the seal
    previous: str  # seal of the link before; "" of the first
    seal: str

    @property
    def at(self) -> datetime:
        """When, aware, UTC."""
        return from_us(self.at_us)

    @property
    def sealed(self) -> dict[str, Any]:
        """What the seal is made of: everything but the seal."""
        facts = asdict(self)
        del facts["seal"]
        return facts

    @classmethod
    def from_row(cls, row: Row[Any]) -> AuditEntry:
        """The value of a row of `audit`."""
        return cls(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for a row as a mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPage:
    """Some links, newest first, and where the next older ones begin."""

    items: list[AuditEntry]
    next_cursor: str | None  # None on the last page


class AuditReader:
    """Reads the audit; lives as long as the process, safe for several threads. All methods raise DatabaseUnavailableError."""

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
        """A page of links, newest first.

        object: a thing with all that lies within it: "model:digits" finds "model:digits/alias:champion", too. limit: 1 to 1000.
        models: only what lies within these models. Raises FieldTypeError, FieldRangeError for cursor and limit.
        """
        if not 1 <= limit <= MOST_ITEMS:
            raise FieldRangeError(field="limit", minimum=1, maximum=MOST_ITEMS)
        query = select(audit).order_by(audit.c.sequence.desc()).limit(limit + 1)
        if cursor is not None:
            query = query.where(audit.c.sequence < _sequence_of(cursor))
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

    def head(self) -> AuditEntry | None:
        """The last link; None while there is none."""
        with read_transaction(self._engine) as connection:
            row = connection.execute(select(audit).order_by(audit.c.sequence.desc()).limit(1)).first()
        return None if row is None else AuditEntry.from_row(row)

    def seal_of(self, sequence: int) -> str | None:
        """The seal of one link; None where it is not there."""
        with read_transaction(self._engine) as connection:
            return connection.scalar(select(audit.c.seal).where(audit.c.sequence == sequence))

    def links(self) -> Iterator[AuditEntry]:
        """Every link, the first one first, read in one state of the database."""
        query = select(audit).order_by(audit.c.sequence)
        with read_transaction(self._engine) as connection:
            for row in connection.execution_options(yield_per=_AT_ONCE).execute(query):
                yield AuditEntry.from_row(row)


def _within(thing: str) -> ColumnElement[bool]:
    named = strip_unstorable(thing)
    return or_(audit.c.object == named, audit.c.object.startswith(f"{named}/", autoescape=True))


def _sequence_of(cursor: str) -> int:
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= _MOST_DIGITS):
        raise FieldTypeError(field="cursor", expected="the next_cursor of an earlier page", got="something else")
    return int(cursor)
