"""Whether one of two models is worse, from their outcomes on held-out rows.

the same rows, right or wrong ─► mcnemar        the same rows, errors ─► paired_mean        only counts ─► two_proportions

Each gives a one-sided p-value: how likely it is to see the second do at least so much worse when it is no worse.
"""

from __future__ import annotations

from math import comb, erfc, sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: From so many discordant rows on the normal approximation is used.
_MANY = 1000


def mcnemar(gained: int, lost: int) -> float:
    """McNemar's test, one-sided, mid-p. gained: rows only the second has right; lost: rows only the first has right.

    Source: Fagerland, Lydersen and Laake (2013).
    """
    discordant = gained + lost
    if discordant == 0:
        return 1.0
    if discordant > _MANY:
        return _upper((lost - gained) / sqrt(discordant))
    total = 1 << discordant
    beyond = sum(comb(discordant, count) for count in range(lost, discordant + 1))
    return beyond / total - comb(discordant, lost) / total / 2


def paired_mean(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Whether the mean of `second` is larger than that of `first`, row by row; normal approximation. Shapes (n,), n >= 2."""
    difference = second - first
    spread = float(difference.std(ddof=1))
    mean = float(difference.mean())
    if spread == 0.0:
        return 0.0 if mean > 0 else 1.0
    return _upper(mean / (spread / sqrt(len(difference))))


def two_proportions(first: int, second: int, rows: int) -> float:
    """Whether `second` of `rows` is a smaller share than `first` of as many others; pooled normal approximation."""
    pooled = (first + second) / (2 * rows)
    spread = sqrt(2 * pooled * (1 - pooled) / rows)
    return 1.0 if spread == 0.0 else _upper((first - second) / rows / spread)


def _upper(z: float) -> float:
    return erfc(z / sqrt(2)) / 2
