"""The training: a small convolutional network that never sees the same photograph twice.

    100×100×3 ─ turned, shifted, zoomed, brighter or darker (in training only)
              ─ 5×5 ─ halve ─ 3×3 twice ─ halve ─ twice ─ halve ─ twice ─ mean of each map ─ drop out ─ sigmoid

A few hundred photographs are soon learnt by heart. Against it: changed pictures, labels that are never quite sure, weights
that decay, and as few of them as will do. Batch normalisation is folded into the convolutions when the model is converted.
"""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's own chatter

import keras
import numpy as np
from drawing import cnn_model
from keras import layers

#: Fewer for a quick look.
EPOCHS = int(os.environ.get("EXAMPLE_EPOCHS") or 60)
BATCH = 32
RATE = 3e-3
WIDTH = 24
#: Truths are 0.05 and 0.95: nobody is surer than that.
SMOOTHING = 0.1


def train(run: Any) -> keras.Model:
    """run.train.x: (n, 100, 100, 3), 0..1; run.train.y: "cat" or "dog"."""
    keras.utils.set_random_seed(run.seed)
    model = network()
    model.compile(
        keras.optimizers.AdamW(rising_then_falling(EPOCHS * -(-len(run.train.y) // BATCH)), weight_decay=1e-3),
        keras.losses.BinaryCrossentropy(label_smoothing=SMOOTHING),
        metrics=["accuracy"],
    )
    model.fit(
        run.train.x,
        dogs(run.train.y),
        batch_size=BATCH,
        epochs=EPOCHS,
        verbose=0,
        validation_data=(run.validation.x, dogs(run.validation.y)),
        callbacks=[run.for_keras()],
    )
    run.extra_figures["CNN_Model.png"] = cnn_model(model, run.training_curves)
    return model


def dogs(truth: list[str]) -> Any:
    """1 for a dog, 0 for a cat."""
    return np.array([[one == "dog"] for one in truth], dtype=np.float32)


def rising_then_falling(steps: int) -> Any:
    """The learning rate: up for a twentieth of the steps, then down along a cosine."""
    rising = max(1, steps // 20)
    return keras.optimizers.schedules.CosineDecay(RATE / 20, steps - rising, warmup_target=RATE, warmup_steps=rising)


def network() -> keras.Model:
    """471 thousand weights."""
    given = layers.Input((100, 100, 3))
    maps = layers.MaxPooling2D()(block(changed(given), WIDTH, size=5, step=2))
    for count in (2 * WIDTH, 4 * WIDTH):
        maps = layers.MaxPooling2D()(block(block(maps, count), count))
    maps = block(block(maps, 6 * WIDTH), 6 * WIDTH)
    maps = layers.Dropout(0.3)(layers.GlobalAveragePooling2D()(maps))
    return keras.Model(given, layers.Dense(1, activation="sigmoid")(maps))


def changed(pictures: Any) -> Any:
    """The pictures as another photographer would have taken them; in use they pass unchanged."""
    pictures = layers.RandomFlip("horizontal")(pictures)
    pictures = layers.RandomRotation(0.05, fill_mode="reflect")(pictures)
    pictures = layers.RandomTranslation(0.1, 0.1, fill_mode="reflect")(pictures)
    pictures = layers.RandomZoom((-0.3, 0.15), fill_mode="reflect")(pictures)
    pictures = layers.RandomContrast(0.3, value_range=(0, 1))(pictures)
    return layers.RandomBrightness(0.15, value_range=(0, 1))(pictures)


def block(maps: Any, count: int, *, size: int = 3, step: int = 1) -> Any:
    """Maps of what neighbouring pixels show, brought to one scale."""
    maps = layers.Conv2D(count, size, strides=step, padding="same", use_bias=False)(maps)
    return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(maps))
