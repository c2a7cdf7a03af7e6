"""Confidence intervals of a proportion."""

from __future__ import annotations

from math import sqrt

#: Standard normal quantile at 97.5 %.
_Z95 = 1.959963984540054


def wilson(successes: int, trials: int, z: float = _Z95) -> tuple[float, float]:
    """Wilson score interval of a proportion, both ends in 0..1; (0, 1) without trials.

    z: standard normal quantile, 95 % two-sided by default. Source: Wilson (1927).
    """
    if trials == 0:
        return 0.0, 1.0
    share = successes / trials
    shrink = 1.0 + z * z / trials
    middle = (share + z * z / (2 * trials)) / shrink
    half = z * sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials)) / shrink
    # At 0 and at 1, rounding may exceed the limit slightly.
    low = 0.0 if successes == 0 else max(0.0, middle - half)
    return low, 1.0 if successes == trials else min(1.0, middle + half)
