"""Measures the calibration of probabilities on held-out rows: a 90 % confidence should be right nine times in ten.

probabilities, labels ─► reliability table (15 bins) ─► expected calibration error
                      ─► temperature that would correct it
                      ─► isotonic knots, from confidence to accuracy
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BINS = 15
_MIN_TEMPERATURE, _MAX_TEMPERATURE = 0.05, 20.0
#: Iterations of the golden-section search; 60 leave less than 1e-12 of the bracket.
_STEPS = 60
_GOLDEN = 0.6180339887498949
#: Minimum probability in a logarithm, so that a certain mistake costs much but not infinitely much.
_MIN_PROBABILITY = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """Confidence against accuracy, in equal-width bins of confidence."""

    count: NDArray[np.int64]  # (bins,)
    confidence: NDArray[np.float64]  # (bins,), mean of the bin; NaN if empty
    accuracy: NDArray[np.float64]  # (bins,), share of right predictions; NaN if empty

    @property
    def expected_error(self) -> float:
        """Expected calibration error, 0..1: the mean gap between the two, weighted by the rows of each bin."""
        rows = self.count.sum()
        gaps = np.nan_to_num(np.abs(self.confidence - self.accuracy))
        return float((self.count * gaps).sum() / rows) if rows else 0.0


def reliability(confidence: NDArray[np.float64], right: NDArray[np.bool_], bins: int = BINS) -> Reliability:
    """The table for n rows: confidence (n,) in 0..1 and whether each was right (n,)."""
    index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    count = np.bincount(index, minlength=bins)
    with np.errstate(invalid="ignore"):
        return Reliability(
            count=count.astype(np.int64),
            confidence=np.bincount(index, weights=confidence, minlength=bins) / count,
            accuracy=np.bincount(index, weights=right.astype(float), minlength=bins) / count,
        )


def log_loss(probabilities: NDArray[np.float64], truth: NDArray[np.intp]) -> float:
    """Mean negative log-probability of the labels, in nats. probabilities (n, classes), truth (n,) as class indices."""
    chosen = probabilities[np.arange(len(truth)), truth]
    return float(-np.log(np.maximum(chosen, _MIN_PROBABILITY)).mean())


def temperature(probabilities: NDArray[np.float64], truth: NDArray[np.intp]) -> float:
    """The T for which softmax(log p / T) has minimal log-loss, in 0.05..20; 1 means that the probabilities are calibrated.

    probabilities (n, classes), truth (n,) as class indices. Source: Guo et al. (2017); golden-section search on ln T.
    """
    logs = np.log(np.maximum(probabilities, _MIN_PROBABILITY))
    low, high = log(_MIN_TEMPERATURE), log(_MAX_TEMPERATURE)
    for _ in range(_STEPS):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if _log_loss_at(logs, truth, exp(left)) <= _log_loss_at(logs, truth, exp(right)):
            high = right
        else:
            low = left
    return exp((low + high) / 2)


def _log_loss_at(logs: NDArray[np.float64], truth: NDArray[np.intp], candidate: float) -> float:
    scaled = logs / candidate
    scaled = scaled - scaled.max(axis=1, keepdims=True)
    totals = np.log(np.exp(scaled).sum(axis=1))
    return float((totals - scaled[np.arange(len(truth)), truth]).mean())


def isotonic(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Knots of the isotonic regression of accuracy on confidence: confidences (k,) where a step begins, its accuracy (k,).

    Pool-adjacent-violators; equal confidences are pooled first.
    """
    starts, inverse = np.unique(confidence, return_inverse=True)
    weights = np.bincount(inverse).astype(float)
    shares = np.bincount(inverse, weights=right.astype(float)) / weights
    blocks: list[tuple[float, float, float]] = []  # start, weight, share
    for start, weight, share in zip(starts.tolist(), weights.tolist(), shares.tolist(), strict=True):
        block = (start, weight, share)
        while blocks and blocks[-1][2] >= block[2]:
            previous = blocks.pop()
            total = previous[1] + block[1]
            block = (previous[0], total, (previous[1] * previous[2] + block[1] * block[2]) / total)
        blocks.append(block)
    return np.array([block[0] for block in blocks]), np.array([block[2] for block in blocks])
