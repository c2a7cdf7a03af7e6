"""Conversion of the history from the CSV of the server to Parquet."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime

import pytest

from relevo.console.parquet import to_parquet
from relevo.util.csv_dialect import protected
from relevo.web.csv_export import HEADS

pq = pytest.importorskip("pyarrow.parquet", reason="the extra 'console' is not installed")

_ROW = {
    "query_id": "0193a0b0-0000-7000-8000-000000000001",
    "at": "2026-01-31T12:00:00.000001+00:00",
    "model": "m",
    "version": "7",
    "confidence": "0.5",
    "uncertain": "false",
    "latency_ms": "0.25",
    "labelled_at": "2026-01-31T12:00:00+00:00",
}
TEXTS = ["007", "true", "=1+1", "a;=1", "'=1", "1e5", "2026-01-31", "null", "-5", "NaN", "línea\r\nlínea"]


def _to_csv(rows: list[dict[str, str]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, HEADS, restval="", lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def test_texts_stay_texts() -> None:
    """Labels and notes are unchanged, whatever they look like; times, numbers and booleans have their types."""
    rows = [_ROW | {name: protected(text) for name in ("prediction", "label", "author", "note")} for text in TEXTS]
    table = pq.read_table(io.BytesIO(to_parquet(_to_csv(rows), numbers=False)))
    for name in ("prediction", "label", "author", "note"):
        assert table[name].to_pylist() == TEXTS
    assert table["at"].to_pylist()[0] == datetime(2026, 1, 31, 12, 0, 0, 1, tzinfo=UTC)
    first = {
        name: table[name].to_pylist()[0] for name in ("version", "confidence", "uncertain", "latency_ms", "error", "asked_why")
    }
    assert first == {"version": 7, "confidence": 0.5, "uncertain": False, "latency_ms": 0.25, "error": None, "asked_why": None}


def test_a_regression_has_numeric_columns() -> None:
    """Predictions and labels of a regression are numbers."""
    table = pq.read_table(io.BytesIO(to_parquet(_to_csv([_ROW | {"prediction": "1.5", "label": "2"}]), numbers=True)))
    assert (table["prediction"].to_pylist(), table["label"].to_pylist()) == ([1.5], [2.0])


def test_many_rows_with_line_breaks() -> None:
    """Several MiB, more rows than one batch, line breaks in every note."""
    note = "one\ntwo\r\nthree" * 20
    table = pq.read_table(io.BytesIO(to_parquet(_to_csv([_ROW | {"note": note}] * 12_000), numbers=False)))
    assert table["note"].to_pylist() == [note] * 12_000


def test_an_empty_history_has_its_columns() -> None:
    """Without rows the file still has all columns."""
    table = pq.read_table(io.BytesIO(to_parquet(_to_csv([]), numbers=False)))
    assert (table.num_rows, tuple(table.column_names)) == (0, HEADS)
