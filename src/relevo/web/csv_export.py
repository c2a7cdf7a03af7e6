"""The history as CSV, a page of the database at a time; the same columns that `relevo label import` reads back.

window ─► predictions, labels that count ─► rows ─► lines in UTF-8

Whoever estimates from the labels counts by asked_why, as docs/how-to/label-predictions.md tells; once the queue is empty, weighing
each by 1 / asked_propensity comes to the same. Uncertain answers were asked about more often than others.
Texts are protected from being taken for formulas, as `relevo.util.csv_dialect` does it.
"""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from relevo.domain import ids
from relevo.util.csv_dialect import protected
from relevo.util.timestamps import from_us

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from relevo.domain.label_sampling import QueueItem
    from relevo.domain.prediction import Label
    from relevo.store.labels.labels import Labels
    from relevo.store.labels.queue import LabelQueue
    from relevo.store.predictions import PredictionStore, StoredPrediction

HEADS = (
    "query_id",
    "at",
    "model",
    "version",
    "arm",
    "kind",
    "prediction",
    "confidence",
    "uncertain",
    "latency_ms",
    "error",
    "label",
    "author",
    "source",
    "labelled_at",
    "note",
    "asked_why",
    "asked_propensity",
)
_A_PAGE = 1000


def csv_lines(history: PredictionStore, labels: Labels, asking: LabelQueue, **filters: Any) -> Iterator[bytes]:
    """The whole window, newest first: a line with the names of the columns, then one for each prediction."""
    yield _written([HEADS])
    cursor = None
    while True:
        page = history.window(cursor=cursor, limit=_A_PAGE, **filters)
        some = [stored.prediction.id for stored in page.items]
        given, asked = labels.current_many(some), asking.of(some)
        yield _written([_cells(it, given.get(it.prediction.id), asked.get(it.prediction.id)) for it in page.items])
        cursor = page.next_cursor
        if cursor is None:
            return


def _cells(stored: StoredPrediction, label: Label | None, ask: QueueItem | None) -> tuple[object, ...]:
    it = stored.prediction
    told: tuple[object, ...] = ("", "", "", "", "")
    if label is not None:
        told = (
            protected(label.value),
            protected(label.author),
            protected(label.source),
            label.at.isoformat(),
            protected(label.note),
        )
    return (
        ids.text(it.id),
        from_us(it.at_us).isoformat(),
        it.model,
        it.version,
        it.arm.value,
        it.kind.value,
        it.value if it.label is None else protected(it.label),
        it.confidence,
        str(it.uncertain).lower(),
        it.latency_us / 1000,
        it.error,
        *told,
        *(("", "") if ask is None else (ask.why.value, ask.propensity)),
    )


def _written(rows: Sequence[Sequence[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode()


def name_of(model: str | None, now: datetime) -> str:
    """What a browser saves it as."""
    return f"{model or 'predictions'}-{now.astimezone(UTC):%Y-%m-%d}.csv"
