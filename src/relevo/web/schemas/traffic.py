"""Schemas of a model's traffic."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - pydantic reads the annotations when it runs
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from relevo.web.schemas.common import Lang, Moment  # noqa: TC001 - the same

if TYPE_CHECKING:
    from relevo.stats.histograms import Tally
    from relevo.store.traffic import TrafficBucket

#: Bucket lengths in s, from a minute to a day.
BUCKETS = (60, 300, 900, 3600, 10_800, 21_600, 86_400)


class TrafficQuery(BaseModel):
    """What narrows the traffic; a parameter that is not known is refused, never ignored."""

    model_config = ConfigDict(extra="forbid")

    since: Moment | None = None
    until: Moment | None = None
    bucket: Literal["60", "300", "900", "3600", "10800", "21600", "86400"] | None = None
    lang: Lang = None


class Latency(BaseModel):
    """How long answers took, in ms; percentiles are right to 15 %, the mean is exact. All null without answers."""

    mean: float | None
    p50: float | None
    p95: float | None
    p99: float | None


class TrafficCounts(BaseModel):
    """Some requests, counted."""

    requests: int
    errors: int
    uncertain: int
    latency_ms: Latency
    confidence_mean: float | None
    #: Histogram of confidence: 20 bins of equal width over 0..1.
    confidence_counts: list[int]

    @classmethod
    def from_domain(cls, tally: Tally) -> TrafficCounts:
        """From a tally."""
        return cls(
            requests=tally.requests,
            errors=tally.errors,
            uncertain=tally.uncertain,
            latency_ms=Latency(
                mean=_round4(tally.mean_latency_ms()),
                p50=_round4(tally.latency_ms(0.5)),
                p95=_round4(tally.latency_ms(0.95)),
                p99=_round4(tally.latency_ms(0.99)),
            ),
            confidence_mean=_round4(tally.mean_confidence()),
            confidence_counts=tally.confidences.tolist(),
        )


class TrafficSlot(TrafficCounts):
    """One version's requests in one stretch of time."""

    at: datetime
    version: int

    @classmethod
    def from_bucket(cls, bucket: TrafficBucket) -> TrafficSlot:
        """From a stored bucket."""
        return cls(at=bucket.at, version=bucket.version, **TrafficCounts.from_domain(bucket.tally).model_dump())


class TrafficOut(BaseModel):
    """A model's traffic from `since` to `until`: all of it, by version, and over time by version, oldest first."""

    model: str
    since: datetime
    until: datetime
    bucket_s: int
    total: TrafficCounts
    versions: dict[int, TrafficCounts]
    series: list[TrafficSlot]


def _round4(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
