"""How a Keras model wants to be fed: its input's shape, held against the samples and what a person said.

(n, h, w, 1|3) · (n, 1|3, h, w) · (n, h, w)   pictures
(n, features)                                 a record of numbers, or flat pictures
several (n, 1)                                a record, one tensor a field

The numbers of a picture are the user's secret: what 255 counted as is in no file, so it is asked for, unless the model begins by
rescaling them itself.
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
from relevo.package.conversion import ConversionHints
from relevo.package.samples import ImageSamples, RecordSamples, ready_pixels
from relevo.package.schema_inference import fractional, infer_fields
from relevo.runtime.image import OWN_FILES, decode, tensor
from relevo.runtime.record_encoder import RecordEncoder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from relevo.converters.options import ConversionOptions
    from relevo.package.samples import Samples

_PICTURE, _MATRIX = "pixels", "features"
_INTEGERS = {"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "bool"}

Layout = Literal["NHWC", "NCHW", "NHW", "flat"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An input of the model as it declares it."""

    name: str
    shape: tuple[int | None, ...]  # without the batch axis
    dtype: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InputBinding:
    """One way to feed the model; lives as long as one conversion."""

    input: Input
    steps: Steps
    axes: tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a person said that Hints has no word for; from the command line."""

    kind: str = ""  # "record" or "image"
    layout: str = ""
    size: tuple[int, int] | None = None  # width, height
    mode: str = ""
    channels: Literal["RGB", "BGR"] = "RGB"


def hints_of(task: ConversionOptions) -> ConversionHints:
    """What the task says, in the words that live models know."""
    steps = None
    if "scale" in task.told:
        steps = ImageSteps(input=_PICTURE, scale=task.scale, mean=task.mean, std=task.std)
    return ConversionHints(
        labels=task.labels,
        renamed=task.renamed,
        features=task.features,
        steps=steps,
        unit=task.unit,
        scores=task.scores,
        orientation=task.orientation,
        background=task.background,
    )


def told_of(task: ConversionOptions) -> Told:
    """The rest of what the task says."""
    return Told(kind=task.kind, layout=task.layout, size=task.size, mode=task.mode, channels="BGR" if task.mode == "BGR" else "RGB")


def entries_of(model: Any) -> tuple[Entry, ...]:
    """The model's inputs. Raises ConversionError when it has not been built, so that nobody knows them."""
    inputs = getattr(model, "inputs", None)
    if inputs:
        return tuple(
            Entry(
                name=str(getattr(one, "name", "")).partition(":")[0] or f"input_{place}",
                shape=tuple(one.shape)[1:],
                dtype=_dtype(one.dtype),
            )
            for place, one in enumerate(inputs)
        )
    # A class of the user's own remembers only what it was first called with.
    called = tuple((getattr(model, "_build_shapes_dict", None) or {}).values())
    shape = called[0] if len(called) == 1 else None
    if isinstance(shape, tuple | list) and shape and not isinstance(shape[0], tuple | list | dict):
        return (Entry(name="input", shape=tuple(shape)[1:], dtype="float32"),)
    raise ConversionError(reason="the Keras model does not tell its inputs; build it, or call it once, before it is packed")


def _dtype(dtype: Any) -> str:
    return str(getattr(dtype, "name", dtype))


def is_picture(entries: tuple[Entry, ...], samples: Samples | None, hints: ConversionHints, told: Told) -> bool:
    """Whether the model takes one picture."""
    if len(entries) != 1 or told.kind == "record" or isinstance(samples, RecordSamples) or isinstance(hints.input, RecordInput):
        return False
    asked = told.kind == "image" or isinstance(samples, ImageSamples) or isinstance(hints.input, ImageInput)
    return asked or len(entries[0].shape) == 3


# --- pictures -----------------------------------------------------------------------------------------------------------


def asked_about_picture(entry: Entry, samples: Samples | None, hints: ConversionHints, told: Told, *, rescales: bool) -> list[str]:
    """The options a person must add for this picture, if any. rescales: the model begins with a Rescaling layer."""
    asked = []
    if not isinstance(hints.steps, ImageSteps) and hints.scale is None:
        guess = "it begins with a Rescaling layer of its own, so most likely --scale 1" if rescales else "most often 01"
        asked.append(
            f"--preprocess NAME, or --scale NUMBER ({guess}; 01: pixels of 0..1, tf: -1..1, caffe: VGG and ResNet50, "
            "torch: DenseNet, raw: 0..255)"
        )
    if len(entry.shape) == 1 and not told.mode and not _wanted(samples, hints, told):
        asked.append("--mode L, --mode RGB or --mode BGR")
    if _size(entry, samples, hints, told) is None:
        asked.append("--size WIDTHxHEIGHT")
    return asked


