"""Numbers, percentages and moments as the reader's language writes them.

    0.9846 ─ percent ─► "98.5%" | "98,5 %"          1234.5 ─ number ─► "1,234.5" | "1.234,5"
    2026-01-31 12:00 UTC ─ moment ─► "31 Jan 2026, 12:00:00 UTC" | "31 ene 2026, 12:00:00 UTC"

What two languages need stands here: a library of all locales would weigh 33 MiB in an install that is held to be small. Separators
and months are those of the Unicode CLDR for en_GB and es_ES; English without a country would write months before days.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Context, Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import date, datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class _Locale:
    """How one language writes figures."""

    swap: dict[int, int]  # from Python's separators to its own
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
    """A share of one to a tenth of a percent; what is not certain is never rounded up to 100."""
    shown = min(share, 0.999) if share < 1 else 1.0
    return fixed(shown * 100, language, places=1) + _LOCALES[language].percent


def number(value: float, language: str, *, digits: int = 6) -> str:
    """A number with so many significant digits. What is not finite is left to Python's words."""
    rounded = Context(prec=digits).create_decimal(repr(float(value)))
    if not rounded.is_finite():
        return str(value)
    if rounded and not -6 < rounded.adjusted() < 15:
        return f"{rounded.normalize():e}".translate(_LOCALES[language].swap)
    return f"{_plain(rounded):,f}".translate(_LOCALES[language].swap)


def whole(value: int, language: str) -> str:
    """A whole number, its thousands apart."""
    return f"{value:,}".translate(_LOCALES[language].swap)


def fixed(value: float, language: str, *, places: int) -> str:
    """A number with exactly so many decimal places, as columns of figures want them."""
    return f"{value:,.{places}f}".translate(_LOCALES[language].swap)


def moment(at: datetime, language: str, *, seconds: bool = True) -> str:
    """A day and a time in the zone that it carries, and that zone: nobody has to guess which one is meant."""
    zone = at.tzname() or ""
    # Zones without letters of their own are called by their offset alone.
    told = f"UTC{zone}" if zone[:1] in {"+", "-"} else zone
    return f"{day(at, language)}, {at:{'%H:%M:%S' if seconds else '%H:%M'}} {told}".rstrip()


def day(at: date, language: str) -> str:
    """A day with its month in letters, so that nobody takes one for the other."""
    return f"{at.day} {_LOCALES[language].months[at.month - 1]} {at.year}"


def _plain(value: Decimal) -> Decimal:
    return value.normalize() if value else Decimal(0)
