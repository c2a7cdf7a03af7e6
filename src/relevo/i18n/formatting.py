"""Formats numbers, percentages, dates and times in the conventions of a language.

    0.9846 ─ percent ─► "98.5%" | "98,5 %"          1234.5 ─ number ─► "1,234.5" | "1.234,5"
    2026-01-31 12:00 UTC ─ moment ─► "31 Jan 2026, 12:00:00 UTC" | "31 ene 2026, 12:00:00 UTC"

Implemented here for two languages, since a library with all locales would add 33 MiB to the installation. Separators and months are
those of the Unicode CLDR for en_GB and es_ES; English without a country would put the month before the day.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Context, Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import date, datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class _Locale:
    """Number and date conventions of one language."""

    swap: dict[int, int]  # Python's separators → those of the language
    percent: str
    months: tuple[str, ...]


_LOCALES = {
    "en": _Locale(
        swap={},
        percent="%",
        months=("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sept", "Oct", "Nov", "Dec"),
    ),
    "es": _Locale(
        swap=str.maketrans(",.", ".,"),
        percent="\N{NO-BREAK SPACE}%",
        months=("ene", "feb", "mar", "abr", "may", "jun", "jul", "ago", "sept", "oct", "nov", "dic"),
    ),
}


def percent(share: float, language: str) -> str:
    """A share, 0..1, as a percentage with one decimal; a share below 1 is never rounded up to 100."""
    rounded = min(share, 0.999) if share < 1 else 1.0
    return fixed(rounded * 100, language, places=1) + _LOCALES[language].percent


def number(value: float, language: str, *, digits: int = 6) -> str:
    """A number with a maximum number of significant digits. A value that is not finite has Python's form."""
    rounded = Context(prec=digits).create_decimal(repr(float(value)))
    if not rounded.is_finite():
        return str(value)
    if rounded and not -6 < rounded.adjusted() < 15:
        return f"{rounded.normalize():e}".translate(_LOCALES[language].swap)
    return f"{_plain(rounded):,f}".translate(_LOCALES[language].swap)


def whole(value: int, language: str) -> str:
    """An integer with thousands separators."""
    return f"{value:,}".translate(_LOCALES[language].swap)


def fixed(value: float, language: str, *, places: int) -> str:
    """A number with a fixed number of decimal places, for columns of numbers."""
    return f"{value:,.{places}f}".translate(_LOCALES[language].swap)


def moment(at: datetime, language: str, *, seconds: bool = True) -> str:
    """A date and time in its own time zone, with the name of the zone."""
    zone = at.tzname() or ""
    # The name of a zone without an abbreviation is its offset.
    zone_text = f"UTC{zone}" if zone[:1] in {"+", "-"} else zone
    return f"{day(at, language)}, {at:{'%H:%M:%S' if seconds else '%H:%M'}} {zone_text}".rstrip()


def day(at: date, language: str) -> str:
    """A date with an abbreviated month name, so that day and month cannot be confused."""
    return f"{at.day} {_LOCALES[language].months[at.month - 1]} {at.year}"


def _plain(value: Decimal) -> Decimal:
    return value.normalize() if value else Decimal(0)
