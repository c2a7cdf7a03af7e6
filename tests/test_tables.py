"""Tables are read as spreadsheets of any country write them."""

from __future__ import annotations

import pytest

from relevo.tables import has_decimal_commas, separator_of


@pytest.mark.parametrize(
    ("head", "separator"),
    [("a,b", ","), ("a;b;c", ";"), ("a\tb", "\t"), ("a", ","), ("", ","), ('"x;y;z;w",b', ","), ('"x, y and z";b', ";")],
)
def test_the_separator_is_the_heads_most_frequent(head: str, separator: str) -> None:
    """What stands in quotes is a name and does not count; a single column needs no separator."""
    assert separator_of(head) == separator


@pytest.mark.parametrize(
    ("cells", "separator", "seen"),
    [
        (["1,5", "2", "-0,25"], ";", True),
        (["1,5"], "\t", True),
        (["1,5", "a"], ";", False),
        (["1.5", "2"], ";", False),
        ([], ";", False),
        (["1,234"], ",", False),
    ],
)
def test_decimal_commas_are_seen(cells: list[str], separator: str, *, seen: bool) -> None:
    """Only where every cell is a number, and the table has another separator than the comma."""
    assert has_decimal_commas(cells, separator) is seen
