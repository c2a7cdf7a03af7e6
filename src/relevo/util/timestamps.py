"""Timestamps of the database: whole microseconds since 1970, UTC, as 64-bit integers; aware datetimes everywhere else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LAST_MS = 2**48 - 1


def to_us(at: datetime) -> int:
    """Whole microseconds since 1970. Raises ValueError for a datetime without a time zone."""
    if at.tzinfo is None:
        raise ValueError("a moment needs a time zone")
    return (at - _EPOCH) // _MICROSECOND


def from_us(at_us: int) -> datetime:
    """The aware UTC datetime for microseconds since 1970."""
    return _EPOCH + at_us * _MICROSECOND


def min_id_at(at: datetime) -> bytes:
    """The smallest UUIDv7 of the millisecond of `at`; every id of an earlier millisecond is smaller."""
    unix_ms = min(max(to_us(at) // 1000, 0), _LAST_MS)
    return unix_ms.to_bytes(6, "big") + bytes(10)
