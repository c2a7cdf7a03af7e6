"""Numbers, percentages and moments as the reader's language writes them.

    0.9846 ─ percent ─► "98.5%" | "98,5 %"          1234.5 ─ number ─► "1,234.5" | "1.234,5"
    2026-01-31 12:00 UTC ─ moment ─► "31 Jan 2026, 12:00:00" | "31 ene 2026, 12:00:00"

The locales' own data are Babel's. A command imports this file when it shows figures: `relevo --help` need not wait for them.
"""

from __future__ import annotations

import re
from decimal import Context, Decimal
from functools import cache
from typing import TYPE_CHECKING

from babel import Locale
from babel.dates import format_date, format_datetime
from babel.numbers import format_decimal, format_percent

if TYPE_CHECKING:
    from datetime import date, datetime
#: English without a country would write months before days and hours from 1 to 12.
_LOCALES = {"en": "en_GB", "es": "es_ES"}


def percent(share: float, language: str) -> str:
    """A share of one to a tenth of a percent; what is not certain is never rounded up to 100."""
    return format_percent(min(share, 0.999) if share < 1 else 1.0, format=_tenths(language), locale=_locale(language))


def number(value: float, language: str, *, digits: int = 6) -> str:
    """A number with so many significant digits. What is not finite is left to Python's words."""
    rounded = Context(prec=digits).create_decimal(repr(float(value)))
    if not rounded.is_finite():
        return str(value)
    if rounded and not -6 < rounded.adjusted() < 15:
        return f"{rounded.normalize():e}".replace(".", _locale(language).number_symbols["latn"]["decimal"])
    return format_decimal(_plain(rounded), format=_pattern(), locale=_locale(language))


def whole(value: int, language: str) -> str:
    """A whole number, its thousands apart."""
    return format_decimal(value, format="#,##0", locale=_locale(language))


def fixed(value: float, language: str, *, places: int) -> str:
    """A number with exactly so many decimal places, as columns of figures want them."""
    return format_decimal(value, format="#,##0" + "." * (places > 0) + "0" * places, locale=_locale(language))


def moment(at: datetime, language: str, *, seconds: bool = True) -> str:
    """A day and a time, in the zone that it carries."""
    return format_datetime(at, format="d MMM yyyy, HH:mm:ss" if seconds else "d MMM yyyy, HH:mm", locale=_locale(language))


def day(at: date, language: str) -> str:
    """A day with its month in letters, so that nobody takes one for the other."""
    return format_date(at, format="d MMM yyyy", locale=_locale(language))


def _plain(value: Decimal) -> Decimal:
    return value.normalize() if value else Decimal(0)


def _pattern() -> str:
    # As many places as the number itself has left after rounding.
    return "#,##0." + "#" * 20


@cache
def _locale(language: str) -> Locale:
    return Locale.parse(_LOCALES[language])


@cache
def _tenths(language: str) -> str:
    """The locale's own pattern of a percentage, with one decimal place."""
    return re.sub(r"0(?=\s*%)", "0.0", str(_locale(language).percent_formats[None].pattern))
