"""The history as CSV, a page of the database at a time; the same columns that `relevo label import` reads back.

window ─► predictions, labels that count ─► rows ─► lines in UTF-8

Whoever estimates from the labels counts by asked_why, as docs/how-to/label-predictions.md tells; once the queue is empty, weighing
each by 1 / asked_propensity comes to the same. Uncertain answers were asked about more often than others.
A spreadsheet takes a cell that begins with = + - or @ for a formula. Such texts get an apostrophe before them, numbers stay.
"""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from relevo.domain import ids
from relevo.store.moments import moment

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from relevo.domain.asking import Ask
    from relevo.domain.prediction import Label
    from relevo.store.asking import Asking
    from relevo.store.history import History, Stored
    from relevo.store.labels import Labels

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
#: What steers, and what would be taken for the apostrophe of ours.
_STEERING = re.compile(r"'*[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_ESCAPE = "'"


def lines(history: History, labels: Labels, asking: Asking, **filters: Any) -> Iterator[bytes]:  # noqa: ANN401 - what narrows a window
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


def safe(text: str) -> str:
    """A text as a cell that no spreadsheet takes for a formula."""
    return _ESCAPE + text if _STEERING.match(text) and not _NUMBER.fullmatch(text) else text


def unsafe(cell: str) -> str:
    """The text that `safe` made the cell of."""
    return cell[1:] if cell.startswith(_ESCAPE) and _STEERING.match(cell) else cell


def _cells(stored: Stored, label: Label | None, ask: Ask | None) -> tuple[object, ...]:
    it = stored.prediction
    told: tuple[object, ...] = ("", "", "", "", "")
    if label is not None:
        told = (safe(label.value), safe(label.author), safe(label.source), label.at.isoformat(), safe(label.note))
    return (
        ids.text(it.id),
        moment(it.at_us).isoformat(),
        it.model,
        it.version,
        it.arm.value,
        it.kind.value,
        it.value if it.label is None else safe(it.label),
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
