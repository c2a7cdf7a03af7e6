"""Requests by model, version and time, counted as they come into the history, so that a look costs the same after a year.

    predictions, in the transaction that keeps them ─ count ─► a row a minute and one an hour      each prediction once
    window(model, since, until, bucket_s) ─► [Slot(at, version, tally)]      at most some thousand rows, whatever was asked
    forget_minutes(now) ─► minutes of more than a month ago are gone, their hours stay

What is erased or grows too old stays counted: the rows say how many, never what or whom.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import select, text

from relevo.domain.prediction import Arm
from relevo.stats.histograms import Tally
from relevo.store.db.engine import read_transaction, write_transaction
from relevo.store.db.tables import traffic
from relevo.store.db.text import strip_unstorable
from relevo.util.timestamps import from_us, to_us

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from numpy.typing import NDArray
    from sqlalchemy import Connection, Engine, Row

    from relevo.domain.prediction import PredictionRecord

#: Lengths of the times that are counted apart, in seconds.
MINUTE_S, HOUR_S = 60, 3600
#: How far back minutes are told; hours are for ever.
MINUTES_KEPT = timedelta(days=30)
#: Rows forgotten in one transaction; the loop ships in between.
_FORGOTTEN_AT_ONCE = 2000

_KEY = ("model", "step_s", "start_s", "version")
_COUNTS = ("requests", "errors", "uncertain", "latency_us", "confidence", "latencies", "confidences")
#: Both databases read them alike, while SQLAlchemy has a construct for each.
_BEGIN = text(
    f"INSERT INTO traffic ({', '.join(_KEY + _COUNTS)}) "  # noqa: S608 - our own column names
    f"VALUES ({', '.join(f':{name}' for name in _KEY + _COUNTS)}) ON CONFLICT DO NOTHING"
)
_SET = text(
    f"UPDATE traffic SET {', '.join(f'{name} = :{name}' for name in _COUNTS)} "  # noqa: S608 - our own column names
    f"WHERE {' AND '.join(f'{name} = :{name}' for name in _KEY)}"
)
#: Rows asked for at once; each is named by four values, and databases bound how many a statement may have.
_ROWS_A_QUESTION = 500
_NUMBER = np.dtype("<u4")
_Key = tuple[str, int, int, int]  # as _KEY has it


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficBucket:
    """One version's requests in one stretch of time."""

    at: datetime  # when it begins, aware, UTC
    version: int
    tally: Tally


