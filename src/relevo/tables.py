r"""Tables as spreadsheets write them, wherever one is read: with commas, semicolons or tabs.

    head line ─ what stands in quotes left out ─ the separator it has most of ─► "," | ";" | "\t"

Where a comma is the sign of decimals, a spreadsheet separates by semicolons: such numbers are seen here, so that they are refused
and never taken for texts.

    a;=1 ─ protected ─► a;'=1 ─ unprotected ─► a;=1

A spreadsheet takes a cell that begins with = + - or @ for a formula, and where a cell begins depends on the separator that whoever
opens the file has. An apostrophe stands before everything that would begin a formula behind any separator; a number stays.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def separator_of(head: str) -> str:
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
