"""Golden examples: selection, writing and reading."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.domain.signature import Output, Task
from relevo.package.golden import MAX_EXAMPLES, Golden, golden_files, read_golden, select_rows
from relevo.package.samples import png

TEN = Output(name="s", labels=tuple("0123456789"))


@given(seed=st.integers(0, 1000), rows=st.integers(1, 400))
def test_a_spread_is_chosen_of_every_class_and_the_least_sure(seed: int, rows: int) -> None:
    """At most 32 distinct rows, sorted; they include every predicted class and the least certain row."""
    raw = np.random.default_rng(seed).random((rows, 10)) ** 3 + 1e-9
    scores = raw / raw.sum(axis=1, keepdims=True)
    rows_chosen = select_rows(scores, TEN)
    assert rows_chosen == sorted(set(rows_chosen))
    assert len(rows_chosen) == min(rows, MAX_EXAMPLES)
    assert set(scores[rows_chosen].argmax(axis=1)) == set(scores.argmax(axis=1))
    order = np.sort(scores, axis=1)
    assert int((order[:, -1] - order[:, -2]).argmin()) in rows_chosen


def test_more_classes_than_places_still_fit() -> None:
    """Of forty classes 32 examples are kept."""
    assert len(select_rows(np.eye(40), Output(name="s", labels=tuple(str(n) for n in range(40))))) == MAX_EXAMPLES


def test_a_regression_keeps_both_ends() -> None:
    """The smallest and the largest value are among the examples."""
    values = np.random.default_rng(0).normal(size=(500, 1))
    rows = select_rows(values, Output(name="s", task=Task.REGRESSION))
    assert {int(values.argmin()), int(values.argmax())} <= set(rows)
    assert len(rows) == MAX_EXAMPLES


@pytest.mark.parametrize(
    "payloads",
    [({"a": 1, "b": "x"}, {"b": "ñ"}), (png(np.zeros((3, 4), dtype=np.uint8)), png(np.full((3, 4, 3), 9, dtype=np.uint8)))],
    ids=["records", "pictures"],
)
def test_examples_come_back_as_they_went(payloads: tuple[bytes | dict[str, object], ...]) -> None:
    """After writing and reading, payloads and scores are identical."""
    golden = Golden(payloads=payloads, scores=np.array([[0.1, 0.9], [1 / 3, 2 / 3]]))
    again = read_golden(golden_files(golden))
    assert again.payloads == golden.payloads
    assert np.array_equal(again.scores, golden.scores)
