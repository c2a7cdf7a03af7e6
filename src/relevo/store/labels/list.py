"""Lists labels, newest first, with the model and prediction of each.

labels ⨝ predictions ─ filters, cursor ─► page
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict, Unpack

from sqlalchemy import func, select

from relevo.domain.prediction import Label, ReviewStatus
from relevo.store.db.engine import read_transaction
from relevo.store.db.tables import label_reviews, labels, predictions
from relevo.store.db.text import strip_unstorable
from relevo.store.labels.resolved import label_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection, Engine

    from relevo.store.labels.notes import Notes

#: An expression that no index covers, so that the planner scans labels from the newest instead of all predictions of a model.
_MODEL = predictions.c.model.concat("")


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelEntry:
    """A label with the model and the prediction it is about."""

    label: Label
    model: str
    version: int
    answer: str | float | None  # prediction of the model


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelPage:
    """One page of labels, newest first, and the cursor of the next."""

    items: list[LabelEntry]
    next_cursor: int | None  # None on the last page


class LabelFilters(TypedDict, total=False):
    """Filters of a query; each may be missing or None."""

    model: str | None
    models: list[str] | None  # any of these
    author: str | None
    source: str | None


def list_labels(
    engine: Engine, notes: Notes, *, cursor: int | None = None, limit: int = 50, **filters: Unpack[LabelFilters]
) -> LabelPage:
    """Returns a page of labels whose predictions are stored, newest first. Raises DatabaseUnavailableError."""
    columns = (labels, predictions.c.model, predictions.c.version, predictions.c.label, predictions.c.value.label("number"))
    query = select(*columns).join(predictions, predictions.c.id == labels.c.prediction).where(*_conditions(filters))
    if cursor is not None:
        query = query.where(labels.c.serial < cursor)
    with read_transaction(engine) as connection:
        rows = connection.execute(query.order_by(labels.c.serial.desc()).limit(limit + 1)).all()
        reviews = _last_reviews(connection, [row.serial for row in rows])
        texts = [notes.read(connection, row) for row in rows[:limit]]
    items = [
        LabelEntry(
            label=label_of(row, reviews.get(row.serial, ReviewStatus.PENDING), note),
            model=row.model,
            version=row.version,
            answer=row.number if row.label is None else row.label,
        )
        for row, note in zip(rows[:limit], texts, strict=True)
    ]
    return LabelPage(items=items, next_cursor=items[-1].label.serial if len(rows) > limit else None)


def _conditions(filters: LabelFilters) -> list[ColumnElement[bool]]:
    result: list[ColumnElement[bool]] = []
    if (model := filters.get("model")) is not None:
        result.append(_MODEL.in_([strip_unstorable(model)]))
    if (models := filters.get("models")) is not None:
        result.append(_MODEL.in_([strip_unstorable(model) for model in models]))
    if (author := filters.get("author")) is not None:
        result.append(labels.c.author == strip_unstorable(author))
    if (source := filters.get("source")) is not None:
        result.append(labels.c.source == strip_unstorable(source))
    return result


def _last_reviews(connection: Connection, serials: Sequence[int]) -> dict[int, ReviewStatus]:
    newest = select(func.max(label_reviews.c.serial)).where(label_reviews.c.label.in_(serials)).group_by(label_reviews.c.label)
    rows = connection.execute(select(label_reviews.c.label, label_reviews.c.verdict).where(label_reviews.c.serial.in_(newest)))
    return {row.label: ReviewStatus(row.verdict) for row in rows}
