"""Erases a data subject: destroys its keys, deletes its rows and large inputs, and leaves a tombstone.

erase(pseudonym) ─ one transaction ─► delete predictions, labels, reviews, queue items · destroy keys · tombstone · audit entry
                 ─► records still in the journals are dropped when they are shipped: `drop_erased`
                 ─► marker file: workers begin new journals, the background process empties SQLite's write-ahead log

The audit entry holds the pseudonym and the counts only. The report lists the versions registered since the subject's first
prediction: they may have been trained on it, and a person decides whether they stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar
from uuid import uuid4

from sqlalchemy import and_, func, select

from relevo.domain.audit import AuditEvent
from relevo.store.db.engine import needs_vacuum, vacuum, write_transaction
from relevo.store.db.tables import data_keys, label_queue, label_reviews, labels, predictions, versions
from relevo.store.db.text import strip_unstorable
from relevo.util.timestamps import from_us, to_us

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Engine

    from relevo.domain.audit import Actor
    from relevo.domain.prediction import PredictionRecord
    from relevo.store.audit.log import AuditLog
    from relevo.store.files.blobs import Blobs

#: Maximum ids in one statement; old SQLite versions allow 999 parameters.
_BATCH_IDS = 500
Id = TypeVar("Id", bytes, str)


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionTrainedSince:
    """A version that may have been trained on erased data."""

    model: str
    version: int
    at: datetime  # aware, UTC


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureReport:
    """Result of the erasure of one subject."""

    subject: str  # the pseudonym
    predictions: int
    labels: int
    keys: int
    versions: list[VersionTrainedSince]


class Erasure:
    """Erases subjects. Lifetime: the process; safe for several threads. All methods raise DatabaseUnavailableError."""

    def __init__(self, engine: Engine, blobs: Blobs, audit: AuditLog) -> None:
        self._engine = engine
        self._blobs = blobs
        self._audit = audit

    def pseudonymize(self, subject: str) -> str:
        """Returns the pseudonym of a subject in this home. Without the audit's key it cannot be traced back to the subject."""
        return self._audit.pseudonymize(["subject", subject])

    def erase(self, subject: str, *, at: datetime, by: Actor, reason: str = "") -> ErasureReport:
        """Erases everything about a pseudonym, including records still in the journals."""
        at_us = to_us(at)
        with write_transaction(self._engine) as connection:
            query = select(predictions.c.id, predictions.c.at_us, predictions.c.model).where(predictions.c.subject == subject)
            rows = connection.execute(query).all()
            first_seen: dict[str, int] = {}
            for row in rows:
                first_seen[row.model] = min(row.at_us, first_seen.get(row.model, row.at_us))
            labels_removed = remove(connection, [bytes(row.id) for row in rows], self._blobs)
            keys_destroyed = _destroy_keys(connection, subject, at_us)
            report = ErasureReport(
                subject=subject,
                predictions=len(rows),
                labels=labels_removed,
                keys=keys_destroyed,
                versions=list(_versions_since(connection, first_seen)),
            )
            counts = f"predictions:{len(rows)} labels:{labels_removed} keys:{keys_destroyed}"
            event = AuditEvent(by=by, action="subject.erase", object=f"subject:{subject}", after=counts, reason=reason)
            self._audit.append(connection, event, at=at)
        return report

    @property
    def needs_vacuum(self) -> bool:
        """Whether the database's files hold erased, unencrypted data until `vacuum`."""
        return needs_vacuum(self._engine)

    def vacuum(self) -> None:
        """Rewrites the tables so that their files hold no erased data; the log is not included. Blocks reads and writes meanwhile."""
        vacuum(self._engine, [table.name for table in (predictions, labels, label_reviews, label_queue, data_keys)])