class Traffic:
    """What was asked of the models; lives as long as the process, safe for several threads. Raises DatabaseUnavailableError."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def window(self, model: str, *, since: datetime, until: datetime, bucket_s: int) -> list[TrafficBucket]:
        """The requests of one model from `since` (included) to `until` (not), both cut to whole buckets, oldest first.

        bucket_s: seconds, a multiple of 60; buckets begin where the seconds since 1970 are a multiple of it.
        """
        table = traffic.c
        first, last = (to_us(at) // 1_000_000 for at in (since, until))
        query = (
            select(table.start_s, table.version, *(table[name] for name in _COUNTS))
            .where(table.model == strip_unstorable(model), table.step_s == (MINUTE_S if bucket_s % HOUR_S else HOUR_S))
            .where(table.start_s >= first - first % bucket_s, table.start_s < -(-last // bucket_s) * bucket_s)
        )
        with read_transaction(self._engine) as connection:
            rows = connection.execute(query).all()
        slots: dict[tuple[int, int], list[Row[Any]]] = {}
        for row in rows:
            slots.setdefault((row.start_s - row.start_s % bucket_s, row.version), []).append(row)
        return [
            TrafficBucket(at=from_us(at * 1_000_000), version=version, tally=_tally(some))
            for (at, version), some in sorted(slots.items())
        ]

    def shortest(self, since: datetime, now: datetime) -> int:
        """The shortest time, in seconds, that requests since then are told by: a minute, or an hour where minutes are forgotten."""
        return MINUTE_S if since >= now - MINUTES_KEPT else HOUR_S

    def forget_minutes(self, now: datetime) -> int:
        """Remove the minutes that nobody is told any more; every request stays counted in its hour. Returns how many rows."""
        # An hour later than nobody is told, so that no stretch that is told was half forgotten.
        end = to_us(now - MINUTES_KEPT) // 1_000_000 - HOUR_S
        gone = 0
        for model in self._models():
            while some := self._forget_some(model, end):
                gone += some
        return gone

    def _models(self) -> list[str]:
        """Every model that was counted, each found by one step through the key."""
        models: list[str] = []
        with read_transaction(self._engine) as connection:
            following = select(traffic.c.model).order_by(traffic.c.model).limit(1)
            while (name := connection.scalar(following.where(traffic.c.model > models[-1]) if models else following)) is not None:
                models.append(name)
        return models

    def _forget_some(self, model: str, end: int) -> int:
        minutes = (traffic.c.model == model, traffic.c.step_s == MINUTE_S)
        past_some = select(traffic.c.start_s).where(*minutes).order_by(traffic.c.start_s).offset(_FORGOTTEN_AT_ONCE).limit(1)
        with read_transaction(self._engine) as connection:
            bound = connection.scalar(past_some)
        until = end if bound is None else min(end, bound)
        with write_transaction(self._engine) as connection:
            return connection.execute(traffic.delete().where(*minutes, traffic.c.start_s < until)).rowcount


@dataclass(slots=True)
class _BucketValues:
    """What there is to count of one model, version and minute; lives as long as a batch is counted."""

    latencies_us: list[int] = field(default_factory=list)
    confidences: list[float] = field(default_factory=list)
    errors: int = 0
    uncertain: int = 0


def count(connection: Connection, some: Iterable[PredictionRecord]) -> None:
    """Count these predictions, which are being kept in the same transaction and were not there before."""
    counts: dict[_Key, Tally] = {}
    for (model, start, version), heap in _heaps(some).items():
        tally = Tally.of(heap.latencies_us, heap.confidences, errors=heap.errors, uncertain=heap.uncertain)
        for step in (MINUTE_S, HOUR_S):
            counts.setdefault((model, step, start // step * step, version), Tally()).take_in(tally)
    # In one order, so that two processes never wait for each other's rows crosswise.
    keys = sorted(counts)
    for start in range(0, len(keys), _ROWS_A_QUESTION):
        _add(connection, {key: counts[key] for key in keys[start : start + _ROWS_A_QUESTION]})


def _heaps(some: Iterable[PredictionRecord]) -> dict[tuple[str, int, int], _BucketValues]:
    heaps: dict[tuple[str, int, int], _BucketValues] = {}
    for it in some:
        if it.arm is Arm.SHADOW:
            continue  # nobody asked for it, and nobody was answered by it
        key = (strip_unstorable(it.model), it.at_us // 1_000_000 // MINUTE_S * MINUTE_S, it.version)
        heap = heaps.get(key)
        if heap is None:
            heap = heaps[key] = _BucketValues()
        if it.error is not None:
            heap.errors += 1
            continue
        heap.latencies_us.append(it.latency_us)
        heap.uncertain += it.uncertain
        if it.confidence is not None:
            heap.confidences.append(it.confidence)
    return heaps


def _add(connection: Connection, counts: dict[_Key, Tally]) -> None:
    """Add to these rows. Another process may begin one at the same moment: then that is waited for, and added to."""
    connection.execute(_BEGIN, [_named(key) | _NOTHING for key in counts])
    for row in _there(connection, counts):
        key = (row.model, row.step_s, row.start_s, row.version)
        if key in counts:
            counts[key].take_in(_tally([row]))
    connection.execute(_SET, [_named(key) | _columns(tally) for key, tally in counts.items()])


def _there(connection: Connection, keys: Iterable[_Key]) -> Iterator[Row[Any]]:
    """The rows of these keys, and perhaps some beside them: SQLite finds rows by several columns at once only so."""
    groups: dict[tuple[str, int], list[_Key]] = {}
    for key in keys:
        groups.setdefault(key[:2], []).append(key)
    for (model, step), some in groups.items():
        starts, versions = {key[2] for key in some}, {key[3] for key in some}
        here = (traffic.c.model == model, traffic.c.step_s == step)
        query = select(traffic).where(*here, traffic.c.start_s.in_(starts), traffic.c.version.in_(versions))
        yield from connection.execute(query.order_by(traffic.c.start_s, traffic.c.version).with_for_update())


def _named(key: _Key) -> dict[str, Any]:
    return dict(zip(_KEY, key, strict=True))


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


def _tally(rows: Sequence[Row[Any]]) -> Tally:
    """The tally of all these rows together."""
    return Tally(
        requests=sum(row.requests for row in rows),
        errors=sum(row.errors for row in rows),
        uncertain=sum(row.uncertain for row in rows),
        latency_us=sum(row.latency_us for row in rows),
        confidence=sum(row.confidence for row in rows),
        latencies=_summed([row.latencies for row in rows]),
        confidences=_summed([row.confidences for row in rows]),
    )


def _summed(packed: list[bytes]) -> NDArray[np.int64]:
    total: NDArray[np.int64] = np.frombuffer(b"".join(packed), _NUMBER).reshape(len(packed), -1).sum(axis=0, dtype=np.int64)
    return total


_NOTHING = _columns(Tally())
