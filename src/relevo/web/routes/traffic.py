"""What was asked of a model: requests, errors, latency and confidence over time, by version."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request

from relevo.errors import InvalidParameterError
from relevo.stats.histograms import Tally
from relevo.web.routes.models import Name  # noqa: TC001 - FastAPI reads the annotations when it runs
from relevo.web.routes.responses import error_responses
from relevo.web.schemas.traffic import BUCKETS, Since, TrafficCounts, TrafficSlot, TrafficView

if TYPE_CHECKING:
    from datetime import datetime

    from relevo.store.traffic import TrafficBucket
    from relevo.web.context import AppContext

router = APIRouter(prefix="/models/{name}/traffic", tags=["history"])

_DAY = timedelta(days=1)
#: So many columns tell a plot; more are a table.
_WANTED = 120
_MOST = 300


@router.get("", summary="Requests over time: how many, how long, how sure, by version", responses=error_responses(404, 422, 503))
def traffic(request: Request, name: Name, narrow: Annotated[Since, Query()]) -> TrafficView:
    """The last day unless said. Stretches without requests are left out; beyond 30 days back they are of an hour at least.

    Raises ModelNotFoundError, InvalidParameterError.
    """
    parts: AppContext = request.app.state.parts
    # The registry says whether there is such a model; one without traffic is another thing.
    parts.registry.aliases(name)
    until = narrow.until or parts.now()
    since = narrow.since or _a_day_before(until)
    asked = _bucket(since, until, None if narrow.bucket is None else int(narrow.bucket))
    # The answer says how long its stretches are: where minutes are forgotten, hours are told in their place.
    bucket_s = max(asked, parts.traffic.shortest(since, parts.now()))
    slots = parts.traffic.window(name, since=since, until=until, bucket_s=bucket_s)
    return TrafficView(
        model=name,
        since=since,
        until=until,
        bucket_s=bucket_s,
        total=TrafficCounts.of(_together(slots)),
        versions={
            version: TrafficCounts.of(_together([slot for slot in slots if slot.version == version]))
            for version in sorted({slot.version for slot in slots})
        },
        series=[TrafficSlot.at_time(slot) for slot in slots],
    )


def _a_day_before(until: datetime) -> datetime:
    """Raises InvalidParameterError on the first day of the calendar, which has none before it."""
    try:
        return until - _DAY
    except OverflowError as cause:
        raise InvalidParameterError(field="until", expected="a moment after 0001-01-02, or 'since' beside it") from cause


def _bucket(since: datetime, until: datetime, asked: int | None) -> int:
    """Seconds of one stretch: what was asked for, else the shortest that leaves a plot readable. Raises InvalidParameterError."""
    length_s = (until - since).total_seconds()
    if length_s <= 0:
        raise InvalidParameterError(field="since", expected="a moment before 'until'")
    if asked is None:
        return next((one for one in BUCKETS if length_s / one <= _WANTED), BUCKETS[-1])
    if length_s / asked > _MOST:
        raise InvalidParameterError(field="bucket", expected="longer stretches for so long a time")
    return asked


def _together(slots: list[TrafficBucket]) -> Tally:
    total = Tally()
    for slot in slots:
        total.take_in(slot.tally)
    return total
