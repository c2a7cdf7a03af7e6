"""Tests for the worse of two models: known values, and the significance level without a difference."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from relevo.stats.paired import mcnemar, paired_mean, two_proportions


def test_mcnemar_is_the_mid_p_value() -> None:
    """12 rows gained and 25 lost give .0167762198, and SciPy's binomial says the same."""
    assert mcnemar(12, 25) == pytest.approx(0.0167762198, abs=1e-9)
    assert mcnemar(3, 9) == pytest.approx(binom.sf(8, 12, 0.5) - binom.pmf(9, 12, 0.5) / 2)
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(500, 600) == pytest.approx(binom.sf(599, 1100, 0.5), abs=2e-4)


def test_level() -> None:
    """Of two equal models one is reported worse in about one of twenty tests."""
    draw = np.random.default_rng(5)
    lost = draw.binomial(40, 0.5, 4000)
    assert np.mean([mcnemar(40 - count, count) < 0.05 for count in lost]) == pytest.approx(0.05, abs=0.015)
    errors = draw.normal(size=(2, 2000, 100)) ** 2
    assert np.mean([paired_mean(a, b) < 0.05 for a, b in zip(*errors, strict=True)]) == pytest.approx(0.05, abs=0.02)


def test_a_difference_is_seen() -> None:
    """A clear difference has a small p-value, the opposite a large one, and no difference 1."""
    assert two_proportions(987, 960, 1000) < 0.001
    assert two_proportions(960, 987, 1000) > 0.999
    assert two_proportions(10, 10, 10) == 1.0
    assert paired_mean(np.ones(5), np.ones(5)) == 1.0
    assert paired_mean(np.ones(5), np.ones(5) * 2) == 0.0
