r"""Reads and writes CSV as spreadsheets do: detects the delimiter, and protects cells against formula injection.

    header line ─ without quoted parts ─ most frequent delimiter ─► "," | ";" | "\t"
    text ─ unique column names, rows as long as the header, blank lines skipped ─► Table, with the line number of each row

In locales with a decimal comma, spreadsheets separate by semicolons: such numbers are detected here, so that they are rejected and
not read as text.

    a;=1 ─ protected ─► a;'=1 ─ unprotected ─► a;=1

A spreadsheet evaluates a cell that begins with = + - or @ as a formula, and where a cell begins depends on the delimiter of the
program that opens the file. So an apostrophe is put before everything that would begin a formula after any delimiter, except numbers.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

_DELIMITERS = (",", ";", "\t")
_QUOTED = re.compile(r'"[^"]*"')
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+")
_WHOLE = re.compile(r"[+-]?\d+")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
#: Where a cell may begin: at the start, and after a character by which some spreadsheet separates cells or lines.
_CELL_START = r"(\A|[,;|\t\r\n\v\f\x1c-\x1e\x85\u2028\u2029])"
#: The beginning of a formula, also in full-width characters, or a control character; preceding quotes and spaces do not matter.
_FORMULA = r"(?=['\"\s\ufeff\u200b]*[=+\-@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b\u2212\x00-\x1f\x7f-\x9f])"
_PROTECT = re.compile(_CELL_START + _FORMULA)
_UNPROTECT = re.compile(f"{_CELL_START}'{_FORMULA}")


class InvalidCsvError(ValueError):
    """The text is not a table that can be read without loss; the message says why."""

    def __init__(self, *, reason: str) -> None:
        """reason: the message."""
        super().__init__(reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table as text. Lifetime: the import that reads it."""

    names: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]  # each as long as `names`
    lines: tuple[int, ...]  # line number where each row ends in the file, from 1
    separator: str

    def column(self, name: str) -> tuple[str, ...]:
        """The cells of one column."""
        index = self.names.index(name)
        return tuple(row[index] for row in self.rows)


def read_table(file: TextIO, name: str) -> Table:
    """Reads the table from an open file; `name` is its name in error messages. Raises InvalidCsvError, csv.Error."""
    separator = detect_delimiter(file.readline())
    file.seek(0)
    reader = csv.reader(file, delimiter=separator)
    numbered = [(reader.line_num, tuple(row)) for row in reader if any(cell.strip() for cell in row)]
    if not numbered:
        raise InvalidCsvError(reason=f"'{name}' is empty")
    names, body = numbered[0][1], numbered[1:]
    width = len(names)
    wrong_length = [(line, len(row)) for line, row in body if len(row) != width and any(row[width:] or (len(row) < width,))]
    if wrong_length:
        raise InvalidCsvError(
            reason=f"'{name}' has lines of another length than its head: {len(wrong_length)}, the first is line {wrong_length[0][0]} "
            f"({wrong_length[0][1]} cells for {width} columns)"
        )
    rows = [row[:width] for _, row in body]
    # A trailing delimiter on each line, as spreadsheets write it, gives a column without name and values, which is dropped.
    kept = [index for index in range(width) if names[index].strip() or any(row[index].strip() for row in rows)]
    _check_names([names[index] for index in kept], name)
    return Table(
        names=tuple(names[index] for index in kept),
        rows=tuple(tuple(row[index] for index in kept) for row in rows),
        lines=tuple(line for line, _ in body),
        separator=separator,
    )


def _check_names(names: Sequence[str], file: str) -> None:
    """Checks that all columns have distinct names. Raises InvalidCsvError."""
    unnamed = next((index for index, column in enumerate(names, 1) if not column.strip()), None)
    if unnamed is not None:
        raise InvalidCsvError(reason=f"the head line of '{file}' gives column {unnamed} no name; name it, or remove the column")
    repeated, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise InvalidCsvError(reason=f"'{file}' has {count} columns named '{repeated}'; rename them, or remove all but one")


def detect_delimiter(header: str) -> str:
    """The delimiter of a table with this header line: the most frequent one outside quotes; a comma if there is none."""
    unquoted = _QUOTED.sub("", header)
    return max(_DELIMITERS, key=unquoted.count)


def has_decimal_commas(cells: Sequence[str], separator: str) -> bool:
    """Whether a column of a table not separated by commas holds only numbers, some of them with a decimal comma.

    cells: the non-empty cells.
    """
    if separator == ",":
        return False
    texts = [cell.strip() for cell in cells]
    decimals = [cell for cell in texts if _DECIMAL_COMMA.fullmatch(cell)]
    return bool(decimals) and all(_WHOLE.fullmatch(cell) for cell in texts if not _DECIMAL_COMMA.fullmatch(cell))


def protected(text: str) -> str:
    """A text as a CSV cell that no spreadsheet evaluates as a formula, whatever its delimiter."""
    return text if _NUMBER.fullmatch(text) else _PROTECT.sub(r"\1'", text)


def unprotected(cell: str) -> str:
    """The original text of a cell that `protected` returned."""
    return _UNPROTECT.sub(r"\1", cell)
