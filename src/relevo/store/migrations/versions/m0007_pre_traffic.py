"""How many requests there were in each minute and hour; those already in the history are counted."""

from __future__ import annotations

from math import log10
from typing import TYPE_CHECKING

import sqlalchemy as sa
from alembic import op

if TYPE_CHECKING:
    from collections.abc import Iterator

revision = "0007"
down_revision = "0006"

_AT_ONCE = 10_000
_HISTORY = sa.text("SELECT at_us, model, version, latency_us, confidence, uncertain, error FROM predictions WHERE arm <> 'shadow'")

_traffic = sa.table("traffic", *map(sa.column, ("model", "step_s", "start_s", "version", "measure", "bin", "times", "total")))


def upgrade() -> None:
    """Whoever runs the older code goes on without counting."""
    op.create_table(
        "traffic",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("step_s", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("start_s", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("measure", sa.Text(), nullable=False),
        sa.Column("bin", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("times", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("model", "step_s", "start_s", "version", "measure", "bin", name="pk_traffic"),
        sqlite_with_rowid=False,
    )
    counted = _counted()
    for start in range(0, len(counted), _AT_ONCE):
        op.bulk_insert(_traffic, counted[start : start + _AT_ONCE])


def _counted() -> list[dict[str, object]]:
    counts: dict[tuple[object, ...], list[float]] = {}
    for row in op.get_bind().execute(_HISTORY.execution_options(yield_per=_AT_ONCE)):
        for measure, number, total in _measures(row):
            for step in (60, 3600):
                key = (row.model, step, row.at_us // 1_000_000 // step * step, row.version, measure, number)
                cell = counts.setdefault(key, [0, 0.0])
                cell[0] += 1
                cell[1] += total
    names = ("model", "step_s", "start_s", "version", "measure", "bin")
    return [dict(zip(names, key, strict=True)) | {"times": times, "total": total} for key, (times, total) in counts.items()]


def _measures(row: sa.Row[tuple[object, ...]]) -> Iterator[tuple[str, int, float]]:
    yield "requests", 0, 0.0
    if row.error is not None:
        yield "errors", 0, 0.0
        return
    if row.uncertain:
        yield "uncertain", 0, 0.0
    yield "latency", min(int(16 * log10(max(1, row.latency_us))), 127), float(row.latency_us)
    if row.confidence is not None:
        yield "confidence", min(max(int(row.confidence * 20), 0), 19), row.confidence
