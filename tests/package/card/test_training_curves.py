"""Training curves and user figures in a package."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression

import relevo
from relevo.errors import ConversionError
from relevo.package.card.training_curves import CURVES, draw_training_curves
from relevo.package.samples import png

EPOCHS = [{"epoch": n, "loss": 1 / n, "validation_loss": 1.2 / n, "accuracy": 1 - 0.5 / n} for n in range(1, 6)]


def packed(**options: Any) -> relevo.Package:
    x = np.random.default_rng(0).normal(size=(120, 3))
    y = (x[:, 0] > 0).astype(int)
    model = LogisticRegression().fit(x[:60], y[:60])
    return relevo.pack(model, name="m", samples=x[60:], truth=y[60:], **options)


def test_what_each_epoch_told_is_kept_and_drawn() -> None:
    """The metrics of every epoch are in metrics.json, and the card shows them as curves."""
    package = packed(learning=EPOCHS)
    assert package.metrics["learning"] == EPOCHS
    with Image.open(io.BytesIO(package.read(CURVES))) as picture:
        assert picture.width > 1.5 * picture.height  # two panels: loss and accuracy
    assert CURVES in package.read("card.md").decode()


def test_without_two_epochs_nothing_is_drawn() -> None:
    """Fewer than two epochs or epochs without metrics give no figure; NaN leaves a gap."""
    assert not draw_training_curves(EPOCHS[:1])
    assert not draw_training_curves([{"epoch": 1}, {"epoch": 2}])
    assert CURVES in draw_training_curves(
        [{"epoch": 1, "loss": 1.0}, {"epoch": 2, "loss": float("nan")}, {"epoch": 3, "loss": 0.5}]
    )
    assert "learning" not in packed(figures=False).metrics


def test_figures_of_ones_own() -> None:
    """A PNG given by name is in the package and its card; an invalid name or content is rejected."""
    own = png(np.zeros((4, 4), dtype=np.uint8))
    package = packed(drawings={"CNN_Model.png": own}, figures=False)
    assert package.read("figures/CNN_Model.png") == own
    assert "figures/CNN_Model.png" in package.read("card.md").decode()
    for name, content in (("../evil.png", own), ("a.svg", own), ("a.png", b"<svg/>")):
        with pytest.raises(ConversionError, match=r"PNG"):
            packed(drawings={name: content})
