"""Endpoint of a model's traffic over time: requests, errors, latency and confidence by version."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request

from relevo.errors import InvalidParameterError
from relevo.stats.histograms import Tally
from relevo.web.context import app_context
from relevo.web.routes.models import Name  # noqa: TC001 - FastAPI reads the annotations when it runs
from relevo.web.routes.responses import error_responses
from relevo.web.schemas.traffic import BUCKETS, TrafficCounts, TrafficOut, TrafficQuery, TrafficSlot

if TYPE_CHECKING:
    from datetime import datetime

    from relevo.store.traffic import TrafficBucket
    from relevo.web.context import AppContext

router = APIRouter(prefix="/models/{name}/traffic", tags=["history"])

_DAY = timedelta(days=1)
#: Default number of buckets of a plot.
_TARGET_BUCKETS = 120
_MAX_BUCKETS = 300


@router.get("", summary="Requests over time: how many, how long, how sure, by version", responses=error_responses(404, 422, 503))
def get_traffic(request: Request, name: Name, query: Annotated[TrafficQuery, Query()]) -> TrafficOut:
    """The last day unless said. Stretches without requests are left out; beyond 30 days back they are of an hour at least.

    Raises ModelNotFoundError, InvalidParameterError.
    """
    context: AppContext = app_context(request)
    # Raises ModelNotFoundError for an unknown model; a known one may have no traffic.
    context.registry.aliases(name)
    until = query.until or context.now()
    since = query.since or _one_day_before(until)
    requested = _bucket_length(since, until, None if query.bucket is None else int(query.bucket))
    # The response states its bucket length: where minute buckets were deleted, hour buckets are returned.
    bucket_s = max(requested, context.traffic.min_bucket(since, context.now()))
    buckets = context.traffic.buckets(name, since=since, until=until, bucket_s=bucket_s)
    return TrafficOut(
        model=name,
        since=since,
        until=until,
        bucket_s=bucket_s,
        total=TrafficCounts.from_domain(_sum_tallies(buckets)),
        versions={
            version: TrafficCounts.from_domain(_sum_tallies([bucket for bucket in buckets if bucket.version == version]))
            for version in sorted({bucket.version for bucket in buckets})
        },
        series=[TrafficSlot.from_bucket(bucket) for bucket in buckets],
    )


def _one_day_before(until: datetime) -> datetime:
    """Raises InvalidParameterError on the first day of the calendar."""
    try:
        return until - _DAY
    except OverflowError as cause:
        raise InvalidParameterError(field="until", expected="a moment after 0001-01-02, or 'since' beside it") from cause


def _bucket_length(since: datetime, until: datetime, requested: int | None) -> int:
    """Bucket length in s: the requested one, else the shortest that keeps a plot readable. Raises InvalidParameterError."""
    length_s = (until - since).total_seconds()
    if length_s <= 0:
        raise InvalidParameterError(field="since", expected="a moment before 'until'")
    if requested is None:
        return next((bucket_s for bucket_s in BUCKETS if length_s / bucket_s <= _TARGET_BUCKETS), BUCKETS[-1])
    if length_s / requested > _MAX_BUCKETS:
        raise InvalidParameterError(field="bucket", expected="longer stretches for so long a time")
    return requested


def _sum_tallies(buckets: list[TrafficBucket]) -> Tally:
    total = Tally()
    for bucket in buckets:
        total.merge(bucket.tally)
    return total
