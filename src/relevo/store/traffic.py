"""Requests by model, version and time, counted as they come into the history, so that a look costs the same after a year.

    predictions, in the transaction that keeps them ─ count ─► minute and hour rows      each prediction once
    window(model, since, until, bucket_s) ─ summed by the database ─► [Slot(at, version, tally)]

What is erased or grows too old stays counted: the rows say how many, never what or whom.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import cast, func, select, text
from sqlalchemy.types import BigInteger

from relevo.domain.prediction import Arm
from relevo.stats.tallies import Measure, Tally, latency_bin, share_bin
from relevo.store._words import storable
from relevo.store.engine import reading
from relevo.store.moments import microseconds, moment
from relevo.store.tables import traffic

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sqlalchemy import Connection, Engine

    from relevo.domain.prediction import Prediction

#: Lengths of the times that are counted apart, in seconds.
MINUTE_S, HOUR_S = 60, 3600

#: Both databases read it alike, while SQLAlchemy has a construct for each.
_COUNT = text(
    "INSERT INTO traffic (model, step_s, start_s, version, measure, bin, times, total) "
    "VALUES (:model, :step_s, :start_s, :version, :measure, :bin, :times, :total) "
    "ON CONFLICT (model, step_s, start_s, version, measure, bin) "
    "DO UPDATE SET times = traffic.times + excluded.times, total = traffic.total + excluded.total"
)
_KEY = ("model", "step_s", "start_s", "version", "measure", "bin")
_Counts = dict[tuple[str, int, int, int, str, int], tuple[int, float]]


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
        begins = (cast(table.start_s - table.start_s % bucket_s, BigInteger)).label("begins")
        query = (
            select(begins, table.version, table.measure, table.bin, func.sum(table.times), func.sum(table.total))
            .where(table.model == storable(model), table.step_s == (MINUTE_S if bucket_s % HOUR_S else HOUR_S))
            .where(table.start_s >= first - first % bucket_s, table.start_s < -(-last // bucket_s) * bucket_s)
            .group_by(begins, table.version, table.measure, table.bin)
        )
        found: dict[tuple[int, int], Tally] = {}
        with reading(self._engine) as connection:
            for start, version, measure, number, times, total in connection.execute(query):
                found.setdefault((start, version), Tally()).add(measure, number, int(times), total)
        return [Slot(at=moment(at * 1_000_000), version=version, tally=tally) for (at, version), tally in sorted(found.items())]


def count(connection: Connection, some: Iterable[Prediction]) -> None:
    """Count these predictions, which are being kept in the same transaction and were not there before."""
    counts = _counted(some)
    if not counts:
        return
    # In one order, so that two processes never wait for each other's rows crosswise.
    rows = [dict(zip(_KEY, key, strict=True)) | {"times": times, "total": total} for key, (times, total) in sorted(counts.items())]
    connection.execute(_COUNT, rows)


def _counted(some: Iterable[Prediction]) -> _Counts:
    minutes: _Counts = {}
    for it in some:
        if it.arm is Arm.SHADOW:
            continue  # nobody asked for it, and nobody was answered by it
        model, start = storable(it.model), it.at_us // 1_000_000 // MINUTE_S * MINUTE_S
        for measure, number, total in _measures(it):
            key = (model, MINUTE_S, start, it.version, measure, number)
            times, so_far = minutes.get(key, (0, 0.0))
            minutes[key] = (times + 1, so_far + total)
    hours: _Counts = {}
    for (model, _, start, version, measure, number), (times, total) in minutes.items():
        key = (model, HOUR_S, start // HOUR_S * HOUR_S, version, measure, number)
        before, so_far = hours.get(key, (0, 0.0))
        hours[key] = (before + times, so_far + total)
    return minutes | hours


def _measures(it: Prediction) -> list[tuple[str, int, float]]:
    """Where one prediction counts: measure, bin, and what it adds to the bin's total."""
    if it.error is not None:
        return [(Measure.REQUESTS.value, 0, 0.0), (Measure.ERRORS.value, 0, 0.0)]
    found = [
        (Measure.REQUESTS.value, 0, 0.0),
        (Measure.LATENCY.value, latency_bin(it.latency_us), float(it.latency_us)),
    ]
    if it.uncertain:
        found.append((Measure.UNCERTAIN.value, 0, 0.0))
    if it.confidence is not None:
        found.append((Measure.CONFIDENCE.value, share_bin(it.confidence), it.confidence))
    return found
