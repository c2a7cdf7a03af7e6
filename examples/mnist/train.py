"""The training: a small convolutional network, five times over all digits.

28×28 ─ 16 maps ─ halve ─ 32, 32 maps ─ halve ─ 64 maps ─ drop out ─ ten probabilities
"""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's own chatter

import keras
import numpy as np
from keras import layers

EPOCHS = 5
BATCH = 128
RATE = 4e-3


def train(run: Any) -> keras.Model:
    """run.train.x: (n, 28, 28, 1), 0..1; run.train.y: the digits."""
    keras.utils.set_random_seed(run.seed)
    model = network()
    steps = EPOCHS * -(-len(run.train.y) // BATCH)
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(RATE, steps)),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    model.fit(
        run.train.x,
        np.asarray(run.train.y),
        batch_size=BATCH,
        epochs=EPOCHS,
        verbose=0,
        validation_data=(run.validation.x, np.asarray(run.validation.y)),
        callbacks=[run.for_keras()],
    )
    return model


def network() -> keras.Model:
    """64 thousand weights."""
    given = layers.Input((28, 28, 1))
    maps = layers.MaxPooling2D()(block(given, 16))
    maps = layers.MaxPooling2D()(block(block(maps, 32), 32))
    maps = layers.Dropout(0.4)(layers.Flatten()(block(maps, 64)))
    return keras.Model(given, layers.Dense(10, activation="softmax")(maps))


def block(maps: Any, count: int) -> Any:
    """Maps of what 3 × 3 neighbours show, brought to one scale."""
    maps = layers.Conv2D(count, 3, padding="same", use_bias=False)(maps)
    return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(maps))
