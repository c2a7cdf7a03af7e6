"""Moments as people and programs write them, read by one rule.

    2026-01-31 · 2026-01-31T12:00 · 2026-01-31 12:00:00.5+01:00 · …Z · date · datetime ─► aware datetime

What has no offset is in the zone of whoever reads it: the local one where a person is asked, UTC where a program is.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, tzinfo

_MOMENT = re.compile(
    r"""(?P<day>\d{4}-\d\d-\d\d)
    (?: [Tt\ ] (?P<time>\d\d:\d\d (?: :\d\d (?: [.,]\d{1,9} )? )? )
        (?: (?P<utc>[Zz]) | \ ? (?P<sign>[+-]?) (?P<hours>\d\d) (?: :? (?P<minutes>\d\d) )? )?
    )?""",
    re.ASCII | re.VERBOSE,
)


def aware(at: str | date, zone: tzinfo | None = UTC) -> datetime:
    """The moment with its offset. zone: of one that names none; None: the local one. Raises ValueError for what is no moment."""
    if isinstance(at, datetime):
        found = at
    elif isinstance(at, date):
        found = datetime(at.year, at.month, at.day)  # noqa: DTZ001 - its zone comes below
    else:
        found = _read(at)
    if found.tzinfo is not None:
        return found
    try:
        return found.replace(tzinfo=zone) if zone is not None else found.astimezone()
    except OverflowError as cause:
        raise ValueError(str(cause)) from cause


def _read(text: str) -> datetime:
    match = _MOMENT.fullmatch(text.strip())
    if match is None:
        raise ValueError(text)
    clock = (match["time"] or "00:00").replace(",", ".")
    offset = "+00:00" if match["utc"] else ""
    if match["hours"]:
        # The plus of an address that was not escaped arrives as a space.
        offset = f"{match['sign'] or '+'}{match['hours']}:{match['minutes'] or '00'}"
    return datetime.fromisoformat(f"{match['day']}T{clock}{offset}")
