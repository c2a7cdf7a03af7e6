"""Names for how people bring a pixel's 0..255 to the numbers a network was trained on; the table is all there is.

    "vgg19" ─► caffe ─► BGR, means taken off ─► ImageSteps

A family's name stands for its `preprocess_input`; four habits have short names of their own, and `raw` does nothing.
Value of a pixel x in channel c: (x · scale − mean[c]) / std[c], channels in the order named.
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
    """What is done to a pixel, in the words of ImageSteps."""

    scale: float = 1.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    channels: Literal["RGB", "BGR"] = "RGB"


_RAW = Preset()
_UNIT = Preset(scale=1 / 255)
_SIGNED = Preset(scale=1 / 127.5, mean=(1.0,))
#: Mean colours of ImageNet, blue first, as the networks that came from Caffe were trained.
_CAFFE = Preset(mean=(103.939, 116.779, 123.68), channels="BGR")
#: Mean and spread of ImageNet's colours, red first.
_TORCH = Preset(scale=1 / 255, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))

HABITS: Mapping[str, Preset] = {
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
    """The habit of that name, however it is written. Raises InvalidOptionsError naming the nearest."""
    wanted = name.strip().lower().replace("-", "_")
    if wanted in HABITS:
        return HABITS[wanted]
    nearest = difflib.get_close_matches(wanted, HABITS, n=1, cutoff=0.0)[0]
    raise InvalidOptionsError(
        options=f"a preprocessing that is known; {name!r} is not, the nearest is '{nearest}' (there are: {', '.join(HABITS)})"
    )


def steps_from_preset(name: str) -> ImageSteps:
    """The habit as the steps of a picture; what else a model needs is filled in by its converter. Raises InvalidOptionsError."""
    told = get_preset(name)
    return ImageSteps(input="pixels", scale=told.scale, mean=told.mean, std=told.std, channels=told.channels)
