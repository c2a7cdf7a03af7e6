"""The training: a small convolutional network on grey pictures, from scratch; a laptop does it in minutes.

    128×128 ─ turned, shifted, zoomed, brighter or darker (in training only)
            ─ 5×5 ─ halve ─ 3×3 twice ─ halve ─ twice ─ halve ─ twice ─ mean of each map ─ drop out ─ three probabilities

Transfer learning on VGG19 is in `vgg19/`.
"""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's own chatter

import keras
import numpy as np
from keras import layers

#: Fewer for a quick look.
EPOCHS = int(os.environ.get("EXAMPLE_EPOCHS") or 40)
BATCH = 32
RATE = 3e-3
WIDTH = 16
#: In the order of their names, which is that of the answers.
CLASSES = ("bacteria", "normal", "virus")


def train(run: Any) -> keras.Model:
    """run.train.x: (n, 128, 128, 1), 0..1; run.train.y: names of the classes."""
    keras.utils.set_random_seed(run.seed)
    model = network()
    model.compile(
        keras.optimizers.AdamW(rising_then_falling(EPOCHS * -(-len(run.train.y) // BATCH)), weight_decay=1e-3),
        keras.losses.CategoricalCrossentropy(label_smoothing=0.1),
        metrics=["accuracy"],
    )
    model.fit(
        run.train.x,
        marked(run.train.y),
        batch_size=BATCH,
        epochs=EPOCHS,
        verbose=0,
        validation_data=(run.validation.x, marked(run.validation.y)),
        callbacks=[run.for_keras()],
    )
    return model


def marked(truth: list[str]) -> Any:
    """A row for each picture with a one in the place of its class."""
    return np.eye(len(CLASSES), dtype=np.float32)[[CLASSES.index(one) for one in truth]]


def rising_then_falling(steps: int) -> Any:
    """The learning rate: up for a twentieth of the steps, then down along a cosine."""
    rising = max(1, steps // 20)
    return keras.optimizers.schedules.CosineDecay(RATE / 20, steps - rising, warmup_target=RATE, warmup_steps=rising)


def network() -> keras.Model:
    """209 thousand weights."""
    given = layers.Input((128, 128, 1))
    maps = layers.MaxPooling2D()(block(changed(given), WIDTH, size=5, step=2))
    for count in (2 * WIDTH, 4 * WIDTH):
        maps = layers.MaxPooling2D()(block(block(maps, count), count))
    maps = block(block(maps, 6 * WIDTH), 6 * WIDTH)
    maps = layers.Dropout(0.3)(layers.GlobalAveragePooling2D()(maps))
    return keras.Model(given, layers.Dense(len(CLASSES), activation="softmax")(maps))


def changed(pictures: Any) -> Any:
    """The pictures as another machine would have taken them; in use they pass unchanged."""
    pictures = layers.RandomFlip("horizontal")(pictures)
    pictures = layers.RandomRotation(0.04, fill_mode="constant")(pictures)
    pictures = layers.RandomTranslation(0.08, 0.08, fill_mode="constant")(pictures)
    pictures = layers.RandomZoom((-0.15, 0.1), fill_mode="constant")(pictures)
    pictures = layers.RandomContrast(0.25, value_range=(0, 1))(pictures)
    return layers.RandomBrightness(0.15, value_range=(0, 1))(pictures)


def block(maps: Any, count: int, *, size: int = 3, step: int = 1) -> Any:
    """Maps of what neighbouring pixels show, brought to one scale."""
    maps = layers.Conv2D(count, size, strides=step, padding="same", use_bias=False)(maps)
    return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(maps))
