"""Detects whether scores are probabilities: numbers in 0..1 that sum to 1 in each row, or independent ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from relevo.domain.signature import Output, Task
from relevo.errors import ConversionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROUNDING = 1e-4
_SUM_TOLERANCE = 2e-3


def lies_within(table: NDArray[np.float64], whole: float) -> bool:
    """Whether every number is in 0..whole, except for rounding."""
    return bool(((table >= -ROUNDING * whole) & (table <= (1 + ROUNDING) * whole)).all())


def are_shares(table: NDArray[np.float64], whole: float) -> bool:
    """Whether each row sums to `whole`, with every number in 0..whole."""
    return table.shape[1] > 1 and lies_within(table, whole) and bool((np.abs(table.sum(axis=1) / whole - 1) < _SUM_TOLERANCE).all())


def settled(output: Output, scores: NDArray[np.float64]) -> Output:
    """Validates the output against the served scores and sets `independent`. Raises ConversionError."""
    if output.task is not Task.CLASSIFICATION or output.activation != "none":
        return output
    if output.label_column:
        scores = scores[:, :-1]
    if not lies_within(scores, 1.0):
        raise ConversionError(
            reason=f"its scores would be served as probabilities, and lie between {scores.min():.4g} and {scores.max():.4g}; "
            "say what they are with scores"
        )
    return msgspec.structs.replace(output, independent=scores.shape[1] > 1 and not are_shares(scores, 1.0))
