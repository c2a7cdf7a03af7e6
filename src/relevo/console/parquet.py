"""Converts the prediction history from the CSV of the server to Parquet, with column types and unescaped texts.

GET /predictions.csv ─► cells ─ remove formula escapes ─► declared types ─► Parquet
"""

from __future__ import annotations

import csv
import io
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from relevo.util.csv_dialect import unprotected

if TYPE_CHECKING:
    from collections.abc import Callable

#: Columns that are not text. `prediction` and `label` are text unless the model is a regression.
_COLUMN_KINDS = {
    "at": "moment",
    "version": "whole",
    "confidence": "number",
    "uncertain": "yes_no",
    "latency_ms": "number",
    "labelled_at": "moment",
    "asked_propensity": "number",
}
_PARSERS: dict[str, Callable[[str], Any]] = {
    "moment": datetime.fromisoformat,
    "whole": int,
    "number": float,
    "yes_no": lambda cell: cell == "true",
    "text": unprotected,
}
_BATCH_ROWS = 10_000


def to_parquet(content: bytes, *, numbers: bool) -> bytes:
    """The CSV as Parquet; an empty cell is null. numbers: whether the model predicts numbers rather than labels."""
    import pyarrow as pa  # type: ignore[import-untyped]  # ships no types
    from pyarrow import parquet

    types = {"moment": pa.timestamp("us", tz="UTC"), "whole": pa.int64(), "number": pa.float64(), "yes_no": pa.bool_()}
    rows = csv.reader(io.StringIO(content.decode(), newline=""))
    names = next(rows)
    kinds = [("number" if numbers and name in ("prediction", "label") else _COLUMN_KINDS.get(name, "text")) for name in names]
    schema = pa.schema([(name, types.get(kind, pa.string())) for name, kind in zip(names, kinds, strict=True)])
    target = io.BytesIO()
    with parquet.ParquetWriter(target, schema) as writer:
        while batch := list(islice(rows, _BATCH_ROWS)):
            columns = zip(kinds, zip(*batch, strict=True), strict=True)
            cells = [[_PARSERS[kind](cell) if cell else None for cell in column] for kind, column in columns]
            writer.write_table(pa.table(cells, schema=schema))
    return target.getvalue()
