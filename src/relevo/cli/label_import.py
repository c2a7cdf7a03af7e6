"""Imports labels from a CSV file, line by line: by prediction id at a server or in the folder, by a record key in the folder only.

FILE.csv ─ comma, semicolon or tab; any order of columns ─► Line(number, id or record key, label, author, note)
Line ─ record key? ─► the one prediction whose record has it; none or several: rejected
     └ id ──────────► known? a label of its model? ─► labels, up to 500 per transaction, one audit entry each
Line ─► kept | unchanged | rejected, with the reason ─► Outcome ─► the rejected lines as a CSV file
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from relevo.cli.options import current_user
from relevo.cli.translate import error_text
from relevo.domain import ids
from relevo.domain.prediction import InputKind, Label, PredictionRecord
from relevo.domain.signature import Task
from relevo.errors import (
    ImportModelError,
    InvalidInputError,
    InvalidLabelError,
    MissingInputError,
    NotFoundError,
    PermissionDeniedError,
    PredictionNotFoundError,
    RecordKeyAmbiguousError,
    RecordKeyNotFoundError,
    RelevoError,
)
from relevo.util.csv_dialect import detect_delimiter, protected, unprotected
from relevo.util.files import open_regular
from relevo.util.terminal import escape_control
from relevo.web.routes.labels import check_label

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from relevo.client import Client
    from relevo.server import Store
    from relevo.store.predictions import StoredInput

SOURCE = "csv"
REASON = "reason"
_ID_COLUMNS = ("query_id", "id")
_LABEL_COLUMNS = ("label", "truth", "value")
_MAX_CELL = 10_000
_MAX_LINE = 1_000_000
_BATCH_SIZE = 500
_PAGE_SIZE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Names of the columns to read; None: one of the usual names. Lifetime: one command."""

    query_id: str | None = None
    label: str | None = None
    key: str | None = None  # record key, in place of an id


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the file."""

    number: int  # from 1, as in an editor
    cells: dict[str, str]
    about: str  # query_id, or record key
    label: str
    author: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedLine:
    """A line that was not imported."""

    line: Line
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Contradiction:
    """Two lines of one file with different labels for one prediction."""

    line: int
    before: int  # number of the earlier line
    about: str
    label: str
    label_before: str


@dataclass(kw_only=True)
class Outcome:
    """Counts of imported and rejected lines; grows while lines are read. Lifetime: one command."""

    kept: int = 0
    unchanged: int = 0  # the same author gave the same label before
    empty: int = 0  # without a label
    refused: list[RejectedLine] = field(default_factory=list)
    contradictions: list[Contradiction] = field(default_factory=list)
    #: The rule that resolves contradictions; empty where only the server knows it.
    rule: str = ""
    _last: dict[object, tuple[int, str]] = field(default_factory=dict)

    def compare(self, line: Line, about: object) -> None:
        """Records a contradiction if an earlier line has another label. about: the prediction."""
        number, label = self._last.get(about, (line.number, line.label))
        if label != line.label:
            self.contradictions.append(
                Contradiction(line=line.number, before=number, about=line.about, label=line.label, label_before=label)
            )
        self._last[about] = line.number, line.label

    def reject(self, line: Line, reason: str) -> None:
        """Records a line that was not imported."""
        self.refused.append(RejectedLine(line=line, reason=reason))


def read_lines(path: Path, columns: Columns) -> Iterator[Line]:
    """The lines of a UTF-8 file.

    Raises MissingInputError when it cannot be read, ImportModelError when it is no CSV or lacks the columns.
    """
    try:
        with open_regular(path) as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as text:
            yield from _parse(text, columns)
    except UnicodeDecodeError as cause:
        raise ImportModelError(reason="the file is not UTF-8; save it as CSV UTF-8") from cause
    except csv.Error as cause:
        raise ImportModelError(reason=f"the file is no CSV ({cause})") from cause
    except OSError as cause:
        raise MissingInputError.with_message(f"'{path}' cannot be read: {cause.strerror or cause}.") from cause


def _parse(text: io.TextIOWrapper, columns: Columns) -> Iterator[Line]:
    csv.field_size_limit(_MAX_CELL)
    lines = _bounded_lines(text)
    first = next(lines, "")
    delimiter = detect_delimiter(first)
    header = [unprotected(name.strip()) for name in next(csv.reader([first], delimiter=delimiter), [])]
    if not header:
        raise ImportModelError(reason="its first line is empty, where the columns are named" if first else "the file is empty")
    about = _find_column(header, (columns.key or columns.query_id,) if columns.key or columns.query_id else _ID_COLUMNS)
    label = _find_column(header, (columns.label,) if columns.label else _LABEL_COLUMNS)
    reader = csv.reader(lines, delimiter=delimiter)
    for row in reader:
        if not any(row):
            continue
        cells = dict(zip(header, map(unprotected, row), strict=False))
        yield Line(
            number=reader.line_num + 1,
            cells=cells,
            about=cells.get(about, "").strip(),
            label=cells.get(label, "").strip(),
            author=cells.get("author", "").strip(),
            note=cells.get("note", "").strip(),
        )


def _bounded_lines(text: io.TextIOWrapper) -> Iterator[str]:
    """The lines of the file, each of bounded length, so that none fills the memory."""
    while line := text.readline(_MAX_LINE + 1):
        if len(line) > _MAX_LINE:
            raise ImportModelError(reason=f"the file is no CSV (a line of it is longer than {_MAX_LINE} characters)")
        yield line


def _find_column(header: list[str], names: tuple[str | None, ...]) -> str:
    for name in names:
        if name is not None and name in header:
            return name
    expected, shown = ", ".join(f"'{name}'" for name in names), escape_control(", ".join(header)[:200])
    if len(names) == 1:
        raise ImportModelError(reason=f"the file has no column {expected}; it has {shown}")
    raise ImportModelError(reason=f"the file has no column that is called one of {expected}; it has {shown}")


def rejected_as_csv(rejected: list[RejectedLine]) -> str:
    """The rejected lines with their reasons, safe to open in a spreadsheet; after correction, the file can be imported."""
    header = list(dict.fromkeys(name for entry in rejected for name in entry.line.cells if name != REASON))
    text = io.StringIO()
    writer = csv.DictWriter(text, [*header, REASON], restval="")
    writer.writerow({name: protected(name) for name in (*header, REASON)})
    for entry in rejected:
        writer.writerow({name: protected(cell) for name, cell in {**entry.line.cells, REASON: entry.reason}.items()})
    return text.getvalue()


def import_remotely(client: Client, lines: Iterable[Line], progress: Callable[[int], None]) -> Outcome:
    """Sends every line to a server, which determines the author."""
    outcome = Outcome()
    for done, line in enumerate(lines, 1):
        if not line.label:
            outcome.empty += 1
            continue
        try:
            client.label(line.about, line.label, note=line.note, wait=0)
            outcome.kept += 1
            outcome.compare(line, line.about)
        except (InvalidInputError, InvalidLabelError, PermissionDeniedError, NotFoundError) as error:
            outcome.reject(line, error_text(error))
        progress(done)
    return outcome


class LabelImporter:
    """Imports one file into the store of this folder. Lifetime: one command."""

    def __init__(self, store: Store, author: str | None) -> None:
        self._store = store
        self._author = author or current_user()
        self._outputs: dict[tuple[str, int], tuple[Task, tuple[str, ...]]] = {}  # (model, version) → task, labels
        self._batch: list[Label] = []
        #: Last label and note of each (prediction, author), including the unsaved batch.
        self._latest: dict[tuple[bytes, str], tuple[str, str]] = {}
        self.outcome = Outcome(rule=store.labels.aggregation().strategy.value)

    def run(self, lines: Iterable[Line], progress: Callable[[int], None], *, keys: dict[str, list[bytes]] | None = None) -> Outcome:
        """Imports every valid line. keys: record key → predictions with that key; None when the lines contain ids."""
        for done, line in enumerate(lines, 1):
            if not line.label:
                self.outcome.empty += 1
                continue
            try:
                self._add(line, self._find(line, keys))
            except RelevoError as error:
                self.outcome.reject(line, error_text(error))
            if len(self._batch) >= _BATCH_SIZE:
                self._save_batch()
            progress(done)
        self._save_batch()
        return self.outcome

    def _find(self, line: Line, keys: dict[str, list[bytes]] | None) -> bytes:
        if keys is None:
            prediction = ids.raw(line.about)
            if prediction is None:
                raise PredictionNotFoundError
            return prediction
        candidates = keys.get(line.about, [])
        if len(candidates) != 1:
            raise RecordKeyAmbiguousError if candidates else RecordKeyNotFoundError
        return candidates[0]

    def _add(self, line: Line, prediction: bytes) -> None:
        record = self._store.predictions.get(prediction).prediction
        check_label(line.label, *self._output_of(record))
        self.outcome.compare(line, prediction)
        author = line.author or self._author
        if self._latest_label(prediction, author) == (line.label, line.note):
            self.outcome.unchanged += 1
            return
        self._latest[prediction, author] = (line.label, line.note)
        now = datetime.now(UTC)
        self._batch.append(Label(prediction=prediction, value=line.label, author=author, source=SOURCE, at=now, note=line.note))

    def _latest_label(self, prediction: bytes, author: str) -> tuple[str, str] | None:
        if (prediction, author) in self._latest:
            return self._latest[prediction, author]
        stored = [label for label in self._store.labels.for_prediction(prediction) if label.author == author]
        return (stored[-1].value, stored[-1].note) if stored else None

    def _output_of(self, record: PredictionRecord) -> tuple[Task, tuple[str, ...]]:
        version = (record.model, record.version)
        if version not in self._outputs:
            summary = self._store.registry.version(*version).summary
            self._outputs[version] = (Task(summary["task"]), tuple(summary["labels"]))
        return self._outputs[version]

    def _save_batch(self) -> None:
        self._store.labels.put_many(self._batch)
        self.outcome.kept += len(self._batch)
        self._batch.clear()


def find_by_record_key(store: Store, model: str, field: str, values: Sequence[str]) -> dict[str, list[bytes]]:
    """Finds the predictions of a model whose record has one of these values in the field."""
    predictions: dict[str, list[bytes]] = {value: [] for value in values}
    cursor = None
    while True:
        page = store.predictions.page(model=model, cursor=cursor, limit=_PAGE_SIZE)
        for start in range(0, len(page.items), _BATCH_SIZE):
            for stored in store.predictions.inputs([item.prediction.id for item in page.items[start : start + _BATCH_SIZE]]):
                value = _field_value(stored, field)
                if value in predictions:
                    predictions[value].append(stored.prediction)
        cursor = page.next_cursor
        if cursor is None:
            return predictions


def _field_value(stored: StoredInput, field: str) -> str | None:
    if stored.data is None or stored.kind is not InputKind.RECORD:
        return None
    try:
        value = msgspec.json.decode(stored.data).get(field)
    except (msgspec.DecodeError, AttributeError):
        return None
    return None if value is None else str(value)