def picture_feed(entry: Entry, samples: Samples | None, hints: ConversionHints, told: Told) -> InputBinding:
    """Input and steps of a picture about which everything is told. Raises ConversionError when it cannot be one."""
    layout, channels = _layout(entry, told)
    size = _size(entry, samples, hints, told)
    assert size is not None  # noqa: S101 - asked for before
    mode: Literal["L", "RGB"] = "RGB" if (channels or _channels(samples, hints, told)) == 3 else "L"
    wanted = hints.input if isinstance(hints.input, ImageInput) else ImageInput(width=size[0], height=size[1], mode=mode)
    steps = hints.picture(
        hints.steps if isinstance(hints.steps, ImageSteps) else ImageSteps(input=_PICTURE, scale=_one(hints.scale))
    )
    if told.channels == "BGR":
        steps = msgspec.structs.replace(steps, channels="BGR")
    steps = msgspec.structs.replace(steps, input=_PICTURE, layout=layout, dtype="float32")
    colours = 3 if wanted.mode == "RGB" else 1
    shape: tuple[int | None, ...] = {
        "NHWC": (wanted.height, wanted.width, colours),
        "NCHW": (colours, wanted.height, wanted.width),
        "NHW": (wanted.height, wanted.width),
        "flat": (wanted.height * wanted.width * colours,),
    }[layout]
    if any(known not in (None, ours) for known, ours in zip(entry.shape, shape, strict=True)):
        raise ConversionError(reason=f"the model takes {_shown(entry.shape)}; pictures as told would be {_shown(shape)}")
    axes = TensorSpec(name=_PICTURE, dtype="float32", shape=shape, model_dtype=entry.dtype)
    return InputBinding(input=wanted, steps=steps, axes=(axes,))


def _one(scale: float | None) -> float:
    return 1.0 if scale is None else scale


def _layout(entry: Entry, told: Told) -> tuple[Layout, int | None]:
    """How a picture's numbers lie, and how many channels it has where the shape tells."""
    shape = entry.shape
    if len(shape) == 1:
        return "flat", None
    if len(shape) == 2:
        return "NHW", 1
    if len(shape) == 3 and shape[2] in (1, 3) and told.layout != "NCHW":
        return "NHWC", shape[2]
    if len(shape) == 3 and shape[0] in (1, 3):
        return "NCHW", shape[0]
    if len(shape) == 3 and shape[2] is None:
        return "NHWC", None
    raise ConversionError(reason=f"its input of shape {_shown(shape)} is no picture of one or three colours")


def _wanted(samples: Samples | None, hints: ConversionHints, told: Told) -> bool:
    return isinstance(hints.input, ImageInput) or isinstance(samples, ImageSamples) or bool(told.mode)


def _channels(samples: Samples | None, hints: ConversionHints, told: Told) -> int:
    if isinstance(hints.input, ImageInput):
        return 3 if hints.input.mode == "RGB" else 1
    if told.mode:
        return 1 if told.mode == "L" else 3
    return 3 if not isinstance(samples, ImageSamples) or len(samples.shape(hints.orientation)) == 3 else 1


def _size(entry: Entry, samples: Samples | None, hints: ConversionHints, told: Told) -> tuple[int, int] | None:
    """Width and height: told, read off the shape, or the samples' own."""
    if isinstance(hints.input, ImageInput):
        return hints.input.width, hints.input.height
    layout, _ = _layout(entry, told)
    height: int | None = None
    width: int | None = None
    if layout == "flat":
        pixels = (entry.shape[0] or 0) // _channels(samples, hints, told)
        side = math.isqrt(pixels)
        height = width = side if side and side * side == pixels else None
    else:
        height, width = entry.shape[1:] if layout == "NCHW" else entry.shape[:2]
    if height and width:
        return width, height
    if told.size:
        return told.size
    if isinstance(samples, ImageSamples):
        rows, columns = samples.shape(hints.orientation)[:2]
        return columns, rows
    return None


# --- records ------------------------------------------------------------------------------------------------------------


def record_feed(entries: tuple[Entry, ...], samples: Samples | None, hints: ConversionHints) -> InputBinding:
    """Input and steps of a record. Raises ConversionError when the model takes something else."""
    if len(entries) > 1:
        return _columns(entries, samples, hints)
    entry = entries[0]
    if len(entry.shape) != 1 or entry.shape[0] is None:
        raise ConversionError(
            reason=f"its input of shape {_shown(entry.shape)} is neither a row of numbers nor a picture; "
            "sequences and volumes are not served by this release"
        )
    if entry.dtype == "string":
        raise ConversionError(reason="it takes texts; put the vocabulary outside the model, so that it takes numbers")
    width = entry.shape[0]
    record, steps = _matrix(width, samples, hints)
    if not isinstance(hints.input, RecordInput) and entry.dtype not in _INTEGERS:
        record = msgspec.structs.replace(record, fields=tuple(fractional(field) for field in record.fields))
    axes = TensorSpec(name=_MATRIX, dtype="float32", shape=(width,), model_dtype=entry.dtype)
    return InputBinding(input=record, steps=msgspec.structs.replace(steps, input=_MATRIX, dtype="float32"), axes=(axes,))


