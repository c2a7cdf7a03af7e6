"""Reliability, temperature and isotonic knots."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.stats.calibration import isotonic, log_loss, reliability, temperature


def test_reliability_counts_each_row_once_in_its_bin() -> None:
    """0.95 and 0.9999 share the last of 15 bins; 0.5 is in the eighth."""
    table = reliability(np.array([0.95, 0.9999, 0.5]), np.array([True, False, True]))
    assert table.count.tolist() == [0] * 7 + [1] + [0] * 6 + [2]
    assert table.accuracy[14] == 0.5
    assert np.isnan(table.confidence[0])


def test_expected_error_is_the_weighted_gap() -> None:
    """Ten rows at 0.8 of which six are right have an error of 0.2."""
    table = reliability(np.full(10, 0.8), np.arange(10) < 6)
    assert table.expected_error == pytest.approx(0.2)


def test_a_bin_edge_belongs_to_the_bin_below() -> None:
    """1/15 counts in the first bin and 1 in the last."""
    assert reliability(np.array([1 / 15, 1.0, 0.0]), np.array([True, True, False])).count[[0, 14]].tolist() == [2, 1]


def test_temperature_finds_back_the_heat_that_was_put_in() -> None:
    """Probabilities that are overconfident by a factor of two get the temperature 2."""
    draw = np.random.default_rng(0)
    logits = draw.normal(size=(20_000, 4)) * 2
    honest = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = (draw.random(len(honest))[:, None] > honest.cumsum(axis=1)).sum(axis=1)
    sharp = np.exp(2 * logits) / np.exp(2 * logits).sum(axis=1, keepdims=True)
    assert temperature(honest, truth) == pytest.approx(1.0, abs=0.05)
    assert temperature(sharp, truth) == pytest.approx(2.0, abs=0.1)


def test_a_certain_mistake_costs_much_but_not_everything() -> None:
    """Log-loss stays finite if the true class had probability zero."""
    assert log_loss(np.array([[1.0, 0.0]]), np.array([1])) == pytest.approx(12 * np.log(10))


@given(rows=st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60))
def test_isotonic_rises_and_keeps_the_mean(rows: list[tuple[float, bool]]) -> None:
    """The knots increase in both coordinates, and the fitted shares sum to the number right."""
    confidence = np.array([share for share, _ in rows])
    right = np.array([hit for _, hit in rows])
    starts, shares = isotonic(confidence, right)
    assert (np.diff(starts) > 0).all()
    assert (np.diff(shares) > 0).all()
    fitted = shares[np.searchsorted(starts, confidence, side="right") - 1]
    assert fitted.sum() == pytest.approx(right.sum())
