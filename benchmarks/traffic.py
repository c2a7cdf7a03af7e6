"""How soon a model's traffic is told with a million predictions behind it, and what counting them costs when they come in.

    a million predictions in thirty days, half of them in the last one, three versions, latencies and confidences spread
    ─► SQLite, PostgreSQL ─► GET /models/digits/traffic over a real connection: an hour, a day, a week, a month
    counting: the processor's time that it took of that of shipping, where a batch is a quarter of a busy second

Usage: traffic.py [--rows 1000000] [--database sqlite postgresql] [--keep FOLDER] [--json FILE]
"""

from __future__ import annotations

import math
import random
import statistics
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from history import on_each_database, served, settle
from measuring import verdict

from relevo.domain.ids import new_id
from relevo.domain.prediction import Arm, InputKind, PredictionRecord
from relevo.server.stores import open_store
from relevo.store import traffic
from relevo.store.db.engine import write_transaction

if TYPE_CHECKING:
    import httpx

    from relevo.config import Settings
    from relevo.server.stores import Store

_PROMISED_MS = 300.0
_BATCH = 5000
_ASKS = 25
#: What a worker under ten thousand requests a second leaves for one shipping.
_BUSY_BATCH, _BUSY_BATCHES = 2500, 20
_UNTIL = datetime(2026, 2, 1, tzinfo=UTC)
_SPANS = {
    "hour": (timedelta(hours=1), "60"),
    "day": (timedelta(days=1), "900"),
    "week": (timedelta(days=7), "10800"),
    "month": (timedelta(days=30), "21600"),
    "four hours by the minute": (timedelta(hours=4), "60"),
}


def main() -> int:
    """Print every figure; 1 when the promised one was missed."""
    return on_each_database("Traffic at a million.", measure)


def measure(settings: Settings, rows: int) -> dict[str, Any]:
    """Fill the store when it is empty, then ask for every span many times."""
    store = open_store(settings)
    if not store.predictions.page(limit=1).items:
        store.registry.add(model="digits", digest="ab" * 32, summary={}, author="bench", at=_UNTIL)
        fill(store, rows)
        settle(store)
    dialect = store.engine.dialect.name
    store.engine.dispose()
    with served(settings) as client:
        told = {name: [ask(client, *span) for _ in range(_ASKS)] for name, span in _SPANS.items()}
    worst = max(statistics.median(times) for times in told.values())
    spans = ", ".join(f"{name} {statistics.median(times):.0f} ms" for name, times in told.items())
    reached = verdict(f"{dialect}: {spans}, medians of {_ASKS} (promised: {_PROMISED_MS:g})", holds=worst <= _PROMISED_MS)
    return {"reached": reached, "spans": told}


def fill(store: Store, rows: int) -> None:
    """Predictions in the order of their time, half of them in the last day; tells what counting a busy second costs."""
    draw = random.Random(7)  # noqa: S311 - a fixed mix
    moments = sorted(draw.uniform(0, 1 if number % 2 else 30) for number in range(rows))
    for start in range(0, rows, _BATCH):
        backs = reversed(moments[-start - _BATCH : len(moments) - start])
        store.predictions.insert_from_journal("bench", start, [_prediction(draw, _UNTIL - timedelta(days=back)) for back in backs])
    shipping = counting = 0.0
    for number in range(_BUSY_BATCHES):
        at = _UNTIL + timedelta(seconds=number / 4)
        some = [_prediction(draw, at + timedelta(seconds=place / 4 / _BUSY_BATCH)) for place in range(_BUSY_BATCH)]
        with write_transaction(store.engine) as connection:
            begin = time.process_time()
            traffic.count(connection, some)
            counting += time.process_time() - begin
            connection.rollback()
        begin = time.process_time()
        store.predictions.insert_from_journal("bench", rows + number, some)
        shipping += time.process_time() - begin
    print(
        f"{store.engine.dialect.name}: counting {_BUSY_BATCH} predictions takes {counting / _BUSY_BATCHES * 1000:.1f} ms of the "
        f"{shipping / _BUSY_BATCHES * 1000:.1f} ms of this process that shipping them takes ({counting / shipping:.0%})"
    )


def _prediction(draw: random.Random, at: datetime) -> PredictionRecord:
    ms = int(at.timestamp() * 1000)
    return PredictionRecord(
        id=new_id(ms),
        at_us=ms * 1000,
        model="digits",
        version=draw.choice((1, 2, 3)),
        arm=Arm.CHAMPION,
        propensity=1.0,
        epoch=1,
        kind=InputKind.RECORD,
        input=b"{}",
        input_bytes=2,
        predicted_label=draw.choice("0123456789"),
        confidence=draw.betavariate(6, 1.5),
        uncertain=draw.random() < 0.03,
        latency_us=int(math.exp(draw.gauss(7.5, 0.8))),
    )


def ask(client: httpx.Client, length: timedelta, bucket: str) -> float:
    """Milliseconds of one answer."""
    asked = {"since": (_UNTIL - length).isoformat(), "until": _UNTIL.isoformat(), "bucket": bucket}
    begin = time.perf_counter()
    client.get("/models/digits/traffic", params=asked).raise_for_status()
    return (time.perf_counter() - begin) * 1000


if __name__ == "__main__":
    sys.exit(main())
