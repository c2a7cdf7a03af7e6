"""The number of rows per session call is measured."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from relevo.runtime.batch_probe import best_batch_size

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def taking(cost: Callable[[int], float]) -> Callable[[Sequence[int]], None]:
    """A model whose call takes `cost(rows)` seconds."""

    def run(rows: Sequence[int]) -> None:
        time.sleep(cost(len(rows)))

    return run


@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        (lambda rows: 0.003 * rows**1.5, 1),
        (lambda rows: 0.004 + 0.0005 * rows, None),
        (lambda rows: 0.00005 * rows**2, None),
        (lambda rows: 0.12 * rows, None),
    ],
    ids=["dearer-together", "cheaper-together", "light", "too-heavy-to-measure"],
)
def test_only_a_heavy_model_that_gains_nothing_sees_rows_one_by_one(cost: Callable[[int], float], expected: int | None) -> None:
    """Rows run one by one only if that was measured to be faster; not if calls are cheap or the measurement is expensive."""
    assert best_batch_size(taking(cost), 0) == expected
