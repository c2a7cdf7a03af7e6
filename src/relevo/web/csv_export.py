"""Streams the prediction history as CSV, one database page at a time. `relevo label import` reads the same columns back.

query ─► predictions, effective labels ─► rows ─► UTF-8 lines

Labels are a biased sample, since uncertain predictions enter the label queue more often. Estimates must stratify by asked_why, as
docs/how-to/label-predictions.md explains; once the queue is empty, weighting each label by 1 / asked_propensity gives the same result.
Text cells are escaped against formula injection by `relevo.util.csv_dialect`.
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
_PAGE_SIZE = 1000


def csv_lines(history: PredictionStore, labels: Labels, queue: LabelQueue, **filters: Any) -> Iterator[bytes]:
    """All predictions that match the filters, newest first: a header line, then one line for each prediction."""
    yield _encode_rows([HEADS])
    cursor = None
    while True:
        page = history.page(cursor=cursor, limit=_PAGE_SIZE, **filters)
        prediction_ids = [stored.prediction.id for stored in page.items]
        current_labels, queue_items = labels.resolved_many(prediction_ids), queue.sampling_info(prediction_ids)
        yield _encode_rows(
            [
                _cells(stored, current_labels.get(stored.prediction.id), queue_items.get(stored.prediction.id))
                for stored in page.items
            ]
        )
        cursor = page.next_cursor
        if cursor is None:
            return


def _cells(stored: StoredPrediction, label: Label | None, queue_item: QueueItem | None) -> tuple[object, ...]:
    record = stored.prediction
    label_cells: tuple[object, ...] = ("", "", "", "", "")
    if label is not None:
        label_cells = (
            protected(label.value),
            protected(label.author),
            protected(label.source),
            label.at.isoformat(),
            protected(label.note),
        )
    return (
        ids.text(record.id),
        from_us(record.at_us).isoformat(),
        record.model,
        record.version,
        record.arm.value,
        record.kind.value,
        record.value if record.predicted_label is None else protected(record.predicted_label),
        record.confidence,
        str(record.uncertain).lower(),
        record.latency_us / 1000,
        record.error,
        *label_cells,
        *(("", "") if queue_item is None else (queue_item.reason.value, queue_item.propensity)),
    )


def _encode_rows(rows: Sequence[Sequence[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode()


def file_name(model: str | None, now: datetime) -> str:
    """File name of the download."""
    return f"{model or 'predictions'}-{now.astimezone(UTC):%Y-%m-%d}.csv"
