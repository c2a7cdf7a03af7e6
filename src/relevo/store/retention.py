"""What is kept for how long, and how much of it: applied by the loop, some hundred rows a transaction, so that nobody waits.

age    predictions older than so many days ─► gone, with their labels and inputs; the keys of those days are destroyed
size   more input than so many MiB ─► the oldest inputs go, their predictions stay
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import func, or_, select

from relevo.domain.audit import Actor, AuditEvent
from relevo.store.db.engine import read_transaction, write_transaction
from relevo.store.db.tables import predictions, subject_keys
from relevo.store.erasure import remove, remove_blobs
from relevo.util.timestamps import min_id_at, to_us

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Engine

    from relevo.store.audit.log import AuditLog
    from relevo.store.files.blobs import Blobs

_AT_ONCE = 500
#: Transactions in one go; the loop ships in between.
_MOST_PORTIONS = 40
_BY = Actor(actor="retention")
_KEPT = or_(predictions.c.input.is_not(None), predictions.c.input_sha256.is_not(None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """What one go removed."""

    predictions: int = 0
    inputs: int = 0
    more: bool = False  # whether some is left for the next go

    @property
    def anything(self) -> bool:
        """Whether there was something to remove."""
        return bool(self.predictions or self.inputs)


class Retention:
    """Removes what need not be kept; lives as long as the loop. All methods raise DatabaseUnavailableError."""

    def __init__(self, engine: Engine, blobs: Blobs, audit: AuditLog, *, days: int, megabytes: int) -> None:
        """days: 0 keeps predictions for ever. megabytes: of inputs, MiB as they came; 0 keeps them all."""
        self._engine = engine
        self._blobs = blobs
        self._audit = audit
        self._days = days
        self._most_bytes = megabytes * 2**20
        self._emptied = b""  # up to this id no inputs are left

    def apply_age(self, now: datetime) -> Removed:
        """Remove predictions that are too old, with all that was said of them."""
        if not self._days:
            return Removed()
        end = now - timedelta(days=self._days)
        older = select(predictions.c.id).where(predictions.c.id < min_id_at(end)).order_by(predictions.c.id).limit(_AT_ONCE)
        gone = 0
        for _ in range(_MOST_PORTIONS):
            with write_transaction(self._engine) as connection:
                ids = [bytes(row.id) for row in connection.execute(older)]
                remove(connection, ids, self._blobs)
            gone += len(ids)
            if len(ids) < _AT_ONCE:
                break
        more = bool(gone) and len(ids) == _AT_ONCE
        if not more:
            # A day more: a key goes on into the next morning while the store is away.
            self._destroy_days(end - timedelta(days=1))
        return self._told(Removed(predictions=gone, more=more), now)

    def apply_size(self, now: datetime) -> Removed:
        """Remove the oldest inputs while all of them together are too large."""
        if not self._most_bytes:
            return Removed()
        with read_transaction(self._engine) as connection:
            excess = (connection.scalar(select(func.sum(predictions.c.input_bytes)).where(_KEPT)) or 0) - self._most_bytes
        gone = 0
        for _ in range(_MOST_PORTIONS):
            if excess <= 0:
                break
            count, size = self._empty_some(excess)
            gone, excess = gone + count, excess - size
            if not count:
                break
        return self._told(Removed(inputs=gone, more=excess > 0 and gone > 0), now)

    def _empty_some(self, excess: int) -> tuple[int, int]:
        """Remove some of the oldest inputs, no more than it takes. Returns how many, and their bytes."""
        table = predictions.c
        oldest = select(table.id, table.input_bytes, table.input_sha256).where(_KEPT, table.id > self._emptied)
        with write_transaction(self._engine) as connection:
            chosen, size = [], 0
            for row in connection.execute(oldest.order_by(table.id).limit(_AT_ONCE)).all():
                if size >= excess:
                    break
                chosen.append(row)
                size += row.input_bytes
            ids = [bytes(row.id) for row in chosen]
            nothing = {"input": None, "input_sha256": None, "input_key": None}
            connection.execute(predictions.update().where(table.id.in_(ids)).values(**nothing))
            remove_blobs(connection, {row.input_sha256 for row in chosen if row.input_sha256}, self._blobs)
        if ids:
            self._emptied = ids[-1]
        return len(ids), size

    def _destroy_days(self, end: datetime) -> None:
        days = subject_keys.c.subject.startswith("day:") & (subject_keys.c.subject < f"day:{end:%Y-%m-%d}")
        with write_transaction(self._engine) as connection:
            connection.execute(
                subject_keys.update().where(days, subject_keys.c.wrapped.is_not(None)).values(wrapped=None, destroyed_us=to_us(end))
            )

    def _told(self, removed: Removed, now: datetime) -> Removed:
        if removed.anything:
            told = f"predictions:{removed.predictions} inputs:{removed.inputs}"
            with write_transaction(self._engine) as connection:
                self._audit.append(
                    connection, AuditEvent(by=_BY, action="retention.apply", object="predictions", after=told), at=now
                )
        return removed
