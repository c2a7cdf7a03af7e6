"""Records as notebooks hold them, as plain JSON values: DataFrames, Series and NumPy's scalars.

DataFrame ─ rows_of ─► dicts ─┐
Series · dict ────────────────┴─ record_of ─► {name: JSON value}

Libraries are recognised by what their objects can do, so none of them is imported here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, time
from decimal import Decimal
from typing import Any

_MISSING = ("NAType", "NaTType")


def plain(value: Any) -> Any:
    """A cell as JSON has it: NumPy's scalars as Python's, dates as ISO 8601, and every way of saying *missing* as None.

    A value of another kind is returned as it is.
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
    """Whether it is a DataFrame."""
    return hasattr(value, "columns") and (hasattr(value, "to_dict") or hasattr(value, "to_dicts"))


def is_record(value: object) -> bool:
    """Whether it is one record: a mapping or a Series, as a row of a DataFrame is."""
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
    """One record with its names as text and its values plain."""
    found = record.to_dict() if _is_series(record) else record
    return {str(name): plain(value) for name, value in found.items()}


def _is_series(value: object) -> bool:
    return (
        hasattr(value, "to_dict") and hasattr(value, "index") and not hasattr(value, "columns") and not isinstance(value, Mapping)
    )
