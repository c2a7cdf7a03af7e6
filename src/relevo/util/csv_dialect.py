r"""Tables as spreadsheets write them, wherever one is read: with commas, semicolons or tabs.

    head line ─ what stands in quotes left out ─ the separator it has most of ─► "," | ";" | "\t"
    text ─ names distinct, each row as long as the head, blank lines left out ─► Table, with the line of each row

Where a comma is the sign of decimals, a spreadsheet separates by semicolons: such numbers are seen here, so that they are refused
and never taken for texts.

    a;=1 ─ protected ─► a;'=1 ─ unprotected ─► a;=1

A spreadsheet takes a cell that begins with = + - or @ for a formula, and where a cell begins depends on the separator that whoever
opens the file has. An apostrophe stands before everything that would begin a formula behind any separator; a number stays.
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

_SEPARATORS = (",", ";", "\t")
_QUOTED = re.compile(r'"[^"]*"')
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+")
_WHOLE = re.compile(r"[+-]?\d+")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
#: Where a cell may begin: at the start, and behind what some spreadsheet separates cells or lines by.
_BEGINNING = r"(\A|[,;|\t\r\n\v\f\x1c-\x1e\x85\u2028\u2029])"
#: What begins a formula, in full width too, or steers a terminal; quotes and spaces before it do not help.
_FORMULA = r"(?=['\"\s\ufeff\u200b]*[=+\-@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b\u2212\x00-\x1f\x7f-\x9f])"
_PROTECT = re.compile(_BEGINNING + _FORMULA)
_UNPROTECT = re.compile(f"{_BEGINNING}'{_FORMULA}")


class InvalidCsvError(ValueError):
    """What is no table that can be read without losing some of it; its text says why."""

    def __init__(self, *, reason: str) -> None:
        """Keep the sentence."""
        super().__init__(reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table as texts; lives as long as it is read."""

    names: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]  # each as long as `names`
    lines: tuple[int, ...]  # where each row ends in the file, from 1
    separator: str

    def column(self, name: str) -> tuple[str, ...]:
        """The cells of one column."""
        place = self.names.index(name)
        return tuple(row[place] for row in self.rows)


def read_table(file: TextIO, name: str) -> Table:
    """The table in an open file, which is called `name` where it is refused. Raises InvalidCsvError, csv.Error."""
    separator = detect_delimiter(file.readline())
    file.seek(0)
    reader = csv.reader(file, delimiter=separator)
    numbered = [(reader.line_num, tuple(row)) for row in reader if any(cell.strip() for cell in row)]
    if not numbered:
        raise InvalidCsvError(reason=f"'{name}' is empty")
    names, found = numbered[0][1], numbered[1:]
    width = len(names)
    odd = [(line, len(row)) for line, row in found if len(row) != width and any(row[width:] or (len(row) < width,))]
    if odd:
        raise InvalidCsvError(
            reason=f"'{name}' has lines of another length than its head: {len(odd)}, the first is line {odd[0][0]} "
            f"({odd[0][1]} cells for {width} columns)"
        )
    rows = [row[:width] for _, row in found]
    # A separator at the end of each line, as spreadsheets leave it, names no column and holds nothing.
    named = [place for place in range(width) if names[place].strip() or any(row[place].strip() for row in rows)]
    _refuse_names([names[place] for place in named], name)
    return Table(
        names=tuple(names[place] for place in named),
        rows=tuple(tuple(row[place] for place in named) for row in rows),
        lines=tuple(line for line, _ in found),
        separator=separator,
    )


def _refuse_names(names: Sequence[str], file: str) -> None:
    """Columns that cannot be told apart. Raises InvalidCsvError."""
    nameless = next((place for place, one in enumerate(names, 1) if not one.strip()), None)
    if nameless is not None:
        raise InvalidCsvError(reason=f"the head line of '{file}' gives column {nameless} no name; name it, or remove the column")
    twice, times = Counter(names).most_common(1)[0]
    if times > 1:
        raise InvalidCsvError(reason=f"'{file}' has {times} columns named '{twice}'; rename them, or remove all but one")


def detect_delimiter(head: str) -> str:
    """The separator of a table with this head line: the most frequent outside quotes, a comma where there is none."""
    plain = _QUOTED.sub("", head)
    return max(_SEPARATORS, key=plain.count)


def has_decimal_commas(cells: Sequence[str], separator: str) -> bool:
    """Whether a column of a table not separated by commas holds numbers only, and some with a decimal comma.

    cells: those in which something stands.
    """
    if separator == ",":
        return False
    told = [cell.strip() for cell in cells]
    decimals = [cell for cell in told if _DECIMAL_COMMA.fullmatch(cell)]
    return bool(decimals) and all(_WHOLE.fullmatch(cell) for cell in told if not _DECIMAL_COMMA.fullmatch(cell))


def protected(text: str) -> str:
    """A text as a cell of a CSV that no spreadsheet takes for a formula, whatever it separates cells by."""
    return text if _NUMBER.fullmatch(text) else _PROTECT.sub(r"\1'", text)


def unprotected(cell: str) -> str:
    """The text that `protected` made the cell of."""
    return _UNPROTECT.sub(r"\1", cell)
