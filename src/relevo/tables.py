r"""Tables as spreadsheets write them, wherever one is read: with commas, semicolons or tabs.

    head line ─ what stands in quotes left out ─ the separator it has most of ─► "," | ";" | "\t"

Where a comma is the sign of decimals, a spreadsheet separates by semicolons: such numbers are seen here, so that they are refused
and never taken for texts.
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
