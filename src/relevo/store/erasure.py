"""Erasing a subject: its keys are destroyed, its rows and large inputs removed, and a tombstone stays.

erase(pseudonym) ─ one transaction ─► predictions, labels, judgements, asks: gone · keys: destroyed · tombstone · link of the audit
                 ─► what journals still hold of it is dropped when they are shipped: `without_erased`
                 ─► marker: workers begin new journals, the loop empties SQLite's log

The audit names the pseudonym only, and how much it was. Which versions were made since the first of it was recorded is told:
they may have learnt from it, and whether they stay is for a person to decide.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar
from uuid import uuid4

from sqlalchemy import and_, func, select

from relevo.domain.audit import AuditEvent
from relevo.store.db.engine import needs_vacuum, write_anew, write_transaction
from relevo.store.db.tables import asks, judgements, labels, predictions, subject_keys, versions
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

#: Ids in one statement; SQLite's oldest limit is 999 parameters.
_AT_ONCE = 500
Id = TypeVar("Id", bytes, str)


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionTrainedSince:
    """A version that may have learnt from what was erased."""

    model: str
    version: int
    at: datetime  # aware, UTC


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureReport:
    """What was erased of a subject."""

    subject: str  # the pseudonym
    predictions: int
    labels: int
    keys: int
    versions: list[VersionTrainedSince]


class Erasure:
    """Erases; lives as long as the process, safe for several threads. All methods raise DatabaseUnavailableError."""

    def __init__(self, engine: Engine, blobs: Blobs, audit: AuditLog) -> None:
        self._engine = engine
        self._blobs = blobs
        self._audit = audit

    def pseudonym(self, subject: str) -> str:
        """How this home calls a subject: nobody without the audit's key can tell whom it stands for."""
        return self._audit.mark(["subject", subject])

    def erase(self, subject: str, *, at: datetime, by: Actor, reason: str = "") -> ErasureReport:
        """Erase everything about a pseudonym, and what is still on its way here."""
        at_us = to_us(at)
        with write_transaction(self._engine) as connection:
            known = select(predictions.c.id, predictions.c.at_us, predictions.c.model).where(predictions.c.subject == subject)
            rows = connection.execute(known).all()
            first: dict[str, int] = {}
            for row in rows:
                first[row.model] = min(row.at_us, first.get(row.model, row.at_us))
            given = remove(connection, [bytes(row.id) for row in rows], self._blobs)
            keys = _destroy_keys(connection, subject, at_us)
            erased = ErasureReport(
                subject=subject, predictions=len(rows), labels=given, keys=keys, versions=list(_made_since(connection, first))
            )
            told = f"predictions:{len(rows)} labels:{given} keys:{keys}"
            act = AuditEvent(by=by, action="subject.erase", object=f"subject:{subject}", after=told, reason=reason)
            self._audit.append(connection, act, at=at)
        return erased

    @property
    def leaves_bytes(self) -> bool:
        """Whether files of the database hold what was erased, and was not sealed, until `write_anew`."""
        return needs_vacuum(self._engine)

    def write_anew(self) -> None:
        """Have nothing that was erased in the database's files; its log apart. The history waits meanwhile."""
        write_anew(self._engine, [table.name for table in (predictions, labels, judgements, asks, subject_keys)])


def remove(connection: Connection, ids: Sequence[bytes], blobs: Blobs) -> int:
    """Remove predictions with all that was said of them. Returns how many labels that were.

    Their files go before the transaction ends: what is killed in between is erased again, and never left behind.
    """
    given = 0
    for some in _portions(ids):
        names = select(predictions.c.input_sha256).where(predictions.c.id.in_(some), predictions.c.input_sha256.is_not(None))
        large = set(connection.scalars(names))
        about = select(labels.c.serial).where(labels.c.prediction.in_(some))
        connection.execute(judgements.delete().where(judgements.c.label.in_(about)))
        given += connection.execute(labels.delete().where(labels.c.prediction.in_(some))).rowcount
        connection.execute(asks.delete().where(asks.c.prediction.in_(some)))
        connection.execute(predictions.delete().where(predictions.c.id.in_(some)))
        remove_blobs(connection, large, blobs)
    return given


def remove_blobs(connection: Connection, names: Collection[str], blobs: Blobs) -> None:
    """Remove files of inputs that no prediction names any more; equal inputs of others share one."""
    for some in _portions(sorted(names)):
        kept = connection.scalars(select(predictions.c.input_sha256).where(predictions.c.input_sha256.in_(some)))
        blobs.remove(set(some) - set(kept))


def drop_erased(connection: Connection, some: Sequence[PredictionRecord]) -> list[PredictionRecord]:
    """Those predictions whose subject was not erased since, and whose key still counts."""
    ended = _ends(connection, {strip_unstorable(it.subject) for it in some if it.subject is not None})
    destroyed = _destroyed(connection, {it.key for it in some if it.key is not None}) if ended else set()
    return [it for it in some if it.key not in destroyed and it.at_us > ended.get(strip_unstorable(it.subject or ""), -1)]


def _ends(connection: Connection, subjects: Collection[str]) -> dict[str, int]:
    ends: dict[str, int] = {}
    for some in _portions(sorted(subjects)):
        query = (
            select(subject_keys.c.subject, func.max(subject_keys.c.destroyed_us).label("at_us"))
            .where(subject_keys.c.subject.in_(some), subject_keys.c.destroyed_us.is_not(None))
            .group_by(subject_keys.c.subject)
        )
        ends |= {row.subject: row.at_us for row in connection.execute(query)}
    return ends


def _destroyed(connection: Connection, keys: Collection[str]) -> set[str]:
    found: set[str] = set()
    for some in _portions(sorted(keys)):
        found |= set(
            connection.scalars(select(subject_keys.c.id).where(subject_keys.c.id.in_(some), subject_keys.c.wrapped.is_(None)))
        )
    return found


def _destroy_keys(connection: Connection, subject: str, at_us: int) -> int:
    """Destroy the subject's keys; a tombstone stays, also where there was none."""
    of_subject = and_(subject_keys.c.subject == subject, subject_keys.c.wrapped.is_not(None))
    keys = connection.execute(subject_keys.update().where(of_subject).values(wrapped=None, destroyed_us=at_us)).rowcount
    if not keys:
        row = {"id": uuid4().hex, "subject": subject, "master": "", "made_us": at_us, "destroyed_us": at_us}
        connection.execute(subject_keys.insert().values(row))
    return keys


def _made_since(connection: Connection, first: dict[str, int]) -> Iterator[VersionTrainedSince]:
    for model, at_us in sorted(first.items()):
        query = select(versions).where(versions.c.model == model, versions.c.at_us >= at_us).order_by(versions.c.number)
        for row in connection.execute(query):
            yield VersionTrainedSince(model=model, version=row.number, at=from_us(row.at_us))


def _portions(all_of_them: Sequence[Id]) -> Iterable[Sequence[Id]]:
    return (all_of_them[start : start + _AT_ONCE] for start in range(0, len(all_of_them), _AT_ONCE))
