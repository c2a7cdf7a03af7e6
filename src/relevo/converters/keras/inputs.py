"""Determines how a Keras model is fed, from its input shapes, the samples and the user's options.

    (n, h, w, 1|3) · (n, 1|3, h, w) · (n, h, w)   images
    (n, features)                                 a record of numbers, or flattened images
    several (n, 1)                                a record, one tensor for each field

No file says how pixels were scaled in training, so the option is required, unless the model starts with a rescaling layer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np

from relevo.converters.keras.export import TensorSpec
from relevo.domain.preprocessing import Column, ColumnInput, ColumnSteps, ImageSteps, MatrixSteps, Steps
from relevo.domain.signature import Field, FieldKind, ImageInput, Input, RecordInput
from relevo.errors import ConversionError
from relevo.package.samples import ImageSamples, RecordSamples, ready_pixels
from relevo.package.schema_inference import fractional, infer_fields
from relevo.runtime.image import OWN_FILES, decode, tensor
from relevo.runtime.record_encoder import RecordEncoder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from relevo.package.conversion import ConversionOptions, Layout
    from relevo.package.samples import Samples

_IMAGE_TENSOR, _MATRIX_TENSOR = "pixels", "features"
_INTEGERS = {"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "bool"}


@dataclass(frozen=True, slots=True, kw_only=True)
class KerasInput:
    """An input as declared by the model."""

    name: str
    shape: tuple[int | None, ...]  # without the batch axis
    dtype: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InputBinding:
    """One way to feed the model. Lifetime: one conversion."""

    input: Input
    steps: Steps
    axes: tuple[TensorSpec, ...]


def model_inputs(model: Any) -> tuple[KerasInput, ...]:
    """Returns the model's inputs. Raises ConversionError when the model was not built, so that they are unknown."""
    declared = getattr(model, "inputs", None)
    if declared:
        return tuple(
            KerasInput(
                name=str(getattr(spec, "name", "")).partition(":")[0] or f"input_{index}",
                shape=tuple(spec.shape)[1:],
                dtype=_dtype(spec.dtype),
            )
            for index, spec in enumerate(declared)
        )
    # A subclassed model stores only the shapes of its first call.
    built_shapes = tuple((getattr(model, "_build_shapes_dict", None) or {}).values())
    shape = built_shapes[0] if len(built_shapes) == 1 else None
    if isinstance(shape, tuple | list) and shape and not isinstance(shape[0], tuple | list | dict):
        return (KerasInput(name="input", shape=tuple(shape)[1:], dtype="float32"),)
    raise ConversionError(reason="the Keras model does not tell its inputs; build it, or call it once, before it is packed")


def _dtype(dtype: Any) -> str:
    return str(getattr(dtype, "name", dtype))


def is_image(inputs: tuple[KerasInput, ...], samples: Samples | None, options: ConversionOptions) -> bool:
    """Whether the model takes a single image."""
    if len(inputs) != 1 or options.kind == "record" or isinstance(samples, RecordSamples) or isinstance(options.input, RecordInput):
        return False
    requested = options.kind == "image" or isinstance(samples, ImageSamples) or isinstance(options.input, ImageInput)
    return requested or len(inputs[0].shape) == 3


# --- images -------------------------------------------------------------------------------------------------------------


def missing_image_options(
    model_input: KerasInput, samples: Samples | None, options: ConversionOptions, *, rescales: bool
) -> list[str]:
    """Returns the missing options for this image input. rescales: whether the model begins with a Rescaling layer."""
    missing = []
    if not options.knows_pixels:
        hint = "it begins with a Rescaling layer of its own, so most likely --scale 1" if rescales else "most often 01"
        missing.append(
            f"--preprocess NAME, or --scale NUMBER ({hint}; 01: pixels of 0..1, tf: -1..1, caffe: VGG and ResNet50, "
            "torch: DenseNet, raw: 0..255)"
        )
    if len(model_input.shape) == 1 and not options.mode and not _mode_known(samples, options):
        missing.append("--mode L, --mode RGB or --mode BGR")
    if _size(model_input, samples, options) is None:
        missing.append("--size WIDTHxHEIGHT")
    return missing


