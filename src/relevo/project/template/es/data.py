"""Los ejemplos: 1797 dígitos manuscritos reales que vienen con scikit-learn. Sustitúyalos por los suyos."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.datasets import load_digits

if TYPE_CHECKING:
    from numpy.typing import NDArray


def load() -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """Devuelve imágenes (n, 8, 8) con píxeles de 0 a 240, y el dígito que muestra cada una."""
    digits = load_digits()
    return (digits.images * 15).astype(np.uint8), digits.target
