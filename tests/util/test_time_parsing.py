"""Date and time values of users."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest

from relevo.util.time_parsing import aware

if TYPE_CHECKING:
    from collections.abc import Iterator

EAST = timezone(timedelta(hours=1))
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        "2026-01-31T12:00Z",
        "2026-01-31T12:00:00z",
        "2026-01-31 12:00:00.000",
        "2026-01-31T13:00+01:00",
        "2026-01-31T13:00:00.5+0100",
        "2026-01-31T13:00:00 01:00",
        "2026-01-31T07:00-05",
        " 2026-01-31T12:00 ",
        datetime(2026, 1, 31, 12),  # noqa: DTZ001 - one without a zone is the case
        datetime(2026, 1, 31, 13, tzinfo=EAST),
    ],
)
def test_a_moment_is_read_however_it_is_written(value: str | datetime) -> None:
    """With a T or a space, with or without seconds, and with every usual offset, the plus of a URL lost or not."""
    assert aware(value).replace(microsecond=0) == NOON


@pytest.mark.usefixtures("madrid")
def test_a_day_begins_where_it_is_read() -> None:
    """Without an offset the zone is UTC for programs and local for users, also in summer."""
    assert aware("2026-01-31") == aware(date(2026, 1, 31)) == datetime(2026, 1, 31, tzinfo=UTC)
    assert aware("2026-01-31", None) == datetime(2026, 1, 30, 23, tzinfo=UTC)
    assert aware("2026-07-31T12:00", None).isoformat() == "2026-07-31T12:00:00+02:00"


@pytest.mark.parametrize(
    "wrong", ["", "yesterday", "2026-02-30", "2026-01-31T25:00", "1700000000", "2026-01-31+01:00", "2026-1-31"]
)
def test_what_is_no_moment_is_refused(wrong: str) -> None:
    """Any other value is rejected, numbers included."""
    with pytest.raises(ValueError):  # noqa: PT011 - its words are shown to nobody
        aware(wrong)


@pytest.fixture
def madrid(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:

    with monkeypatch.context() as patched:
        patched.setenv("TZ", "Europe/Madrid")
        time.tzset()
        yield
    time.tzset()