def bind_image(model_input: KerasInput, samples: Samples | None, options: ConversionOptions) -> InputBinding:
    """Returns input and steps of an image, once all options are known. Raises ConversionError when the shapes differ."""
    layout, channels = _layout(model_input, options)
    size = _size(model_input, samples, options)
    assert size is not None  # noqa: S101 - required before
    mode: Literal["L", "RGB"] = "RGB" if (channels or _channels(samples, options)) == 3 else "L"
    image = options.input if isinstance(options.input, ImageInput) else ImageInput(width=size[0], height=size[1], mode=mode)
    steps = msgspec.structs.replace(options.image_steps(_IMAGE_TENSOR), layout=layout, dtype="float32")
    channel_count = 3 if image.mode == "RGB" else 1
    shape: tuple[int | None, ...] = {
        "NHWC": (image.height, image.width, channel_count),
        "NCHW": (channel_count, image.height, image.width),
        "NHW": (image.height, image.width),
        "flat": (image.height * image.width * channel_count,),
    }[layout]
    if any(declared not in (None, expected) for declared, expected in zip(model_input.shape, shape, strict=True)):
        raise ConversionError(
            reason=f"the model takes {_format_shape(model_input.shape)}; pictures as told would be {_format_shape(shape)}"
        )
    axes = TensorSpec(name=_IMAGE_TENSOR, dtype="float32", shape=shape, model_dtype=model_input.dtype)
    return InputBinding(input=image, steps=steps, axes=(axes,))


def _layout(model_input: KerasInput, options: ConversionOptions) -> tuple[Layout, int | None]:
    """Layout of the image, and its number of channels where the shape determines it."""
    shape = model_input.shape
    if len(shape) == 1:
        return "flat", None
    if len(shape) == 2:
        return "NHW", 1
    if len(shape) == 3 and shape[2] in (1, 3) and options.layout != "NCHW":
        return "NHWC", shape[2]
    if len(shape) == 3 and shape[0] in (1, 3):
        return "NCHW", shape[0]
    if len(shape) == 3 and shape[2] is None:
        return "NHWC", None
    raise ConversionError(reason=f"its input of shape {_format_shape(shape)} is no picture of one or three colours")


def _mode_known(samples: Samples | None, options: ConversionOptions) -> bool:
    return isinstance(options.input, ImageInput) or isinstance(samples, ImageSamples) or bool(options.mode)


def _channels(samples: Samples | None, options: ConversionOptions) -> int:
    if isinstance(options.input, ImageInput):
        return 3 if options.input.mode == "RGB" else 1
    if options.mode:
        return 1 if options.mode == "L" else 3
    return 3 if not isinstance(samples, ImageSamples) or len(samples.shape(options.orientation)) == 3 else 1


def _size(model_input: KerasInput, samples: Samples | None, options: ConversionOptions) -> tuple[int, int] | None:
    """Width and height: from the options, the shape, or the samples."""
    if isinstance(options.input, ImageInput):
        return options.input.width, options.input.height
    layout, _ = _layout(model_input, options)
    height: int | None = None
    width: int | None = None
    if layout == "flat":
        pixels = (model_input.shape[0] or 0) // _channels(samples, options)
        side = math.isqrt(pixels)
        height = width = side if side and side * side == pixels else None
    else:
        height, width = model_input.shape[1:] if layout == "NCHW" else model_input.shape[:2]
    if height and width:
        return width, height
    if options.size:
        return options.size
    if isinstance(samples, ImageSamples):
        rows, columns = samples.shape(options.orientation)[:2]
        return columns, rows
    return None


# --- records ------------------------------------------------------------------------------------------------------------


def bind_record(inputs: tuple[KerasInput, ...], samples: Samples | None, options: ConversionOptions) -> InputBinding:
    """Returns input and steps of a record. Raises ConversionError when the model takes something else."""
    if len(inputs) > 1:
        return _bind_columns(inputs, samples, options)
    model_input = inputs[0]
    if len(model_input.shape) != 1 or model_input.shape[0] is None:
        raise ConversionError(
            reason=f"its input of shape {_format_shape(model_input.shape)} is neither a row of numbers nor a picture; "
            "sequences and volumes are not served by this release"
        )
    if model_input.dtype == "string":
        raise ConversionError(reason="it takes texts; put the vocabulary outside the model, so that it takes numbers")
    width = model_input.shape[0]
    record, steps = _matrix_input(width, samples, options)
    if not isinstance(options.input, RecordInput) and model_input.dtype not in _INTEGERS:
        record = msgspec.structs.replace(record, fields=tuple(fractional(field) for field in record.fields))
    axes = TensorSpec(name=_MATRIX_TENSOR, dtype="float32", shape=(width,), model_dtype=model_input.dtype)
    return InputBinding(input=record, steps=msgspec.structs.replace(steps, input=_MATRIX_TENSOR, dtype="float32"), axes=(axes,))


