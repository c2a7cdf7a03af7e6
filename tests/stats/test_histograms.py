"""Mergeable counters, and the percentiles computed from them."""

from __future__ import annotations

import numpy as np
import pytest

from relevo.stats.histograms import LATENCY_BINS, Tally, latency_edge


@pytest.mark.parametrize("share", [0.5, 0.95, 0.99])
def test_percentiles_are_right_to_a_bin(share: float) -> None:
    """A percentile computed from the bins is within the 15 % width of a bin."""
    drawn = np.random.default_rng(3).lognormal(7.5, 0.8, 20_000).astype(int)
    found = Tally.from_values(drawn.tolist(), []).latency_ms(share)
    assert found == pytest.approx(np.quantile(drawn, share) / 1000, rel=0.05)


def test_the_mean_is_exact() -> None:
    """Means come from sums, not from bins."""
    tally = Tally.from_values([100, 250, 1000], [0.93, 0.95])
    assert tally.mean_latency_ms() == pytest.approx(0.45)
    assert tally.mean_confidence() == pytest.approx(0.94)


def test_nothing_has_no_percentile() -> None:
    """Without answers there is no latency and no confidence."""
    for empty in (Tally(), Tally.from_values([], [], errors=3)):
        assert (empty.latency_ms(0.5), empty.mean_latency_ms(), empty.mean_confidence()) == (None, None, None)
        assert empty.confidences.sum() == 0


@pytest.mark.parametrize("latency_us", [0, 1, 2, 9, 10, 999, 1_000_000, 86_000_000, 10**12])
def test_every_latency_has_its_bin(latency_us: int) -> None:
    """A latency is between the edges of its bin; latencies above a minute and a half are in the last."""
    number = int(Tally.from_values([latency_us], []).latencies.argmax())
    assert latency_edge(number) <= latency_us + 1e-6
    assert latency_us < latency_edge(number + 1) or number == LATENCY_BINS - 1


def test_every_share_has_its_bin() -> None:
    """Confidence 1 is in the last twentieth, and confidences of a margin model outside 0..1 stay in the outer bins."""
    counts = Tally.from_values([], [0.0, 0.049, 0.05, 0.999, 1.0, 1.7, -0.2]).confidences
    assert {place: times for place, times in enumerate(counts.tolist()) if times} == {0: 3, 1: 1, 19: 3}


def test_tallies_add_up() -> None:
    """Two merged tallies equal the tally of all their requests."""
    first, second = Tally.from_values([100, 2000], [0.5, 0.9], errors=1), Tally.from_values([350], [0.37], uncertain=1)
    both = Tally.from_values([100, 2000, 350], [0.5, 0.9, 0.37], errors=1, uncertain=1)
    first.merge(second)
    assert (first.requests, first.errors, first.uncertain) == (both.requests, both.errors, both.uncertain) == (4, 1, 1)
    assert first.latencies.tolist() == both.latencies.tolist()
    assert first.confidences.tolist() == both.confidences.tolist()
    assert first.latency_us == both.latency_us
    assert first.confidence == pytest.approx(both.confidence)
