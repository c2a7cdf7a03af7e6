"""Requests by model, version and time, counted as they come into the history, so that a look costs the same after a year.

    predictions, in the transaction that keeps them ─ count ─► a row a minute and one an hour      each prediction once
    window(model, since, until, bucket_s) ─► [Slot(at, version, tally)]      at most some thousand rows, whatever was asked

What is erased or grows too old stays counted: the rows say how many, never what or whom.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import select, text

from relevo.domain.prediction import Arm
from relevo.stats.tallies import Tally
from relevo.store._words import storable
from relevo.store.engine import reading
from relevo.store.moments import microseconds, moment
from relevo.store.tables import traffic

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from numpy.typing import NDArray
    from sqlalchemy import ColumnElement, Connection, Engine, Row

    from relevo.domain.prediction import Prediction

#: Lengths of the times that are counted apart, in seconds.
MINUTE_S, HOUR_S = 60, 3600

_KEY = ("model", "step_s", "start_s", "version")
_COUNTS = ("requests", "errors", "uncertain", "latency_us", "confidence", "latencies", "confidences")
#: Both databases read it alike, while SQLAlchemy has a construct for each.
_BEGIN = text(
    f"INSERT INTO traffic ({', '.join(_KEY + _COUNTS)}) "  # noqa: S608 - our own column names
    f"VALUES ({', '.join(f':{name}' for name in _KEY + _COUNTS)}) ON CONFLICT DO NOTHING"
)
_NUMBER = np.dtype("<u4")
_Key = tuple[str, int, int, int]  # as _KEY has it


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One version's requests in one stretch of time."""

    at: datetime  # when it begins, aware, UTC
    version: int
    tally: Tally


class Traffic:
    """What was asked of the models; lives as long as the process, safe for several threads. Raises StoreUnavailable."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def window(self, model: str, *, since: datetime, until: datetime, bucket_s: int) -> list[Slot]:
        """The requests of one model from `since` (included) to `until` (not), both cut to whole buckets, oldest first.

        bucket_s: seconds, a multiple of 60; buckets begin where the seconds since 1970 are a multiple of it.
        """
        table = traffic.c
        first, last = (microseconds(at) // 1_000_000 for at in (since, until))
        query = (
            select(table.start_s, table.version, *(table[name] for name in _COUNTS))
            .where(table.model == storable(model), table.step_s == (MINUTE_S if bucket_s % HOUR_S else HOUR_S))
            .where(table.start_s >= first - first % bucket_s, table.start_s < -(-last // bucket_s) * bucket_s)
        )
        found: dict[tuple[int, int], Tally] = {}
        with reading(self._engine) as connection:
            for row in connection.execute(query):
                found.setdefault((row.start_s - row.start_s % bucket_s, row.version), Tally()).take_in(_tally(row))
        return [Slot(at=moment(at * 1_000_000), version=version, tally=tally) for (at, version), tally in sorted(found.items())]


@dataclass(slots=True)
class _Heap:
    """What there is to count of one model, version and minute; lives as long as a batch is counted."""

    latencies_us: list[int] = field(default_factory=list)
    confidences: list[float] = field(default_factory=list)
    errors: int = 0
    uncertain: int = 0


def count(connection: Connection, some: Iterable[Prediction]) -> None:
    """Count these predictions, which are being kept in the same transaction and were not there before."""
    counts: dict[_Key, Tally] = {}
    for (model, start, version), heap in _heaps(some).items():
        tally = Tally.of(heap.latencies_us, heap.confidences, errors=heap.errors, uncertain=heap.uncertain)
        for step in (MINUTE_S, HOUR_S):
            counts.setdefault((model, step, start // step * step, version), Tally()).take_in(tally)
    # In one order, so that two processes never wait for each other's rows crosswise.
    for key in sorted(counts):
        _add(connection, key, counts[key])


def _heaps(some: Iterable[Prediction]) -> dict[tuple[str, int, int], _Heap]:
    heaps: dict[tuple[str, int, int], _Heap] = {}
    for it in some:
        if it.arm is Arm.SHADOW:
            continue  # nobody asked for it, and nobody was answered by it
        key = (it.model, it.at_us // 1_000_000 // MINUTE_S * MINUTE_S, it.version)
        heap = heaps.get(key)
        if heap is None:
            heap = heaps[key] = _Heap()
        if it.error is not None:
            heap.errors += 1
            continue
        heap.latencies_us.append(it.latency_us)
        heap.uncertain += it.uncertain
        if it.confidence is not None:
            heap.confidences.append(it.confidence)
    return heaps


def _add(connection: Connection, key: _Key, tally: Tally) -> None:
    """Add to one row. Another process may begin it at the same moment: then its row is waited for and added to."""
    named = dict(zip(_KEY, (storable(key[0]), *key[1:]), strict=True))
    here: list[ColumnElement[bool]] = [traffic.c[name] == value for name, value in named.items()]
    query = select(*(traffic.c[name] for name in _COUNTS)).where(*here).with_for_update()
    row = connection.execute(query).first()
    if row is None:
        if connection.execute(_BEGIN, named | _columns(tally)).rowcount:
            return
        row = connection.execute(query).one()
    tally.take_in(_tally(row))
    connection.execute(traffic.update().where(*here).values(_columns(tally)))


def _columns(tally: Tally) -> dict[str, Any]:
    return {
        "requests": tally.requests,
        "errors": tally.errors,
        "uncertain": tally.uncertain,
        "latency_us": tally.latency_us,
        "confidence": tally.confidence,
        "latencies": tally.latencies.astype(_NUMBER).tobytes(),
        "confidences": tally.confidences.astype(_NUMBER).tobytes(),
    }


def _tally(row: Row[Any]) -> Tally:
    return Tally(
        requests=row.requests,
        errors=row.errors,
        uncertain=row.uncertain,
        latency_us=row.latency_us,
        confidence=row.confidence,
        latencies=_counted(row.latencies),
        confidences=_counted(row.confidences),
    )


def _counted(packed: bytes) -> NDArray[np.int64]:
    return np.frombuffer(packed, _NUMBER).astype(np.int64)
