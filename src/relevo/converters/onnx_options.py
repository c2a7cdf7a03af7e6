"""Collects all options that an ONNX file still needs into one error, worded as command-line flags.

    inputs, outputs ─ options ─ samples ─► ConversionHints, or one InvalidOptionsError that names every missing flag

The file does not say whether a number is a pixel, how pixels were scaled, or what the third score means.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from relevo.converters.onnx_model import read_model_info
from relevo.converters.score_types import labels_request
from relevo.converters.zipmap import remove_zipmap
from relevo.domain.preprocessing import ImageSteps
from relevo.domain.signature import ImageInput, Output
from relevo.errors import InvalidOptionsError
from relevo.package.class_names import display_names
from relevo.package.conversion import ConversionHints
from relevo.package.onnx_validation import audit
from relevo.package.samples import ImageSamples

if TYPE_CHECKING:
    from relevo.converters.onnx_inputs import Tensor
    from relevo.converters.onnx_model import OnnxModelInfo
    from relevo.converters.options import ConversionOptions
    from relevo.package.samples import Samples

ASK_SCALE = "--preprocess NAME or --scale NUMBER (01 when it was trained on pixels of 0..1, raw when on 0..255)"

#: A row of fewer numbers than this is treated as a record without asking.
_MIN_IMAGE_PIXELS = 49
_FLOATS = ("tensor(float)", "tensor(double)", "tensor(float16)")


def hints_for_onnx(data: bytes, task: ConversionOptions, samples: Samples | None) -> ConversionHints:
    """Turns the options into hints for the converter. Raises InvalidOptionsError with every missing flag, InvalidOnnxError."""
    audit(data)
    onnx, labels = remove_zipmap(data)
    info = read_model_info(onnx)
    missing = [*_missing_input_options(info, task, samples), *_missing_output_options(info, task, labels)]
    if missing:
        raise InvalidOptionsError(options="; ".join(missing))
    image, steps = _image_input(info, task)
    output = next((tensor for tensor in info.outputs if tensor.name == task.output), None)
    return ConversionHints(
        labels=task.labels,
        renamed=task.renamed,
        features=task.features,
        input=image,
        steps=steps,
        output=None if output is None else _named_output(output, task, labels),
        scale=task.scale if "scale" in task.told else None,
        unit=task.unit,
        orientation=task.orientation,
        background=task.background,
        scores=task.scores,
    )


def _missing_input_options(info: OnnxModelInfo, task: ConversionOptions, samples: Samples | None) -> list[str]:
    if len(info.inputs) != 1:
        return []
    tensor = info.inputs[0]
    missing = []
    if _is_flat(tensor) and not task.kind and samples is None and could_be_image(tensor.shape[1]):
        missing.append("--kind image or --kind record (it takes a row of numbers, which may be pixels)")
    if not _is_image(tensor, task, samples):
        return missing
    if tensor.kind != "tensor(uint8)" and "scale" not in task.told:
        missing.append("--preprocess NAME or --scale NUMBER (01 when it was trained on pixels of 0..1, raw when on 0..255)")
    if len(tensor.shape) == 4 and tensor.shape[1] not in (1, 3) and tensor.shape[3] not in (1, 3) and not task.layout:
        missing.append("--layout NHWC or --layout NCHW")
    if _size(tensor, task) is None and not isinstance(samples, ImageSamples):
        missing.append("--size WIDTHxHEIGHT")
    if _is_flat(tensor) and not task.mode:
        missing.append("--mode L, --mode RGB or --mode BGR")
    return missing


def _missing_output_options(info: OnnxModelInfo, task: ConversionOptions, labels: tuple[str, ...]) -> list[str]:
    scores = [tensor for tensor in info.outputs if tensor.kind in _FLOATS]
    named = [tensor for tensor in scores if tensor.name == task.output]
    if (task.output and scores and not named) or (not task.output and len(scores) > 1):
        return [f"--output, one of {', '.join(tensor.name for tensor in scores)}"]
    scores = named or scores
    columns = scores[0].shape[-1] if scores and len(scores[0].shape) > 1 else None
    labels_known = task.labels or task.renamed or labels or task.scores == "numbers"
    if isinstance(columns, int) and columns > 1 and not labels_known:
        return [labels_request(columns, "--")]
    return []


def _named_output(tensor: Tensor, task: ConversionOptions, labels: tuple[str, ...]) -> Output:
    return Output(name=tensor.name, labels=display_names(labels, task.labels, task.renamed), unit=task.unit)


def _is_flat(tensor: Tensor) -> bool:
    return len(tensor.shape) == 2


def _is_image(tensor: Tensor, task: ConversionOptions, samples: Samples | None) -> bool:
    if len(tensor.shape) in (3, 4):
        return True
    return _is_flat(tensor) and (task.kind == "image" or isinstance(samples, ImageSamples))


def require_input_kind(width: int, task: ConversionOptions, samples: Samples | None) -> None:
    """Requires --kind for unnamed numeric inputs that may be pixels, unless samples are given. Raises InvalidOptionsError."""
    if not task.kind and not task.features and samples is None and could_be_image(width):
        raise InvalidOptionsError(
            options=f"--kind record, or --kind image with --mode and --preprocess, or --samples (it takes a row of {width} "
            "numbers, which may be pixels)"
        )


def could_be_image(width: object) -> bool:
    """Whether a row of that many numbers may be a square image, grey or RGB."""
    if not isinstance(width, int) or width < _MIN_IMAGE_PIXELS:
        return False
    return any(width % channels == 0 and math.isqrt(width // channels) ** 2 == width // channels for channels in (1, 3))


def _size(tensor: Tensor, task: ConversionOptions) -> tuple[int, int] | None:
    """Width and height, from the options or the shape."""
    if task.size:
        return task.size
    height: Any = None
    width: Any = None
    if _is_flat(tensor):
        side = math.isqrt(tensor.shape[1] // _channels(tensor, task)) if isinstance(tensor.shape[1], int) else 0
        height = width = side if side * side * _channels(tensor, task) == tensor.shape[1] else None
    elif len(tensor.shape) == 3:
        height, width = tensor.shape[1:]
    else:
        height, width = tensor.shape[2:] if _layout(tensor, task) == "NCHW" else tensor.shape[1:3]
    return (width, height) if isinstance(width, int) and isinstance(height, int) else None


def _channels(tensor: Tensor, task: ConversionOptions) -> int:
    if _is_flat(tensor):
        return 3 if task.mode in ("RGB", "BGR") else 1
    if len(tensor.shape) == 3:
        return 1
    channels = tensor.shape[1] if _layout(tensor, task) == "NCHW" else tensor.shape[3]
    return channels if isinstance(channels, int) else 1 if task.mode == "L" else 3


def _layout(tensor: Tensor, task: ConversionOptions) -> Any:
    if _is_flat(tensor):
        return "flat"
    if len(tensor.shape) == 3:
        return "NHW"
    if task.layout in ("NHWC", "NCHW"):
        return task.layout
    return "NHWC" if tensor.shape[3] in (1, 3) else "NCHW"


def _image_input(info: OnnxModelInfo, task: ConversionOptions) -> tuple[ImageInput | None, ImageSteps | None]:
    """Input and steps of an image, as far as they are known; None for records, and when the size comes from the samples."""
    if len(info.inputs) != 1 or not _is_image(info.inputs[0], task, None):
        return None, None
    tensor = info.inputs[0]
    size = _size(tensor, task)
    steps = ImageSteps(
        input=tensor.name,
        scale=task.scale,
        mean=task.mean,
        std=task.std,
        layout=_layout(tensor, task),
        channels="BGR" if task.mode == "BGR" else "RGB",
    )
    if size is None:
        return None, steps
    return ImageInput(width=size[0], height=size[1], mode="RGB" if _channels(tensor, task) == 3 else "L"), steps


def picture_hints(model: Any, task: ConversionOptions, hints: ConversionHints) -> ConversionHints:
    """Adds the image input to the hints for a model over rows of pixels. Raises InvalidOptionsError naming every missing flag."""
    width = int(getattr(with_feature_count(model), "n_features_in_", 0))
    channels = 1 if task.mode == "L" else 3
    side = math.isqrt(width // channels)
    size = task.size or ((side, side) if side and side * side * channels == width else None)
    missing = [] if task.mode else ["--mode L, --mode RGB or --mode BGR"]
    missing += [] if "scale" in task.told else [ASK_SCALE]
    missing += [] if size else ["--size WIDTHxHEIGHT"]
    if missing or not size:
        raise InvalidOptionsError(options="; ".join(missing))
    image = ImageInput(width=size[0], height=size[1], mode="L" if channels == 1 else "RGB")
    steps = ImageSteps(
        input="pixels",
        scale=task.scale,
        mean=task.mean,
        std=task.std,
        channels="BGR" if task.mode == "BGR" else "RGB",
        layout="flat",
    )
    return replace(hints, input=image, steps=hints.picture(steps), scale=task.scale)


def with_feature_count(model: Any) -> Any:
    """Sets `n_features_in_` on a model that lacks it; releases before 0.24 did not set it."""
    if hasattr(model, "n_features_in_"):
        return model
    for name, axis in (("coef_", -1), ("support_vectors_", 1), ("theta_", 1), ("cluster_centers_", 1), ("components_", 1)):
        array = getattr(model, name, None)
        if isinstance(array, np.ndarray) and array.ndim > axis:
            model.n_features_in_ = array.shape[axis]
            return model
    return model
