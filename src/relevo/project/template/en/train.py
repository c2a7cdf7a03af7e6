"""The training: a function from examples to a fitted model. Relevo splits the data, converts the model, measures and packages it."""

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
    """run.train and run.validation have x (n, 64) and y; run.seed makes the training reproducible; run.progress reports progress."""
    x, y = shifted(run.train.x, np.asarray(run.train.y))
    model = MLPClassifier((256,), alpha=0.1, batch_size=128, random_state=run.seed, max_iter=EPOCHS)
    run.progress(0, EPOCHS)
    # A network this small is slower on several threads, and much slower where other processes use the cores too.
    with warnings.catch_warnings(), threadpool_limits(1):
        # The number of epochs is fixed on purpose, so the warning is expected.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(x, y)
    run.progress(EPOCHS, EPOCHS, accuracy=model.score(run.validation.x, run.validation.y))
    return model


def shifted(x: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the digits and copies shifted by one pixel in each direction, since people do not draw exactly in the center."""
    images = x.reshape(-1, 8, 8)
    copies = [np.roll(images, step, axis) for axis in (1, 2) for step in (-1, 1)]
    return np.concatenate([images, *copies]).reshape(-1, 64), np.tile(y, 5)
