"""The traffic endpoint of a model."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from tests.support.web_app import prediction

if TYPE_CHECKING:
    import httpx
    from tests.support.web_app import World

_DAY = datetime.now(UTC).date() - timedelta(days=2)
_NOON = datetime(_DAY.year, _DAY.month, _DAY.day, 12, tzinfo=UTC)


def at_us(minutes: float) -> int:
    return int((_NOON + timedelta(minutes=minutes)).timestamp() * 1e6)


def test_traffic_by_version_and_time(client: httpx.Client, world: World) -> None:
    """Requests, errors, latency and confidence by version and bucket, and in total."""
    world.store.predictions.insert(
        [
            prediction(at_us=at_us(1), latency_us=2000, confidence=0.75),
            prediction(at_us=at_us(2), latency_us=4000, confidence=0.25, uncertain=True),
            prediction(at_us=at_us(20), version=2, label=None, confidence=None, error="model_failed"),
            prediction(at_us=at_us(20), model="churn"),
        ]
    )
    asked = {"since": f"{_DAY}T12:00:00Z", "until": f"{_DAY}T13:00:00Z", "bucket": "900"}
    body = client.get("/models/digits/traffic", params=asked).json()
    assert [(one["at"], one["version"], one["requests"]) for one in body["series"]] == [
        (f"{_DAY}T12:00:00Z", 1, 2),
        (f"{_DAY}T12:15:00Z", 2, 1),
    ]
    total = body["total"]
    assert (total["requests"], total["errors"], total["uncertain"]) == (3, 1, 1)
    assert (total["latency_ms"]["mean"], total["confidence_mean"]) == (3.0, 0.5)
    assert total["confidence_counts"] == [int(number in (5, 15)) for number in range(20)]
    assert body["versions"]["2"]["errors"] == 1
    assert body["versions"]["2"]["latency_ms"]["p50"] is None


def test_the_last_day_unless_said(client: httpx.Client, world: World) -> None:
    """The default range is the last day, with buckets short enough for a plot."""
    world.store.predictions.insert([prediction()])
    body = client.get("/models/digits/traffic").json()
    assert (body["bucket_s"], body["total"]["requests"]) == (900, 1)


def test_minutes_of_long_ago_are_told_as_hours(client: httpx.Client, world: World) -> None:
    """Where minute buckets were deleted, the response has hour buckets and says so."""
    long_ago = datetime.now(UTC) - timedelta(days=40)
    world.store.predictions.insert([prediction(at_us=int(long_ago.timestamp() * 1e6))])
    hour = {"since": (long_ago - timedelta(minutes=1)).isoformat(), "until": (long_ago + timedelta(minutes=1)).isoformat()}
    for bucket, told in (("60", 3600), ("900", 3600), ("10800", 10_800)):
        body = client.get("/models/digits/traffic", params=hour | {"bucket": bucket}).json()
        assert (body["bucket_s"], body["total"]["requests"]) == (told, 1)


def test_what_cannot_be_asked(client: httpx.Client) -> None:
    """An unknown model, an empty range or too many buckets are rejected with the parameter's name."""
    assert client.get("/models/nobody/traffic").json()["code"] == "model_not_found"
    backwards = {"since": "2026-03-01T12:00:00Z", "until": "2026-03-01T12:00:00Z"}
    assert client.get("/models/digits/traffic", params=backwards).json()["field"] == "since"
    year = {"since": "2025-03-01T12:00:00Z", "until": "2026-03-01T12:00:00Z", "bucket": "60"}
    assert client.get("/models/digits/traffic", params=year).json()["field"] == "bucket"
    assert client.get("/models/digits/traffic", params={"bucket": "7"}).status_code == 422


_FIRST, _LAST = "0001-01-01", "9999-12-31T23:59:59.999999999"


@pytest.mark.parametrize("until", [_FIRST, f"{_FIRST}T12:00:00Z", f"{_FIRST}T00:00+14:00", f"{_FIRST}T23:59-14:00"])
def test_the_first_day_has_none_before_it(client: httpx.Client, until: str) -> None:
    """`until` on the first day of the calendar needs `since`."""
    answer = client.get("/models/digits/traffic", params={"until": until})
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (422, "parameter_wrong", "until")


@pytest.mark.parametrize("path", ["/models/digits/traffic", "/predictions", "/predictions.csv"])
def test_both_ends_of_the_calendar(client: httpx.Client, path: str) -> None:
    """No valid timestamp causes a 500, whatever its offset."""
    times = [f"{_FIRST}T00:00+14:00", f"{_FIRST}T00:00-14:00", f"{_LAST}+14:00", f"{_LAST}-14:00"]
    for one, other in zip(times, reversed(times), strict=True):
        for asked in ({"since": one}, {"until": one}, {"since": one, "until": other}):
            assert client.get(path, params=asked).status_code in {200, 422}, asked
