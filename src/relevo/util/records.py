"""Converts the records of a notebook to plain JSON values: DataFrames, Series and NumPy scalars.

DataFrame ─ rows_of ─► dicts ─┐
Series · dict ────────────────┴─ record_of ─► {name: JSON value}

Objects are recognised by their attributes, so neither pandas nor Polars nor NumPy is imported.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, time
from decimal import Decimal
from typing import Any

_MISSING = ("NAType", "NaTType")


def plain(value: Any) -> Any:
    """A cell as a JSON value: NumPy scalars as Python scalars, dates as ISO 8601, every kind of missing value as None.

    A value of any other type is returned unchanged.
    """
    if hasattr(value, "dtype") and hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()
    if type(value).__name__ in _MISSING:
        return None
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, date | time):
        return value.isoformat()
    return None if isinstance(value, float) and math.isnan(value) else value


def is_table(value: object) -> bool:
    """Whether the value is a DataFrame."""
    return hasattr(value, "columns") and (hasattr(value, "to_dict") or hasattr(value, "to_dicts"))


def is_record(value: object) -> bool:
    """Whether the value is one record: a mapping, or a Series such as a row of a DataFrame."""
    return isinstance(value, Mapping) or _is_series(value)


def rows_of(table: Any) -> list[dict[str, Any]]:
    """The rows of a DataFrame as dicts. Raises ValueError when two columns have the same name."""
    names = [str(name) for name in table.columns]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise ValueError(repeated)
    rows = table.to_dicts() if hasattr(table, "to_dicts") else table.to_dict(orient="records")
    return [record_of(row) for row in rows]


def record_of(record: Any) -> dict[str, Any]:
    """One record with text keys and plain values."""
    values = record.to_dict() if _is_series(record) else record
    return {str(name): plain(value) for name, value in values.items()}


def _is_series(value: object) -> bool:
    return (
        hasattr(value, "to_dict") and hasattr(value, "index") and not hasattr(value, "columns") and not isinstance(value, Mapping)
    )
