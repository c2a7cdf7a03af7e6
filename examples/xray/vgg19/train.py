"""Transfer learning: VGG19 as it is, and a small network on what it sees.

    224×224×3 ─ VGG19, frozen ─ mean of each of 512 maps ─ 64 ─ three probabilities
                    └ asked once for every picture; only what follows is trained, in seconds

The weights learnt on ImageNet are loaded from where Keras keeps them, else from the network. Where neither works it begins with
random ones and says so: everything runs, but the figures mean nothing. `XRAY_WEIGHTS=none` asks for that.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's own chatter

import keras
import numpy as np
from keras import layers

EPOCHS = int(os.environ.get("EXAMPLE_EPOCHS") or 60)
BATCH = 16
CLASSES = ("bacteria", "normal", "virus")
_UNREACHABLE_AFTER_S = 20


def train(run: Any) -> keras.Model:
    """run.train.x: (n, 224, 224, 3), as VGG19 wants them; run.train.y: names of the classes."""
    keras.utils.set_random_seed(run.seed)
    seeing = vgg19()
    head = keras.Sequential(
        [
            layers.Input((512,)),
            layers.Dropout(0.3),
            layers.Dense(64, activation="relu"),
            layers.Dropout(0.3),
            layers.Dense(len(CLASSES), activation="softmax"),
        ]
    )
    head.compile(keras.optimizers.Adam(1e-3), "categorical_crossentropy", metrics=["accuracy"])
    head.fit(
        seen(seeing, run.train.x, run),
        marked(run.train.y),
        batch_size=BATCH,
        epochs=EPOCHS,
        verbose=0,
        validation_data=(seen(seeing, run.validation.x, run), marked(run.validation.y)),
        callbacks=[run.for_keras()],
    )
    return keras.Model(seeing.input, head(seeing.output))


def vgg19() -> keras.Model:
    """VGG19 without its last layers, frozen."""
    weights = None if os.environ.get("XRAY_WEIGHTS") == "none" else "imagenet"
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_UNREACHABLE_AFTER_S)
    try:
        model = keras.applications.VGG19(include_top=False, weights=weights, input_shape=(224, 224, 3), pooling="avg")
    except Exception as cause:  # noqa: BLE001 - whatever the network does, the training can still be shown
        sys.stderr.write(
            f"ImageNet's weights cannot be had ({cause}); beginning with random ones: the figures will mean nothing.\n"
        )
        model = keras.applications.VGG19(include_top=False, weights=None, input_shape=(224, 224, 3), pooling="avg")
    finally:
        socket.setdefaulttimeout(before)
    model.trainable = False
    return model


def seen(seeing: keras.Model, pictures: Any, run: Any) -> Any:
    """What VGG19 sees in each picture, (n, 512); told batch by batch, for it takes its time."""
    parts = []
    for start in range(0, len(pictures), BATCH):
        run.step(start, len(pictures), "seeing")
        parts.append(np.asarray(seeing(pictures[start : start + BATCH], training=False)))
    run.step(len(pictures), len(pictures), "seeing")
    return np.concatenate(parts)


def marked(truth: list[str]) -> Any:
    """A row for each picture with a one in the place of its class."""
    return np.eye(len(CLASSES), dtype=np.float32)[[CLASSES.index(one) for one in truth]]
