"""Traffic counts on both databases: each prediction once, by version and time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from relevo.domain.prediction import Arm, PredictionRecord
from relevo.store.db.engine import read_transaction, write_transaction
from relevo.store.traffic import MINUTES_KEPT, Traffic

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

    from relevo.store.predictions import PredictionStore

MINUTE_MS = 60_000
START = 1_700_000_040_000 // 3_600_000 * 3_600_000
SINCE = datetime.fromtimestamp(START / 1000, UTC)


@pytest.fixture
def traffic(engine: Engine) -> Traffic:
    return Traffic(engine)


def buckets(traffic: Traffic, bucket_s: int, hours: float = 3.0) -> list[tuple[int, int, int]]:
    """Returns minute, version and requests of each bucket."""
    slots = traffic.buckets("digits", since=SINCE, until=SINCE + timedelta(hours=hours), bucket_s=bucket_s)
    return [((slot.at - SINCE) // timedelta(minutes=1), slot.version, slot.tally.requests) for slot in slots]


class TestTraffic:
    """The contract of traffic."""

    def test_buckets_of_any_length(
        self, history: PredictionStore, traffic: Traffic, prediction: Callable[..., PredictionRecord]
    ) -> None:
        """The same requests are counted in buckets of any length, by version, oldest first."""
        minutes = [0, 0, 1, 16, 59, 60, 61, 121]
        history.insert([prediction(START + at * MINUTE_MS, version=1 + at % 2) for at in minutes])
        assert buckets(traffic, 60) == [(0, 1, 2), (1, 2, 1), (16, 1, 1), (59, 2, 1), (60, 1, 1), (61, 2, 1), (121, 2, 1)]
        assert buckets(traffic, 900) == [(0, 1, 2), (0, 2, 1), (15, 1, 1), (45, 2, 1), (60, 1, 1), (60, 2, 1), (120, 2, 1)]
        assert buckets(traffic, 3600) == [(0, 1, 3), (0, 2, 2), (60, 1, 1), (60, 2, 1), (120, 2, 1)]
        assert buckets(traffic, 3600, hours=1) == [(0, 1, 3), (0, 2, 2)]

    def test_what_is_counted(self, history: PredictionStore, traffic: Traffic, prediction: Callable[..., PredictionRecord]) -> None:
        """Failures have neither latency nor confidence; shadow predictions are not counted."""
        history.insert(
            [
                prediction(START, latency_us=1000, confidence=0.5),
                prediction(START, latency_us=3000, confidence=None, uncertain=True),
                prediction(START, error="model_failed", latency_us=9_000_000),
                prediction(START, arm=Arm.SHADOW),
                prediction(START, model="churn"),
            ]
        )
        slots = traffic.buckets("digits", since=SINCE, until=SINCE + timedelta(minutes=1), bucket_s=60)
        tally = slots[0].tally
        assert (tally.requests, tally.errors, tally.uncertain) == (3, 1, 1)
        assert tally.mean_latency_ms() == pytest.approx(2.0)
        assert tally.mean_confidence() == pytest.approx(0.5)

    def test_each_prediction_is_counted_once(
        self, history: PredictionStore, traffic: Traffic, prediction: Callable[..., PredictionRecord]
    ) -> None:
        """A prediction that arrives again, alone, in a batch or twice in one, is counted once."""
        made = [prediction(START + number) for number in range(5)]
        history.insert(made[:3])
        history.insert_from_journal("journal", 1, made)
        history.insert_from_journal("journal", 1, made)
        twice = prediction(START)
        history.insert([made[0], twice, twice])
        assert buckets(traffic, 60) == [(0, 1, 6)]
        assert history.count() == 6

    def test_counts_survive_erasure(
        self, engine: Engine, history: PredictionStore, traffic: Traffic, prediction: Callable[..., PredictionRecord]
    ) -> None:
        """Erased predictions stay counted, and the counts contain no personal data."""
        history.insert([prediction(START, subject="ana", label="a-secret")])
        with write_transaction(engine) as connection:
            connection.execute(text("DELETE FROM predictions"))
        assert buckets(traffic, 60) == [(0, 1, 1)]
        with read_transaction(engine) as connection:
            rows = connection.execute(text("SELECT * FROM traffic")).all()
        assert not any("ana" in str(row) or "secret" in str(row) for row in rows)

    def test_old_minutes_are_deleted_and_hours_stay(
        self,
        history: PredictionStore,
        traffic: Traffic,
        prediction: Callable[..., PredictionRecord],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Minute rows older than a month are deleted, for every model; hour rows and later ones stay."""
        monkeypatch.setattr("relevo.store.traffic._DELETE_BATCH_ROWS", 3)
        minutes = range(0, 180, 7)
        history.insert([prediction(START + at * MINUTE_MS, model=model) for at in minutes for model in ("churn", "digits")])
        hours = buckets(traffic, 3600)
        now = SINCE + MINUTES_KEPT + timedelta(hours=2)
        assert traffic.drop_old_minutes(now) == 2 * len([at for at in minutes if at < 60])
        assert buckets(traffic, 60) == [(at, 1, 1) for at in minutes if at >= 60]
        assert buckets(traffic, 3600) == hours
        assert traffic.drop_old_minutes(now) == 0
        assert traffic.drop_old_minutes(now + timedelta(days=1)) == 2 * len([at for at in minutes if at >= 60])
        assert buckets(traffic, 3600) == hours

    def test_minute_buckets_are_never_incomplete(
        self, history: PredictionStore, traffic: Traffic, prediction: Callable[..., PredictionRecord]
    ) -> None:
        """The oldest bucket still offered by minutes is complete, even if it begins before the requested time."""
        history.insert([prediction(START + at * MINUTE_MS) for at in range(120)])
        now = SINCE + MINUTES_KEPT + timedelta(minutes=74)
        traffic.drop_old_minutes(now)
        since = now - MINUTES_KEPT
        assert traffic.min_bucket(since, now) == 60
        assert traffic.min_bucket(since - timedelta(seconds=1), now) == 3600
        slots = traffic.buckets("digits", since=since, until=since + timedelta(minutes=1), bucket_s=900)
        assert slots[0].tally.requests == 15
