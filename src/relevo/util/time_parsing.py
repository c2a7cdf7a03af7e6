"""Parses date and time values from users and programs.

    2026-01-31 · 2026-01-31T12:00 · 2026-01-31 12:00:00.5+01:00 · …Z · date · datetime ─► aware datetime

A value without an offset is in the caller's default zone: the local one for a user's input, UTC for a program's.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, tzinfo

_TIMESTAMP = re.compile(
    r"""(?P<day>\d{4}-\d\d-\d\d)
    (?: [Tt\ ] (?P<time>\d\d:\d\d (?: :\d\d (?: [.,]\d{1,9} )? )? )
        (?: (?P<utc>[Zz]) | \ ? (?P<sign>[+-]?) (?P<hours>\d\d) (?: :? (?P<minutes>\d\d) )? )?
    )?""",
    re.ASCII | re.VERBOSE,
)


def aware(at: str | date, zone: tzinfo | None = UTC) -> datetime:
    """The aware datetime. zone: used if the value names none; None: the local zone. Raises ValueError for an invalid value."""
    if isinstance(at, datetime):
        parsed = at
    elif isinstance(at, date):
        parsed = datetime(at.year, at.month, at.day)  # noqa: DTZ001 - its zone is set below
    else:
        parsed = _parse(at)
    if parsed.tzinfo is not None:
        return parsed
    try:
        return parsed.replace(tzinfo=zone) if zone is not None else parsed.astimezone()
    except OverflowError as cause:
        raise ValueError(str(cause)) from cause


def _parse(text: str) -> datetime:
    match = _TIMESTAMP.fullmatch(text.strip())
    if match is None:
        raise ValueError(text)
    clock = (match["time"] or "00:00").replace(",", ".")
    offset = "+00:00" if match["utc"] else ""
    if match["hours"]:
        # An unescaped plus sign in a URL arrives as a space.
        offset = f"{match['sign'] or '+'}{match['hours']}:{match['minutes'] or '00'}"
    return datetime.fromisoformat(f"{match['day']}T{clock}{offset}")
