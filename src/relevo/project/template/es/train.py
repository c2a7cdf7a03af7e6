"""El entrenamiento: una función que de los ejemplos hace un modelo ajustado. Relevo reparte, convierte, mide y empaqueta."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from numpy.typing import NDArray

EPOCHS = 40


def train(run: Any) -> MLPClassifier:
    """run.train y run.validation tienen x (n, 64) e y; run.seed hace que se pueda repetir; run.progress enseña por dónde va."""
    x, y = shifted(run.train.x, np.asarray(run.train.y))
    model = MLPClassifier((256,), alpha=0.1, batch_size=128, random_state=run.seed, max_iter=EPOCHS)
    run.progress(0, EPOCHS)
    # Una red tan pequeña va más despacio con varios hilos, y mucho más donde otros usan también los núcleos.
    with warnings.catch_warnings(), threadpool_limits(1):
        # El número de épocas se ha elegido, no es un tropiezo.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(x, y)
    run.progress(EPOCHS, EPOCHS, accuracy=model.score(run.validation.x, run.validation.y))
    return model


def shifted(x: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Los dígitos, y cada uno movido un píxel hacia cada lado: nadie dibuja justo en el centro."""
    pictures = x.reshape(-1, 8, 8)
    moved = [np.roll(pictures, step, axis) for axis in (1, 2) for step in (-1, 1)]
    return np.concatenate([pictures, *moved]).reshape(-1, 64), np.tile(y, 5)
