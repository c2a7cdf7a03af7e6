"""Wilson's interval."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.stats.intervals import wilson


def test_wilson_gives_the_published_example() -> None:
    """45 of 50 lie between .78640 and .95652."""
    assert wilson(45, 50) == pytest.approx((0.78640, 0.95652), abs=5e-6)


@given(trials=st.integers(1, 10_000), share=st.floats(0, 1))
def test_wilson_holds_the_share_and_stays_within_bounds(trials: int, share: float) -> None:
    """The interval always contains the observed share, within 0..1, also at 0 and 1."""
    hits = round(share * trials)
    low, high = wilson(hits, trials)
    assert 0 <= low <= hits / trials <= high <= 1


def test_nothing_tried_is_nothing_known() -> None:
    """Without trials the interval is (0, 1)."""
    assert wilson(0, 0) == (0.0, 1.0)
