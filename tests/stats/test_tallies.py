"""Counts that add up, and the percentiles read from them."""

from __future__ import annotations

import numpy as np
import pytest

from relevo.stats.tallies import LATENCY_BINS, Measure, Tally, latency_bin, latency_edge, share_bin


def tally_of(latencies_us: list[int]) -> Tally:
    tally = Tally()
    for one in latencies_us:
        tally.add(Measure.LATENCY, latency_bin(one), 1, one)
    return tally


@pytest.mark.parametrize("share", [0.5, 0.95, 0.99])
def test_percentiles_are_right_to_a_bin(share: float) -> None:
    """A percentile read from the bins lies within the 15 % that a bin is wide."""
    drawn = np.random.default_rng(3).lognormal(7.5, 0.8, 20_000).astype(int)
    found = tally_of(drawn.tolist()).latency_ms(share)
    assert found == pytest.approx(np.quantile(drawn, share) / 1000, rel=0.05)


def test_the_mean_is_exact() -> None:
    """Means come from sums, not from bins."""
    tally = tally_of([100, 250, 1000])
    assert tally.mean_latency_ms() == pytest.approx(0.45)
    tally.add(Measure.CONFIDENCE, share_bin(0.93), 2, 1.86)
    assert tally.mean_confidence() == pytest.approx(0.93)


def test_nothing_has_no_percentile() -> None:
    """Without answers there is no latency and no confidence to tell."""
    empty = Tally()
    assert (empty.latency_ms(0.5), empty.mean_latency_ms(), empty.mean_confidence()) == (None, None, None)
    assert sum(empty.confidences()) == 0


@pytest.mark.parametrize("latency_us", [0, 1, 2, 9, 10, 999, 1_000_000, 86_000_000, 10**12])
def test_every_latency_has_its_bin(latency_us: int) -> None:
    """A latency lies between the edges of its bin; what is longer than a minute and a half lies in the last."""
    number = latency_bin(latency_us)
    assert latency_edge(number) <= latency_us + 1e-6
    assert latency_us < latency_edge(number + 1) or number == LATENCY_BINS - 1


def test_every_share_has_its_bin() -> None:
    """Certainty lies in the last twentieth, and what a model of margins calls confidence stays inside."""
    assert [share_bin(share) for share in (0.0, 0.049, 0.05, 0.999, 1.0, 1.7, -0.2)] == [0, 0, 1, 19, 19, 19, 0]


def test_tallies_add_up() -> None:
    """Two tallies taken together tell what one of all their requests would."""
    first, second, both = Tally(), Tally(), Tally()
    for tally in (first, both):
        tally.add(Measure.REQUESTS, 0, 3, 0.0)
        tally.add(Measure.ERRORS, 0, 1, 0.0)
        tally.add(Measure.LATENCY, 40, 2, 600.0)
    for tally in (second, both):
        tally.add(Measure.UNCERTAIN, 0, 1, 0.0)
        tally.add(Measure.LATENCY, 40, 1, 350.0)
        tally.add(Measure.CONFIDENCE, 7, 1, 0.37)
    first.take_in(second)
    assert first == both