def remove(connection: Connection, ids: Sequence[bytes], blobs: Blobs) -> int:
    """Deletes predictions with their labels, reviews and queue items. Returns the number of labels.

    Their files are deleted before the transaction ends: after a kill in between, the rows remain and are deleted again.
    """
    labels_removed = 0
    for batch in _batches(ids):
        large_inputs = select(predictions.c.input_sha256).where(
            predictions.c.id.in_(batch), predictions.c.input_sha256.is_not(None)
        )
        blob_names = set(connection.scalars(large_inputs))
        label_serials = select(labels.c.serial).where(labels.c.prediction.in_(batch))
        connection.execute(label_reviews.delete().where(label_reviews.c.label.in_(label_serials)))
        labels_removed += connection.execute(labels.delete().where(labels.c.prediction.in_(batch))).rowcount
        connection.execute(label_queue.delete().where(label_queue.c.prediction.in_(batch)))
        connection.execute(predictions.delete().where(predictions.c.id.in_(batch)))
        remove_blobs(connection, blob_names, blobs)
    return labels_removed


def remove_blobs(connection: Connection, names: Collection[str], blobs: Blobs) -> None:
    """Deletes input files that no prediction refers to any more; equal inputs share one file."""
    for batch in _batches(sorted(names)):
        in_use = connection.scalars(select(predictions.c.input_sha256).where(predictions.c.input_sha256.in_(batch)))
        blobs.remove(set(batch) - set(in_use))


def drop_erased(connection: Connection, records: Sequence[PredictionRecord]) -> list[PredictionRecord]:
    """Returns the predictions whose subject was not erased after they were made, and whose key was not destroyed."""
    erased_at = _erasure_times(connection, {strip_unstorable(record.subject) for record in records if record.subject is not None})
    destroyed = _destroyed_keys(connection, {record.key for record in records if record.key is not None}) if erased_at else set()
    return [
        record
        for record in records
        if record.key not in destroyed and record.at_us > erased_at.get(strip_unstorable(record.subject or ""), -1)
    ]


def _erasure_times(connection: Connection, subjects: Collection[str]) -> dict[str, int]:
    times: dict[str, int] = {}
    for batch in _batches(sorted(subjects)):
        query = (
            select(data_keys.c.subject, func.max(data_keys.c.destroyed_us).label("at_us"))
            .where(data_keys.c.subject.in_(batch), data_keys.c.destroyed_us.is_not(None))
            .group_by(data_keys.c.subject)
        )
        times |= {row.subject: row.at_us for row in connection.execute(query)}
    return times


def _destroyed_keys(connection: Connection, keys: Collection[str]) -> set[str]:
    destroyed: set[str] = set()
    for batch in _batches(sorted(keys)):
        destroyed |= set(connection.scalars(select(data_keys.c.id).where(data_keys.c.id.in_(batch), data_keys.c.wrapped.is_(None))))
    return destroyed


def _destroy_keys(connection: Connection, subject: str, at_us: int) -> int:
    """Destroys the subject's keys. Leaves a tombstone, also when there was no key."""
    active = and_(data_keys.c.subject == subject, data_keys.c.wrapped.is_not(None))
    count = connection.execute(data_keys.update().where(active).values(wrapped=None, destroyed_us=at_us)).rowcount
    if not count:
        row = {"id": uuid4().hex, "subject": subject, "master": "", "made_us": at_us, "destroyed_us": at_us}
        connection.execute(data_keys.insert().values(row))
    return count


def _versions_since(connection: Connection, first_seen: dict[str, int]) -> Iterator[VersionTrainedSince]:
    for model, at_us in sorted(first_seen.items()):
        query = select(versions).where(versions.c.model == model, versions.c.at_us >= at_us).order_by(versions.c.number)
        for row in connection.execute(query):
            yield VersionTrainedSince(model=model, version=row.number, at=from_us(row.at_us))


def _batches(ids: Sequence[Id]) -> Iterable[Sequence[Id]]:
    return (ids[start : start + _BATCH_IDS] for start in range(0, len(ids), _BATCH_IDS))
