"""Deletes old predictions and surplus inputs; run by the background process in small transactions that block no other writer.

age    predictions older than the configured days ─► deleted with their labels and inputs; the keys of those days are destroyed
size   inputs beyond the configured MiB ─► the oldest inputs are deleted, their predictions stay
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import func, or_, select

from relevo.domain.audit import Actor, AuditEvent
from relevo.store.db.engine import read_transaction, write_transaction
from relevo.store.db.tables import data_keys, predictions
from relevo.store.erasure import remove, remove_blobs
from relevo.util.timestamps import min_id_at, to_us

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Engine

    from relevo.store.audit.log import AuditLog
    from relevo.store.files.blobs import Blobs

_BATCH_ROWS = 500
#: Transactions in one run; the background process ships journals in between.
_MAX_BATCHES = 40
_ACTOR = Actor(actor="retention")
_HAS_INPUT = or_(predictions.c.input.is_not(None), predictions.c.input_sha256.is_not(None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """Result of one run."""

    predictions: int = 0
    inputs: int = 0
    more: bool = False  # whether rows are left for the next run

    @property
    def any(self) -> bool:
        """Whether anything was removed."""
        return bool(self.predictions or self.inputs)


class Retention:
    """Applies the retention settings. Lifetime: the background process. All methods raise DatabaseUnavailableError."""

    def __init__(self, engine: Engine, blobs: Blobs, audit: AuditLog, *, days: int, megabytes: int) -> None:
        """days: 0 keeps predictions for ever. megabytes: maximum size of all inputs, MiB unencrypted; 0 is unlimited."""
        self._engine = engine
        self._blobs = blobs
        self._audit = audit
        self._days = days
        self._max_bytes = megabytes * 2**20
        self._last_emptied = b""  # no prediction up to this id has an input

    def apply_age(self, now: datetime) -> Removed:
        """Deletes predictions that are too old, with their labels and inputs."""
        if not self._days:
            return Removed()
        end = now - timedelta(days=self._days)
        query = select(predictions.c.id).where(predictions.c.id < min_id_at(end)).order_by(predictions.c.id).limit(_BATCH_ROWS)
        deleted = 0
        for _ in range(_MAX_BATCHES):
            with write_transaction(self._engine) as connection:
                ids = [bytes(row.id) for row in connection.execute(query)]
                remove(connection, ids, self._blobs)
            deleted += len(ids)
            if len(ids) < _BATCH_ROWS:
                break
        more = bool(deleted) and len(ids) == _BATCH_ROWS
        if not more:
            # One day of margin: a day key stays in use into the next day while the database is unavailable.
            self._destroy_day_keys(end - timedelta(days=1))
        return self._audited(Removed(predictions=deleted, more=more), now)

    def apply_size(self, now: datetime) -> Removed:
        """Deletes the oldest inputs while their total size exceeds the limit."""
        if not self._max_bytes:
            return Removed()
        with read_transaction(self._engine) as connection:
            excess = (connection.scalar(select(func.sum(predictions.c.input_bytes)).where(_HAS_INPUT)) or 0) - self._max_bytes
        deleted = 0
        for _ in range(_MAX_BATCHES):
            if excess <= 0:
                break
            count, size = self._delete_inputs(excess)
            deleted, excess = deleted + count, excess - size
            if not count:
                break
        return self._audited(Removed(inputs=deleted, more=excess > 0 and deleted > 0), now)

    def _delete_inputs(self, excess: int) -> tuple[int, int]:
        """Deletes one batch of the oldest inputs, no more than needed. Returns their number and bytes."""
        table = predictions.c
        oldest = select(table.id, table.input_bytes, table.input_sha256).where(_HAS_INPUT, table.id > self._last_emptied)
        with write_transaction(self._engine) as connection:
            batch, size = [], 0
            for row in connection.execute(oldest.order_by(table.id).limit(_BATCH_ROWS)).all():
                if size >= excess:
                    break
                batch.append(row)
                size += row.input_bytes
            ids = [bytes(row.id) for row in batch]
            empty = {"input": None, "input_sha256": None, "input_key": None}
            connection.execute(predictions.update().where(table.id.in_(ids)).values(**empty))
            remove_blobs(connection, {row.input_sha256 for row in batch if row.input_sha256}, self._blobs)
        if ids:
            self._last_emptied = ids[-1]
        return len(ids), size

    def _destroy_day_keys(self, end: datetime) -> None:
        days = data_keys.c.subject.startswith("day:") & (data_keys.c.subject < f"day:{end:%Y-%m-%d}")
        with write_transaction(self._engine) as connection:
            connection.execute(
                data_keys.update().where(days, data_keys.c.wrapped.is_not(None)).values(wrapped=None, destroyed_us=to_us(end))
            )

    def _audited(self, removed: Removed, now: datetime) -> Removed:
        if removed.any:
            counts = f"predictions:{removed.predictions} inputs:{removed.inputs}"
            with write_transaction(self._engine) as connection:
                self._audit.append(
                    connection, AuditEvent(by=_ACTOR, action="retention.apply", object="predictions", after=counts), at=now
                )
        return removed
