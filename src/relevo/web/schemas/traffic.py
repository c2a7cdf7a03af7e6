"""The JSON of a model's traffic, as explicit types."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - pydantic reads the annotations when it runs
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from relevo.web.schemas.common import Lang, Moment  # noqa: TC001 - the same

if TYPE_CHECKING:
    from relevo.stats.histograms import Tally
    from relevo.store.traffic import TrafficBucket

#: Lengths of one stretch of time, in seconds: a minute to a day.
BUCKETS = (60, 300, 900, 3600, 10_800, 21_600, 86_400)


class Since(BaseModel):
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
    #: Answers in each twentieth of confidence, from 0 to 1.
    confidence_counts: list[int]

    @classmethod
    def of(cls, tally: Tally) -> TrafficCounts:
        """The counts of a tally."""
        return cls(
            requests=tally.requests,
            errors=tally.errors,
            uncertain=tally.uncertain,
            latency_ms=Latency(
                mean=_short(tally.mean_latency_ms()),
                p50=_short(tally.latency_ms(0.5)),
                p95=_short(tally.latency_ms(0.95)),
                p99=_short(tally.latency_ms(0.99)),
            ),
            confidence_mean=_short(tally.mean_confidence()),
            confidence_counts=tally.confidences.tolist(),
        )


class TrafficSlot(TrafficCounts):
    """One version's requests in one stretch of time."""

    at: datetime
    version: int

    @classmethod
    def at_time(cls, slot: TrafficBucket) -> TrafficSlot:
        """A stored stretch."""
        return cls(at=slot.at, version=slot.version, **TrafficCounts.of(slot.tally).model_dump())


class TrafficView(BaseModel):
    """A model's traffic from `since` to `until`: all of it, by version, and over time by version, oldest first."""

    model: str
    since: datetime
    until: datetime
    bucket_s: int
    total: TrafficCounts
    versions: dict[int, TrafficCounts]
    series: list[TrafficSlot]


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
