"""El entrenamiento: una función de los ejemplos a un modelo ajustado. Relevo reparte los datos y convierte, mide y empaqueta el modelo."""

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
    """run.train y run.validation tienen x (n, 64) e y; run.seed hace reproducible el entrenamiento; run.progress informa del avance."""
    x, y = shifted(run.train.x, np.asarray(run.train.y))
    model = MLPClassifier((256,), alpha=0.1, batch_size=128, random_state=run.seed, max_iter=EPOCHS)
    run.progress(0, EPOCHS)
    # Una red tan pequeña es más lenta con varios hilos, y mucho más donde otros procesos usan también los núcleos.
    with warnings.catch_warnings(), threadpool_limits(1):
        # El número de épocas se fija a propósito, así que el aviso es de esperar.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(x, y)
    run.progress(EPOCHS, EPOCHS, accuracy=model.score(run.validation.x, run.validation.y))
    return model


def shifted(x: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Devuelve los dígitos y copias desplazadas un píxel en cada dirección, pues nadie dibuja exactamente en el centro."""
    images = x.reshape(-1, 8, 8)
    copies = [np.roll(images, step, axis) for axis in (1, 2) for step in (-1, 1)]
    return np.concatenate([images, *copies]).reshape(-1, 64), np.tile(y, 5)
