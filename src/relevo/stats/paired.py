"""Tests whether one of two models is worse, from their predictions on held-out rows.

the same rows, right or wrong ─► mcnemar        the same rows, errors ─► paired_mean        only counts ─► two_proportions

Each returns a one-sided p-value: the probability of a difference at least this large if the second model is not worse.
"""

from __future__ import annotations

from math import comb, erfc, sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Number of discordant rows above which the normal approximation is used.
_MAX_EXACT_ROWS = 1000


def mcnemar(gained: int, lost: int) -> float:
    """McNemar's test, one-sided, mid-p. gained: rows only the second has right; lost: rows only the first has right.

    Source: Fagerland, Lydersen and Laake (2013).
    """
    discordant = gained + lost
    if discordant == 0:
        return 1.0
    if discordant > _MAX_EXACT_ROWS:
        return _upper_tail((lost - gained) / sqrt(discordant))
    total = 1 << discordant
    beyond = sum(comb(discordant, count) for count in range(lost, discordant + 1))
    return beyond / total - comb(discordant, lost) / total / 2


def paired_mean(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """p-value of the mean of `second` being larger than that of `first`, row by row; normal approximation. Shapes (n,), n >= 2."""
    difference = second - first
    spread = float(difference.std(ddof=1))
    mean = float(difference.mean())
    if spread == 0.0:
        return 0.0 if mean > 0 else 1.0
    return _upper_tail(mean / (spread / sqrt(len(difference))))


def two_proportions(first: int, second: int, rows: int) -> float:
    """p-value of `second` of `rows` being a smaller share than `first` of as many others; pooled normal approximation."""
    pooled = (first + second) / (2 * rows)
    spread = sqrt(2 * pooled * (1 - pooled) / rows)
    return 1.0 if spread == 0.0 else _upper_tail((first - second) / rows / spread)


def _upper_tail(z: float) -> float:
    return erfc(z / sqrt(2)) / 2
