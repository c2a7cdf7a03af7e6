"""Formatting of numbers, percentages and dates in each language."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from relevo.i18n import formatting

_AT = datetime(2026, 1, 31, 12, 5, 9, tzinfo=UTC)
_NBSP = "\N{NO-BREAK SPACE}"


@pytest.mark.parametrize(
    ("share", "english", "spanish"),
    [(0.9846, "98.5%", f"98,5{_NBSP}%"), (0.99987, "99.9%", f"99,9{_NBSP}%"), (1.0, "100.0%", f"100,0{_NBSP}%")],
)
def test_percentages(share: float, english: str, spanish: str) -> None:
    """A share is a percentage with one decimal; only 1 is 100 %."""
    assert formatting.percent(share, "en") == english
    assert formatting.percent(share, "es") == spanish


@pytest.mark.parametrize(
    ("value", "english", "spanish"),
    [
        (1234567.891, "1,234,570", "1.234.570"),
        (1000.0, "1,000", "1.000"),
        (0.000123456789, "0.000123457", "0,000123457"),
        (1.5e-9, "1.5e-9", "1,5e-9"),
        (-0.0, "0", "0"),
        (float("inf"), "inf", "inf"),
    ],
)
def test_numbers(value: float, english: str, spanish: str) -> None:
    """A number has six significant digits, and the separators of its language."""
    assert formatting.number(value, "en") == english
    assert formatting.number(value, "es") == spanish


def test_whole_and_fixed_numbers() -> None:
    """Integers have thousands separators; fixed numbers have the given decimal places."""
    assert (formatting.whole(1234567, "en"), formatting.whole(1234567, "es")) == ("1,234,567", "1.234.567")
    assert (formatting.fixed(0.5, "en", places=3), formatting.fixed(0.5, "es", places=3)) == ("0.500", "0,500")
    assert formatting.fixed(12.6, "es", places=0) == "13"


def test_moments_and_days() -> None:
    """Months are abbreviated names, and times use 24 hours."""
    assert formatting.moment(_AT, "en") == "31 Jan 2026, 12:05:09 UTC"
    assert formatting.moment(_AT, "es", seconds=False) == "31 ene 2026, 12:05 UTC"
    for zone, expected in (("Europe/Madrid", "13:05 CET"), ("America/Sao_Paulo", "09:05 UTC-03")):
        assert formatting.moment(_AT.astimezone(ZoneInfo(zone)), "en", seconds=False) == f"31 Jan 2026, {expected}"
    east = _AT.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert formatting.moment(east, "en", seconds=False) == "31 Jan 2026, 17:35 UTC+05:30"
    assert formatting.day(date(2026, 8, 3), "es") == "3 ago 2026"
