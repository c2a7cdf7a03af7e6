"""The examples: 1,797 real handwritten digits that come with scikit-learn. Replace them with your own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.datasets import load_digits

if TYPE_CHECKING:
    from numpy.typing import NDArray


def load() -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """Return images (n, 8, 8) with pixels 0..240, and the digit that each shows."""
    digits = load_digits()
    return (digits.images * 15).astype(np.uint8), digits.target
