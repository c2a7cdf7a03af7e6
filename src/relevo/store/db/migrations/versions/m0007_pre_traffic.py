"""How many requests there were in each minute and hour; those already in the history are counted."""

from __future__ import annotations

import struct
from math import log10

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_AT_ONCE = 5000
_LATENCIES, _SHARES = 128, 20
_HISTORY = sa.text("SELECT at_us, model, version, latency_us, confidence, uncertain, error FROM predictions WHERE arm <> 'shadow'")
_KEY = ("model", "step_s", "start_s", "version")
_COUNTS = ("requests", "errors", "uncertain", "latency_us", "confidence", "latencies", "confidences")

_traffic = sa.table("traffic", *map(sa.column, _KEY + _COUNTS))


class _Cell:
    """One minute or hour of one version."""

    def __init__(self) -> None:
        """Nothing so far."""
        self.requests = self.errors = self.uncertain = self.latency_us = 0
        self.confidence = 0.0
        self.latencies, self.confidences = [0] * _LATENCIES, [0] * _SHARES

    def add(self, row: sa.Row[tuple[object, ...]]) -> None:
        """Count one prediction."""
        self.requests += 1
        if row.error is not None:
            self.errors += 1
            return
        self.uncertain += bool(row.uncertain)
        self.latency_us += row.latency_us
        self.latencies[min(int(16 * log10(max(1, row.latency_us))), _LATENCIES - 1)] += 1
        if row.confidence is not None:
            self.confidence += row.confidence
            self.confidences[min(max(int(row.confidence * _SHARES), 0), _SHARES - 1)] += 1


def upgrade() -> None:
    """Whoever runs the older code goes on without counting."""
    op.create_table(
        "traffic",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("step_s", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("start_s", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("errors", sa.BigInteger(), nullable=False),
        sa.Column("uncertain", sa.BigInteger(), nullable=False),
        sa.Column("latency_us", sa.BigInteger(), nullable=False),
        sa.Column("confidence", sa.Float(), nullable=False),
        sa.Column("latencies", sa.LargeBinary(), nullable=False),
        sa.Column("confidences", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("model", "step_s", "start_s", "version", name="pk_traffic"),
        sqlite_with_rowid=False,
    )
    counted = [dict(zip(_KEY, key, strict=True)) | _columns(cell) for key, cell in _counted().items()]
    for start in range(0, len(counted), _AT_ONCE):
        op.bulk_insert(_traffic, counted[start : start + _AT_ONCE])


def _counted() -> dict[tuple[object, ...], _Cell]:
    cells: dict[tuple[object, ...], _Cell] = {}
    for row in op.get_bind().execute(_HISTORY.execution_options(yield_per=_AT_ONCE)):
        for step in (60, 3600):
            cells.setdefault((row.model, step, row.at_us // 1_000_000 // step * step, row.version), _Cell()).add(row)
    return cells


def _columns(cell: _Cell) -> dict[str, object]:
    packed = {"latencies": struct.pack(f"<{_LATENCIES}I", *cell.latencies)}
    packed["confidences"] = struct.pack(f"<{_SHARES}I", *cell.confidences)
    return {name: getattr(cell, name) for name in _COUNTS} | packed
