"""Presets give exactly what Keras' own preprocessing functions give."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import msgspec
import numpy as np
import pytest

from relevo.converters.keras.silent_import import library
from relevo.converters.preprocessing_presets import PRESETS, steps_from_preset
from relevo.errors import InvalidOptionsError
from relevo.runtime.image import tensor

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 5, 6, 3), dtype=np.uint8)
FAMILIES = (
    *("vgg16", "vgg19", "resnet", "resnet50", "resnet_v2", "densenet", "inception_v3", "inception_resnet_v2", "xception"),
    *("mobilenet", "mobilenet_v2", "mobilenet_v3", "nasnet", "efficientnet", "efficientnet_v2", "convnext"),
)


@pytest.mark.parametrize("family", FAMILIES)
def test_presets_match_keras(family: str) -> None:
    """Serving computes what the architecture's `preprocess_input` computes, to the last digits of single precision."""
    pytest.importorskip("tensorflow", reason="Keras' functions are compared with")
    library("keras")
    theirs: Any = import_module(f"keras.applications.{family}").preprocess_input(PIXELS.astype(np.float32))
    ours = tensor(list(PIXELS), steps_from_preset(family))
    assert ours.dtype == np.float32
    assert np.abs(ours - theirs).max() <= np.abs(theirs).max() * 4e-7


def test_every_preset_works() -> None:
    """Each name gives steps for colour images; '01' divides pixels by 255, also of grey images."""
    for name in PRESETS:
        assert np.isfinite(tensor(list(PIXELS), steps_from_preset(name))).all()
    assert np.array_equal(tensor([PIXELS[0, ..., 0]], steps_from_preset("01"))[0, ..., 0], PIXELS[0, ..., 0] * np.float32(1 / 255))
    assert steps_from_preset("ResNet50") == steps_from_preset("caffe")
    assert msgspec.json.decode(msgspec.json.encode(steps_from_preset("raw")))["type"] == "image"


def test_unknown_names_suggest_the_nearest() -> None:
    """A misspelt name is rejected with the nearest one."""
    with pytest.raises(InvalidOptionsError, match="the nearest is 'mobilenet_v2'"):
        steps_from_preset("mobilnet_v2")
