"""A CSV of labels, read as people write it, and held line by line against the history. Nothing is guessed, and no line is lost.

FILE.csv ─ comma, semicolon or tab; any order of columns ─► Line(number, id or own key, label, author, note)
Line ─► kept | said before | refused, with the reason ─► Outcome ─► the refused lines as a file of their own
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from relevo.errors import ImportModelError, MissingInputError
from relevo.util.csv_dialect import detect_delimiter, protected, unprotected
from relevo.util.files import open_regular
from relevo.util.terminal import escape_control

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_IDS = ("query_id", "id")
_LABELS = ("label", "truth", "value")
_MOST_CELL = 10_000
_LONGEST_LINE = 1_000_000
REASON = "reason"


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Which columns are read; None: the usual names are looked for."""

    query_id: str | None = None
    label: str | None = None
    key: str | None = None  # one's own key, in place of an id


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the file."""

    number: int  # as an editor counts
    cells: dict[str, str]
    about: str  # query_id, or one's own key
    label: str
    author: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A line that was not kept."""

    line: Line
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Contradiction:
    """Two lines of one file that tell different truths of one prediction."""

    line: int
    before: int  # the line before it
    about: str
    label: str
    label_before: str


@dataclass(kw_only=True)
class Outcome:
    """What became of the lines; grows while they are read."""

    kept: int = 0
    unchanged: int = 0  # the same person said the same before
    empty: int = 0  # without a label: nobody has said anything yet
    refused: list[Refused] = field(default_factory=list)
    contradictions: list[Contradiction] = field(default_factory=list)
    #: By which rule one of two truths counts; empty where nobody but the server knows.
    rule: str = ""
    _last: dict[object, tuple[int, str]] = field(default_factory=dict)

    def compare(self, line: Line, about: object) -> None:
        """Note when an earlier line told another truth. about: the prediction."""
        number, label = self._last.get(about, (line.number, line.label))
        if label != line.label:
            self.contradictions.append(
                Contradiction(line=line.number, before=number, about=line.about, label=line.label, label_before=label)
            )
        self._last[about] = line.number, line.label

    def refuse(self, line: Line, reason: str) -> None:
        """Note why a line was not kept."""
        self.refused.append(Refused(line=line, reason=reason))


def lines_of(path: Path, columns: Columns) -> Iterator[Line]:
    """The lines of a file, UTF-8.

    Raises MissingInputError when it cannot be read, ImportModelError for no CSV or one without the columns.
    """
    try:
        with open_regular(path) as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as text:
            yield from _lines(text, columns)
    except UnicodeDecodeError as cause:
        raise ImportModelError(reason="the file is not UTF-8; save it as CSV UTF-8") from cause
    except csv.Error as cause:
        raise ImportModelError(reason=f"the file is no CSV ({cause})") from cause
    except OSError as cause:
        raise MissingInputError.told(f"'{path}' cannot be read: {cause.strerror or cause}.") from cause


def _lines(text: io.TextIOWrapper, columns: Columns) -> Iterator[Line]:
    csv.field_size_limit(_MOST_CELL)
    lines = _bounded(text)
    first = next(lines, "")
    delimiter = detect_delimiter(first)
    heads = [unprotected(name.strip()) for name in next(csv.reader([first], delimiter=delimiter), [])]
    if not heads:
        raise ImportModelError(reason="its first line is empty, where the columns are named" if first else "the file is empty")
    about = _chosen(heads, (columns.key or columns.query_id,) if columns.key or columns.query_id else _IDS)
    label = _chosen(heads, (columns.label,) if columns.label else _LABELS)
    reader = csv.reader(lines, delimiter=delimiter)
    for row in reader:
        if not any(row):
            continue
        cells = dict(zip(heads, map(unprotected, row), strict=False))
        yield Line(
            number=reader.line_num + 1,
            cells=cells,
            about=cells.get(about, "").strip(),
            label=cells.get(label, "").strip(),
            author=cells.get("author", "").strip(),
            note=cells.get("note", "").strip(),
        )


def _bounded(text: io.TextIOWrapper) -> Iterator[str]:
    """The lines as they stand, none of which fills the memory."""
    while line := text.readline(_LONGEST_LINE + 1):
        if len(line) > _LONGEST_LINE:
            raise ImportModelError(reason=f"the file is no CSV (a line of it is longer than {_LONGEST_LINE} characters)")
        yield line


def _chosen(heads: list[str], names: tuple[str | None, ...]) -> str:
    for name in names:
        if name is not None and name in heads:
            return name
    wanted, shown = ", ".join(f"'{name}'" for name in names), escape_control(", ".join(heads)[:200])
    if len(names) == 1:
        raise ImportModelError(reason=f"the file has no column {wanted}; it has {shown}")
    raise ImportModelError(reason=f"the file has no column that is called one of {wanted}; it has {shown}")


def refused_as_csv(refused: list[Refused]) -> str:
    """The refused lines as they were, each with its reason: a spreadsheet may open the file, and mended it can be imported."""
    heads = list(dict.fromkeys(name for one in refused for name in one.line.cells if name != REASON))
    text = io.StringIO()
    writer = csv.DictWriter(text, [*heads, REASON], restval="")
    writer.writerow({name: protected(name) for name in (*heads, REASON)})
    writer.writerows({name: protected(cell) for name, cell in {**one.line.cells, REASON: one.reason}.items()} for one in refused)
    return text.getvalue()
