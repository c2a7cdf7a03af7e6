"""How honest probabilities are on held-out rows: is 90 % right nine times in ten?

probabilities, truth ─► reliability table (15 bins) ─► expected calibration error
                     ─► temperature that would mend it
                     ─► isotonic knots, from confidence to share right
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BINS = 15
_COLDEST, _HOTTEST = 0.05, 20.0
#: Halvings of the bracket; 60 leave less than 1e-12 of it.
_STEPS = 60
_GOLDEN = 0.6180339887498949
#: Probabilities below this count as this, so that a certain mistake costs much but not everything.
_LEAST = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """Confidence held against the share right, in equal-width bins of confidence."""

    count: NDArray[np.int64]  # (bins,)
    confidence: NDArray[np.float64]  # (bins,), mean of the bin; NaN where empty
    accuracy: NDArray[np.float64]  # (bins,), share right; NaN where empty

    @property
    def expected_error(self) -> float:
        """ECE, 0..1: the gap of the two, weighted by the rows in each bin."""
        rows = self.count.sum()
        gaps = np.nan_to_num(np.abs(self.confidence - self.accuracy))
        return float((self.count * gaps).sum() / rows) if rows else 0.0


def reliability(confidence: NDArray[np.float64], right: NDArray[np.bool_], bins: int = BINS) -> Reliability:
    """The table for n rows: confidence (n,) in 0..1 and whether each was right (n,)."""
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        return Reliability(
            count=count.astype(np.int64),
            confidence=np.bincount(place, weights=confidence, minlength=bins) / count,
            accuracy=np.bincount(place, weights=right.astype(float), minlength=bins) / count,
        )


def log_loss(probabilities: NDArray[np.float64], truth: NDArray[np.intp]) -> float:
    """Mean negative log-probability of the truth, nats. probabilities (n, classes), truth (n,) as positions."""
    chosen = probabilities[np.arange(len(truth)), truth]
    return float(-np.log(np.maximum(chosen, _LEAST)).mean())


def temperature(probabilities: NDArray[np.float64], truth: NDArray[np.intp]) -> float:
    """The T that gives softmax(log p / T) the least log-loss, in 0.05..20; 1 means the probabilities are right as they are.

    probabilities (n, classes), truth (n,) as positions. Source: Guo et al. (2017); golden-section search on ln T.
    """
    logs = np.log(np.maximum(probabilities, _LEAST))
    low, high = log(_COLDEST), log(_HOTTEST)
    for _ in range(_STEPS):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if _loss_at(logs, truth, exp(left)) <= _loss_at(logs, truth, exp(right)):
            high = right
        else:
            low = left
    return exp((low + high) / 2)


def _loss_at(logs: NDArray[np.float64], truth: NDArray[np.intp], heat: float) -> float:
    scaled = logs / heat
    scaled = scaled - scaled.max(axis=1, keepdims=True)
    totals = np.log(np.exp(scaled).sum(axis=1))
    return float((totals - scaled[np.arange(len(truth)), truth]).mean())


def isotonic(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Knots of the rising step function nearest to the share right: confidences (k,) where a step begins, its share (k,).

    Pool-adjacent-violators; equal confidences are pooled first.
    """
    starts, inverse = np.unique(confidence, return_inverse=True)
    weights = np.bincount(inverse).astype(float)
    shares = np.bincount(inverse, weights=right.astype(float)) / weights
    blocks: list[tuple[float, float, float]] = []  # start, weight, share
    for start, weight, share in zip(starts.tolist(), weights.tolist(), shares.tolist(), strict=True):
        block = (start, weight, share)
        while blocks and blocks[-1][2] >= block[2]:
            before = blocks.pop()
            total = before[1] + block[1]
            block = (before[0], total, (before[1] * before[2] + block[1] * block[2]) / total)
        blocks.append(block)
    return np.array([block[0] for block in blocks]), np.array([block[2] for block in blocks])
