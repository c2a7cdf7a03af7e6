"""The training, in both ways there are.

python train.py   ─► clf.pickle, as it came from wherever it was trained, and held_out.npz to prove and measure it with
relevo train      ─► train(run): the next version, without a pickle
"""

from __future__ import annotations

import pickle
import sys
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from data import load  # type: ignore[import-not-found]  # it lies beside this file
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

SEED = 20_250_101
#: Times every digit is looked at: ten, and of a small data set as often as makes a hundred thousand looks.
EPOCHS, LOOKS = 10, 100_000


def train(run: Any) -> MLPClassifier:
    """run.train.x: pixels of 0..1, (n, 784); run.train.y: digits."""
    return fitted(
        run.train.x, np.asarray(run.train.y), run.seed, lambda epoch, epochs, loss: run.progress(epoch, epochs, loss=loss)
    )


def fitted(x: NDArray[Any], y: NDArray[Any], seed: int, tell: Callable[[int, int, float], object]) -> MLPClassifier:
    """A network of one hidden layer. tell: epoch, how many there are, and its loss."""
    # Single precision takes half the time, and scikit-learn keeps to what it is given.
    x = x.astype(np.float32, copy=False)
    model = MLPClassifier((200,), alpha=1e-4, batch_size=200, max_iter=1, warm_start=True)
    epochs = max(EPOCHS, LOOKS // len(x))
    with warnings.catch_warnings():
        # One epoch a call, so that each can be told: it is not meant to converge in one.
        warnings.simplefilter("ignore", ConvergenceWarning)
        for epoch in range(1, epochs + 1):
            # Else every epoch would begin with the same seed, and so see the digits in the same order.
            model.set_params(random_state=seed + epoch).fit(x, y)
            tell(epoch, epochs, model.loss_)
    return model


def main() -> None:
    """Write clf.pickle and held_out.npz."""
    digits = load()
    held = digits["held_out"]
    rows = digits["x"].reshape(len(digits["x"]), -1) / np.float32(255)
    clf = fitted(rows[~held], digits["y"][~held], SEED, show)
    sys.stderr.write(f"\naccuracy on {held.sum()} held-out digits: {clf.score(rows[held], digits['y'][held]):.4f}\n")
    with open("clf.pickle", "wb") as file:  # noqa: PTH123 - as anybody's notebook writes it
        pickle.dump(clf, file)
    np.savez_compressed("held_out.npz", x=digits["x"][held], y=digits["y"][held])


def show(epoch: int, epochs: int, loss: float) -> None:
    """How far it is: on one line of a terminal, else a line for each tenth."""
    said = f"epoch {epoch} of {epochs}, loss {loss:.4f}"
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{said}")
    elif epoch % max(1, epochs // 10) == 0:
        sys.stderr.write(f"{said}\n")


if __name__ == "__main__":
    main()
