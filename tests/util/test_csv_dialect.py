"""Tables are read in the CSV dialects of all locales."""

from __future__ import annotations

import csv
import io
import random

import pytest

from relevo.util.csv_dialect import detect_delimiter, has_decimal_commas, protected, unprotected


@pytest.mark.parametrize(
    ("head", "separator"),
    [("a,b", ","), ("a;b;c", ";"), ("a\tb", "\t"), ("a", ","), ("", ","), ('"x;y;z;w",b', ","), ('"x, y and z";b', ";")],
)
def test_the_separator_is_the_heads_most_frequent(head: str, separator: str) -> None:
    """Quoted parts are names and do not count; a single column needs no delimiter."""
    assert detect_delimiter(head) == separator


@pytest.mark.parametrize(
    ("cells", "separator", "expected"),
    [
        (["1,5", "2", "-0,25"], ";", True),
        (["1,5"], "\t", True),
        (["1,5", "a"], ";", False),
        (["1.5", "2"], ";", False),
        ([], ";", False),
        (["1,234"], ",", False),
    ],
)
def test_decimal_commas_are_seen(cells: list[str], separator: str, *, expected: bool) -> None:
    """Only if every cell is a number, and the delimiter is not a comma."""
    assert has_decimal_commas(cells, separator) is expected


_SIGNS = ["=", "+", "-", "@", "\uff1d", "\uff0b", "\u2212", "'", '"', "\x00"]
_PIECES = [*_SIGNS, " ", ",", ";", "\t", "|", "\n", "\r\n", "\u2028", "a", "1", "SUM(A1)"]


def _texts() -> list[str]:
    draw = random.Random(3)  # noqa: S311 - texts, no secret
    return ["".join(draw.choices(_PIECES, k=draw.randint(1, 9))) for _ in range(3000)]


def test_no_cell_is_a_formula_whatever_separates() -> None:
    """A written cell begins no formula after any delimiter, quoted or not, and is read back as the original text."""
    for text in ["a;=1", "a,=1", "a\t=1", "a\n=1", 'a;"=1', "; =1", "\uff1d1", "\x1b[2J", *_texts()]:
        cell = protected(text)
        assert unprotected(cell) == text
        if cell == text:
            continue
        output = io.StringIO()
        csv.writer(output, lineterminator="\n").writerow(["id", cell, "end"])
        for separator in ",;\t|":
            for row in csv.reader(io.StringIO(output.getvalue().replace("\0", ""), newline=None), delimiter=separator):
                for piece in row:
                    assert piece.lstrip(' "')[:1] not in tuple("=+-@\uff1d\uff0b\u2212"), (text, separator, piece)


@pytest.mark.parametrize("text", ["plain", "", "-1.5", "+3e8", "''", "a, b; c", "x = 3", "it's", "2026-01-31T12:00:00+01:00"])
def test_what_is_no_formula_stays(text: str) -> None:
    """Numbers and ordinary sentences are written unchanged."""
    assert protected(text) == text
    assert unprotected(text) == text


@pytest.mark.parametrize("text", ["=1", "+x", "-x", "@x", "\tx", "'=1", "-1,5", "a;-5", "line\n- point"])
def test_what_a_spreadsheet_would_work_out_is_marked(text: str) -> None:
    """An apostrophe is put where the formula would begin."""
    assert len(protected(text)) == len(text) + 1
