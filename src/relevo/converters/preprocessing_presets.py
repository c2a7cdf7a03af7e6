"""Named presets for scaling a pixel's 0..255 to the values a network was trained on.

    "vgg19" ─► caffe ─► BGR, means subtracted ─► ImageSteps

The name of an architecture stands for its `preprocess_input`; four common presets have short names, and `raw` changes nothing.
Value of a pixel x in channel c: (x · scale − mean[c]) / std[c], channels in the order given.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Literal

import msgspec

from relevo.domain.preprocessing import ImageSteps
from relevo.errors import InvalidOptionsError

if TYPE_CHECKING:
    from collections.abc import Mapping


class Preset(msgspec.Struct, frozen=True, kw_only=True):
    """Operations on a pixel, in the terms of ImageSteps."""

    scale: float = 1.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    channels: Literal["RGB", "BGR"] = "RGB"


_RAW = Preset()
_UNIT = Preset(scale=1 / 255)
_SIGNED = Preset(scale=1 / 127.5, mean=(1.0,))
#: Mean colours of ImageNet, blue first, as in networks trained with Caffe.
_CAFFE = Preset(mean=(103.939, 116.779, 123.68), channels="BGR")
#: Mean and standard deviation of ImageNet's colours, red first.
_TORCH = Preset(scale=1 / 255, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))

PRESETS: Mapping[str, Preset] = {
    "raw": _RAW,
    "01": _UNIT,
    "tf": _SIGNED,
    "caffe": _CAFFE,
    "torch": _TORCH,
    **dict.fromkeys(("vgg16", "vgg19", "resnet", "resnet50", "resnet101", "resnet152"), _CAFFE),
    **dict.fromkeys(("densenet", "densenet121", "densenet169", "densenet201"), _TORCH),
    **dict.fromkeys(("inception_v3", "inception_resnet_v2", "xception", "mobilenet", "mobilenet_v2", "nasnet"), _SIGNED),
    **dict.fromkeys(("resnet_v2", "resnet50v2", "resnet101v2", "resnet152v2"), _SIGNED),
    **dict.fromkeys(("efficientnet", "efficientnet_v2", "mobilenet_v3", "convnext"), _RAW),
}


def get_preset(name: str) -> Preset:
    """Returns the preset of that name, ignoring case and hyphens. Raises InvalidOptionsError naming the nearest."""
    key = name.strip().lower().replace("-", "_")
    if key in PRESETS:
        return PRESETS[key]
    nearest = difflib.get_close_matches(key, PRESETS, n=1, cutoff=0.0)[0]
    raise InvalidOptionsError(
        options=f"a preprocessing that is known; {name!r} is not, the nearest is '{nearest}' (there are: {', '.join(PRESETS)})"
    )


def steps_from_preset(name: str) -> ImageSteps:
    """Returns the preset as image steps; the converter adds what else the model needs. Raises InvalidOptionsError."""
    preset = get_preset(name)
    return ImageSteps(input="pixels", scale=preset.scale, mean=preset.mean, std=preset.std, channels=preset.channels)
