"""A project whose train(run) returns a Keras network: image layout, reported epochs, final Ctrl-C."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relevo.errors import ConfigError
from relevo.project.config import read_project
from relevo.project.training import train_project

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("tensorflow", reason="Keras networks need the extra 'keras'")
pytest.importorskip("tf2onnx", reason="Keras networks need the extra 'keras'")

TOML = """
[model]
name = "sides"
labels = ["Left", "Right"]
[data]
path = "data.py"
held_out = 0.3
[input]
kind = "image"
size = [6, 8]
mode = "L"
preprocess = "01"
layout = "NHWC"
"""
DATA = """
import numpy as np

def load():
    draw = np.random.default_rng(0)
    pictures = draw.integers(0, 60, (160, 6, 8), dtype=np.uint8)
    sides = draw.integers(0, 2, 160)
    for picture, side in zip(pictures, sides):
        picture[:, 4 * side : 4 * side + 4] += 150
    return pictures, ["left" if side == 0 else "right" for side in sides]
"""
TRAIN = """
import os
import signal

import keras
import numpy as np
from keras import layers


def train(run):
    keras.utils.set_random_seed(run.seed)
    assert (run.train.x.shape[1:], run.train.x.dtype, run.train.x.max() <= 1) == ((6, 8, 1), np.float32, True)
    truth = np.array([side == "right" for side in run.train.y], np.float32)
    model = keras.Sequential([keras.Input((6, 8, 1)), layers.Flatten(), layers.Dense(1, activation="sigmoid")])
    model.compile("adam", "binary_crossentropy")
    if INTERRUPTED:
        stop = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: os.kill(os.getpid(), signal.SIGINT))
        model.fit(run.train.x, truth, epochs=50, verbose=0, callbacks=[stop])
    model.fit(run.train.x, truth, epochs=40, verbose=0, callbacks=[run.for_keras()])
    return model
"""


def project(folder: Path, *, interrupted: bool = False, toml: str = TOML) -> None:
    (folder / "relevo.toml").write_text(toml, encoding="utf-8")
    (folder / "data.py").write_text(DATA, encoding="utf-8")
    (folder / "train.py").write_text(TRAIN.replace("INTERRUPTED", str(interrupted)), encoding="utf-8")


def test_network_is_trained_reported_and_packed(tmp_path: Path) -> None:
    """Labels follow the sorted classes, every epoch is reported with its loss, and the package is accurate."""
    project(tmp_path)
    steps: list[tuple[int, int, str]] = []
    package = train_project(read_project(tmp_path), tmp_path / "out", lambda *epochs: steps.append(epochs))
    assert package.metrics["accuracy"]["value"] >= 0.95
    assert package.manifest.output.labels == ("Left", "Right")
    assert package.manifest.lineage.framework.startswith("Keras 3")
    epochs = [step for step in steps if step[2].startswith("training loss")]
    assert [step[:2] for step in epochs] == [(epoch, 40) for epoch in range(1, 41)]


def test_interrupt_leaves_no_package(tmp_path: Path) -> None:
    """An interrupt during fitting leaves no package and no half-trained network."""
    project(tmp_path, interrupted=True)
    with pytest.raises(KeyboardInterrupt):
        train_project(read_project(tmp_path), tmp_path / "out", lambda *_: None)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('preprocess = "01"\nscale = 0.5', "only one of preprocess and scale"),
        ('preprocess = "mobilnet"', "the nearest is 'mobilenet'"),
    ],
)
def test_conflicting_preprocessing_is_rejected(tmp_path: Path, line: str, message: str) -> None:
    """Conflicting settings, or an unknown preset, are rejected before the training."""
    project(tmp_path, toml=TOML.replace('preprocess = "01"', line))
    with pytest.raises(ConfigError, match=message):
        read_project(tmp_path).image()
