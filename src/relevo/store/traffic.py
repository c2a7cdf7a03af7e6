"""Request counts by model, version and time, updated as predictions are inserted, so that reading them costs the same after a year.

    predictions, in the transaction that inserts them ─ count ─► one row a minute and one an hour     each prediction once
    window(model, since, until, bucket_s) ─► [TrafficBucket(at, version, tally)]      at most some thousand rows
    forget_minutes(now) ─► deletes minute rows older than a month; the hour rows stay

Counts include predictions that were erased or removed by retention: a row holds no content and no subject.
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

#: Lengths of the two counted intervals, in seconds.
MINUTE_S, HOUR_S = 60, 3600
#: How long minute rows are kept; hour rows are kept for ever.
MINUTES_KEPT = timedelta(days=30)
#: Rows deleted in one transaction; the background process ships journals in between.
_DELETE_BATCH_ROWS = 2000

_KEY = ("model", "step_s", "start_s", "version")
_COUNTS = ("requests", "errors", "uncertain", "latency_us", "confidence", "latencies", "confidences")
#: Both databases accept these statements, while SQLAlchemy needs a dialect-specific construct.
_INSERT = text(
    f"INSERT INTO traffic ({', '.join(_KEY + _COUNTS)}) "  # noqa: S608 - our own column names
    f"VALUES ({', '.join(f':{name}' for name in _KEY + _COUNTS)}) ON CONFLICT DO NOTHING"
)
_UPDATE = text(
    f"UPDATE traffic SET {', '.join(f'{name} = :{name}' for name in _COUNTS)} "  # noqa: S608 - our own column names
    f"WHERE {' AND '.join(f'{name} = :{name}' for name in _KEY)}"
)
#: Rows in one query: each key has four values, and databases limit the parameters of a statement.
_ROWS_PER_QUERY = 500
_COUNT_DTYPE = np.dtype("<u4")
_Key = tuple[str, int, int, int]  # values of the columns in _KEY


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficBucket:
    """Requests of one version in one interval."""

    at: datetime  # start of the interval, aware, UTC
    version: int
    tally: Tally


class Traffic:
    """Request statistics of the models. Lifetime: the process; safe for several threads. All methods raise DatabaseUnavailableError."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def buckets(self, model: str, *, since: datetime, until: datetime, bucket_s: int) -> list[TrafficBucket]:
        """Returns the requests of one model from `since` (included) to `until` (not), both widened to whole buckets, oldest first.

        bucket_s: seconds, a multiple of 60; a bucket starts where the seconds since 1970 are a multiple of it.
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
        buckets: dict[tuple[int, int], list[Row[Any]]] = {}
        for row in rows:
            buckets.setdefault((row.start_s - row.start_s % bucket_s, row.version), []).append(row)
        return [
            TrafficBucket(at=from_us(at * 1_000_000), version=version, tally=_tally(group))
            for (at, version), group in sorted(buckets.items())
        ]

    def min_bucket(self, since: datetime, now: datetime) -> int:
        """Returns the smallest interval, in seconds, available since then: a minute, or an hour where minute rows were deleted."""
        return MINUTE_S if since >= now - MINUTES_KEPT else HOUR_S

    def drop_old_minutes(self, now: datetime) -> int:
        """Deletes minute rows that `shortest` no longer offers; each request stays counted in its hour. Returns the number of rows."""
        # One hour of margin, so that no bucket still offered is incomplete.
        end = to_us(now - MINUTES_KEPT) // 1_000_000 - HOUR_S
        deleted = 0
        for model in self._models():
            while rows := self._delete_batch(model, end):
                deleted += rows
        return deleted

    def _models(self) -> list[str]:
        """Returns every counted model, each found by one index seek."""
        models: list[str] = []
        with read_transaction(self._engine) as connection:
            next_model = select(traffic.c.model).order_by(traffic.c.model).limit(1)
            while (name := connection.scalar(next_model.where(traffic.c.model > models[-1]) if models else next_model)) is not None:
                models.append(name)
        return models

    def _delete_batch(self, model: str, end: int) -> int:
        minutes = (traffic.c.model == model, traffic.c.step_s == MINUTE_S)
        batch_end = select(traffic.c.start_s).where(*minutes).order_by(traffic.c.start_s).offset(_DELETE_BATCH_ROWS).limit(1)
        with read_transaction(self._engine) as connection:
            bound = connection.scalar(batch_end)
        until = end if bound is None else min(end, bound)
        with write_transaction(self._engine) as connection:
            return connection.execute(traffic.delete().where(*minutes, traffic.c.start_s < until)).rowcount


@dataclass(slots=True)
class _BucketValues:
    """Values of one model, version and minute. Lifetime: one call of `count`."""

    latencies_us: list[int] = field(default_factory=list)
    confidences: list[float] = field(default_factory=list)
    errors: int = 0
    uncertain: int = 0


def count(connection: Connection, records: Iterable[PredictionRecord]) -> None:
    """Counts new predictions, in the transaction that inserts them."""
    counts: dict[_Key, Tally] = {}
    for (model, start, version), values in _group(records).items():
        tally = Tally.from_values(values.latencies_us, values.confidences, errors=values.errors, uncertain=values.uncertain)
        for step in (MINUTE_S, HOUR_S):
            counts.setdefault((model, step, start // step * step, version), Tally()).merge(tally)
    # Sorted, so that two processes lock rows in the same order and cannot deadlock.
    keys = sorted(counts)
    for start in range(0, len(keys), _ROWS_PER_QUERY):
        _add(connection, {key: counts[key] for key in keys[start : start + _ROWS_PER_QUERY]})


def _group(records: Iterable[PredictionRecord]) -> dict[tuple[str, int, int], _BucketValues]:
    groups: dict[tuple[str, int, int], _BucketValues] = {}
    for record in records:
        if record.arm is Arm.SHADOW:
            continue  # a shadow prediction answers no request
        key = (strip_unstorable(record.model), record.at_us // 1_000_000 // MINUTE_S * MINUTE_S, record.version)
        values = groups.get(key)
        if values is None:
            values = groups[key] = _BucketValues()
        if record.error is not None:
            values.errors += 1
            continue
        values.latencies_us.append(record.latency_us)
        values.uncertain += record.uncertain
        if record.confidence is not None:
            values.confidences.append(record.confidence)
    return groups


def _add(connection: Connection, counts: dict[_Key, Tally]) -> None:
    """Adds these counts to the stored rows.

    Race: another process may insert one of the rows at the same moment; the insert then waits for it, and its counts are added to.
    """
    connection.execute(_INSERT, [_key_columns(key) | _ZERO for key in counts])
    for row in _stored_rows(connection, counts):
        key = (row.model, row.step_s, row.start_s, row.version)
        if key in counts:
            counts[key].merge(_tally([row]))
    connection.execute(_UPDATE, [_key_columns(key) | _columns(tally) for key, tally in counts.items()])


def _stored_rows(connection: Connection, keys: Iterable[_Key]) -> Iterator[Row[Any]]:
    """Yields the rows of these keys, and possibly others: SQLite uses the index for several columns only in this form."""
    groups: dict[tuple[str, int], list[_Key]] = {}
    for key in keys:
        groups.setdefault(key[:2], []).append(key)
    for (model, step), group in groups.items():
        starts, versions = {key[2] for key in group}, {key[3] for key in group}
        same_group = (traffic.c.model == model, traffic.c.step_s == step)
        query = select(traffic).where(*same_group, traffic.c.start_s.in_(starts), traffic.c.version.in_(versions))
        yield from connection.execute(query.order_by(traffic.c.start_s, traffic.c.version).with_for_update())


def _key_columns(key: _Key) -> dict[str, Any]:
    return dict(zip(_KEY, key, strict=True))


def _columns(tally: Tally) -> dict[str, Any]:
    return {
        "requests": tally.requests,
        "errors": tally.errors,
        "uncertain": tally.uncertain,
        "latency_us": tally.latency_us,
        "confidence": tally.confidence,
        "latencies": tally.latencies.astype(_COUNT_DTYPE).tobytes(),
        "confidences": tally.confidences.astype(_COUNT_DTYPE).tobytes(),
    }


def _tally(rows: Sequence[Row[Any]]) -> Tally:
    """Returns the sum of these rows."""
    return Tally(
        requests=sum(row.requests for row in rows),
        errors=sum(row.errors for row in rows),
        uncertain=sum(row.uncertain for row in rows),
        latency_us=sum(row.latency_us for row in rows),
        confidence=sum(row.confidence for row in rows),
        latencies=_sum_histograms([row.latencies for row in rows]),
        confidences=_sum_histograms([row.confidences for row in rows]),
    )


def _sum_histograms(packed: list[bytes]) -> NDArray[np.int64]:
    total: NDArray[np.int64] = np.frombuffer(b"".join(packed), _COUNT_DTYPE).reshape(len(packed), -1).sum(axis=0, dtype=np.int64)
    return total


_ZERO = _columns(Tally())