def _matrix(width: int, samples: Samples | None, hints: ConversionHints) -> tuple[RecordInput, MatrixSteps]:
    if isinstance(hints.input, RecordInput) and isinstance(hints.steps, MatrixSteps):
        return hints.input, hints.steps
    record = hints.input if isinstance(hints.input, RecordInput) else RecordInput(fields=_fields(width, samples, hints))
    texts = [field.name for field in record.fields if field.kind is FieldKind.CATEGORY]
    if texts:
        raise ConversionError(
            reason=f"the fields {', '.join(texts[:8])} hold texts, and the model takes {width} numbers; give input= and steps= "
            "(MatrixSteps says which text becomes which column)"
        )
    if len(record.fields) != width:
        raise ConversionError(reason=f"the model takes {width} numbers, and the samples have {len(record.fields)} fields")
    columns = tuple(Column(field=field.name) for field in record.fields)
    return record, MatrixSteps(input=_MATRIX, columns=columns, missing="nan")


def _fields(width: int, samples: Samples | None, hints: ConversionHints) -> tuple[Field, ...]:
    if isinstance(samples, RecordSamples):
        return infer_fields(samples, hints.features)
    names = hints.features or tuple(f"f{column}" for column in range(width))
    return tuple(Field(name=name, kind=FieldKind.NUMBER, example=1.0) for name in names)


def _columns(entries: tuple[Entry, ...], samples: Samples | None, hints: ConversionHints) -> InputBinding:
    if any(entry.shape not in ((), (1,)) or entry.dtype == "string" for entry in entries):
        told = ", ".join(f"{entry.name} {_shown(entry.shape)}" for entry in entries[:8])
        raise ConversionError(reason=f"it has several inputs ({told}); only single numbers can be served together")
    columns = tuple(
        ColumnInput(field=entry.name, input=entry.name, dtype="int64" if entry.dtype in _INTEGERS else "float32")
        for entry in entries
    )
    axes = tuple(
        TensorSpec(name=column.input, dtype=column.dtype, shape=(1,), model_dtype=entry.dtype)
        for column, entry in zip(columns, entries, strict=True)
    )
    if isinstance(hints.input, RecordInput):
        return InputBinding(input=hints.input, steps=ColumnSteps(columns=columns), axes=axes)
    if isinstance(samples, RecordSamples):
        seen = infer_fields(samples, [entry.name for entry in entries])
        fields = tuple(one if entry.dtype in _INTEGERS else fractional(one) for one, entry in zip(seen, entries, strict=True))
    else:
        kinds = {"int64": FieldKind.INTEGER}
        fields = tuple(Field(name=one.field, kind=kinds.get(one.dtype, FieldKind.NUMBER), example=1) for one in columns)
    return InputBinding(input=RecordInput(fields=fields), steps=ColumnSteps(columns=columns), axes=axes)


# --- what the original is asked with --------------------------------------------------------------------------------------


def tensors_of(feed: InputBinding, samples: Samples) -> list[NDArray[Any]]:
    """The samples as the very tensors that serving makes, one an input, each (n, …)."""
    if isinstance(feed.input, ImageInput):
        assert isinstance(feed.steps, ImageSteps)  # noqa: S101 - pictures have image steps
        ready = ready_pixels(samples, feed.input)
        if ready is None:
            ready = [decode(_file(samples.payload(row)), feed.input, feed.steps, OWN_FILES) for row in range(len(samples))]
        return [tensor(ready, feed.steps)]
    assert not isinstance(feed.steps, ImageSteps)  # noqa: S101 - records have other steps
    encoder = RecordEncoder(feed.input, feed.steps)
    rows = []
    for row in range(len(samples)):
        record = samples.payload(row)
        assert isinstance(record, dict)  # noqa: S101 - records are dicts
        rows.append(encoder.check({name: value for name, value in record.items() if value is not None}))
    stacked = encoder.stack(rows)
    return [np.asarray(stacked[one.name]) for one in feed.axes]


def _file(payload: bytes | dict[str, Any]) -> bytes:
    if isinstance(payload, dict):
        raise ConversionError(reason="the model takes pictures, and the samples are records")
    return payload


def _shown(shape: tuple[int | None, ...]) -> str:
    return "(" + ", ".join(["n", *("any" if axis is None else str(axis) for axis in shape)]) + ")"