def _matrix_input(width: int, samples: Samples | None, options: ConversionOptions) -> tuple[RecordInput, MatrixSteps]:
    if isinstance(options.input, RecordInput) and isinstance(options.preprocessing, MatrixSteps):
        return options.input, options.preprocessing
    record = options.input if isinstance(options.input, RecordInput) else RecordInput(fields=_fields(width, samples, options))
    texts = [field.name for field in record.fields if field.kind is FieldKind.CATEGORY]
    if texts:
        raise ConversionError(
            reason=f"the fields {', '.join(texts[:8])} hold texts, and the model takes {width} numbers; give input= and preprocessing= "
            "(MatrixSteps says which text becomes which column)"
        )
    if len(record.fields) != width:
        raise ConversionError(reason=f"the model takes {width} numbers, and the samples have {len(record.fields)} fields")
    columns = tuple(Column(field=field.name) for field in record.fields)
    return record, MatrixSteps(input=_MATRIX_TENSOR, columns=columns, missing="nan")


def _fields(width: int, samples: Samples | None, options: ConversionOptions) -> tuple[Field, ...]:
    if isinstance(samples, RecordSamples):
        return infer_fields(samples, options.features)
    names = options.features or tuple(f"f{column}" for column in range(width))
    return tuple(Field(name=name, kind=FieldKind.NUMBER, example=1.0) for name in names)


def _bind_columns(inputs: tuple[KerasInput, ...], samples: Samples | None, options: ConversionOptions) -> InputBinding:
    if any(model_input.shape not in ((), (1,)) or model_input.dtype == "string" for model_input in inputs):
        shapes = ", ".join(f"{model_input.name} {_format_shape(model_input.shape)}" for model_input in inputs[:8])
        raise ConversionError(reason=f"it has several inputs ({shapes}); only single numbers can be served together")
    columns = tuple(
        ColumnInput(field=model_input.name, input=model_input.name, dtype="int64" if model_input.dtype in _INTEGERS else "float32")
        for model_input in inputs
    )
    axes = tuple(
        TensorSpec(name=column.input, dtype=column.dtype, shape=(1,), model_dtype=model_input.dtype)
        for column, model_input in zip(columns, inputs, strict=True)
    )
    if isinstance(options.input, RecordInput):
        return InputBinding(input=options.input, steps=ColumnSteps(columns=columns), axes=axes)
    if isinstance(samples, RecordSamples):
        inferred = infer_fields(samples, [model_input.name for model_input in inputs])
        fields = tuple(
            item if model_input.dtype in _INTEGERS else fractional(item) for item, model_input in zip(inferred, inputs, strict=True)
        )
    else:
        kinds = {"int64": FieldKind.INTEGER}
        fields = tuple(Field(name=item.field, kind=kinds.get(item.dtype, FieldKind.NUMBER), example=1) for item in columns)
    return InputBinding(input=RecordInput(fields=fields), steps=ColumnSteps(columns=columns), axes=axes)


# --- input of the original -------------------------------------------------------------------------------------------------


def input_tensors(binding: InputBinding, samples: Samples) -> list[NDArray[Any]]:
    """Returns the samples as the tensors that serving makes, one for each input, each (n, …)."""
    if isinstance(binding.input, ImageInput):
        assert isinstance(binding.steps, ImageSteps)  # noqa: S101 - images have image steps
        ready = ready_pixels(samples, binding.input)
        if ready is None:
            ready = [decode(_file(samples.payload(row)), binding.input, binding.steps, OWN_FILES) for row in range(len(samples))]
        return [tensor(ready, binding.steps)]
    assert not isinstance(binding.steps, ImageSteps)  # noqa: S101 - records have other steps
    encoder = RecordEncoder(binding.input, binding.steps)
    rows = []
    for row in range(len(samples)):
        record = samples.payload(row)
        assert isinstance(record, dict)  # noqa: S101 - records are dicts
        rows.append(encoder.check({name: value for name, value in record.items() if value is not None}))
    stacked = encoder.stack(rows)
    return [np.asarray(stacked[axis.name]) for axis in binding.axes]


def _file(payload: bytes | dict[str, Any]) -> bytes:
    if isinstance(payload, dict):
        raise ConversionError(reason="the model takes pictures, and the samples are records")
    return payload


def _format_shape(shape: tuple[int | None, ...]) -> str:
    return "(" + ", ".join(["n", *("any" if axis is None else str(axis) for axis in shape)]) + ")"
