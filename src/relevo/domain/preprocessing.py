"""Describes how an input becomes the model's tensors; `runtime/` executes it.

image    bytes ─ decode ─ orient ─ convert(mode) ─ resize(resample) ─► uint8 ─ × scale, − mean, ÷ std ─► layout
record   dict ─ validate ─► matrix  one float column for each encoded value: one ONNX input (n, columns)
                         └► columns one ONNX input (n, 1) a field: strings, floats, integers
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

#: Handling of the EXIF orientation; "apply" is the former name of "exif".
Orientation = Literal["apply", "exif", "ignore"]
_COLOURS = {"white": (255, 255, 255), "black": (0, 0, 0)}
_HEX = re.compile(r"#[0-9a-f]{6}")


class ImageSteps(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag="image"):
    """What is done to a picture. Value of a pixel x in channel c: (x · scale − mean[c]) / std[c], in float32."""

    #: Name of the ONNX input.
    input: str
    #: Pillow's resampling filter; `nearest` is what Keras' `load_img` does unless told otherwise.
    resample: Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"] = "nearest"
    #: Factor of every pixel, which comes as 0 to 255.
    scale: float = 1.0
    #: What is taken off after scaling, one a channel.
    mean: tuple[float, ...] = ()
    #: What it is then divided by, one a channel.
    std: tuple[float, ...] = ()
    #: Order of the colour channels the model was trained with.
    channels: Literal["RGB", "BGR"] = "RGB"
    #: Shape of the tensor: (n, h, w, c), (n, c, h, w), (n, h, w) or (n, h·w·c).
    layout: Literal["NHWC", "NCHW", "NHW", "flat"] = "NHWC"
    #: `exif`: a camera's EXIF orientation is applied; `ignore`: pixels are taken as stored. `apply`: the former word for `exif`.
    orientation: Orientation = "apply"
    #: Colour behind transparent pixels: `white`, `black` or `#rrggbb`; `ignore`: transparency is dropped. Left out: as `ignore`.
    background: str = ""
    #: Type of the tensor's numbers.
    dtype: Literal["float32", "float64", "uint8"] = "float32"


def stated(steps: ImageSteps, *, orientation: Orientation | None = None, background: str | None = None) -> ImageSteps:
    """The steps with explicit orientation and background.

    orientation, background: the user's choice; None keeps that of the steps, else `exif` and `white`.
    """
    chosen = orientation or steps.orientation
    return msgspec.structs.replace(
        steps, orientation="exif" if chosen == "apply" else chosen, background=background or steps.background or "white"
    )


def colour_of(background: str) -> tuple[int, int, int] | None:
    """Red, green and blue, 0..255; None if transparency is dropped. Raises ValueError for an invalid background."""
    if background in ("", "ignore"):
        return None
    if background in _COLOURS:
        return _COLOURS[background]
    if _HEX.fullmatch(background) is None:
        raise ValueError(background)
    return int(background[1:3], 16), int(background[3:5], 16), int(background[5:7], 16)


def background_problem(background: str) -> str | None:
    """Why the background is invalid, or None."""
    try:
        colour_of(background)
    except ValueError:
        return f"the background must be white, black, #rrggbb or ignore, not '{background}'"
    return None


class Column(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One number of the matrix: the field's own value, or 1.0 when it equals a category."""

    #: Name of the field.
    field: str
    #: The category that makes it 1; left out where the field's own number is taken.
    equals: str | bool | None = None


class MatrixSteps(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag="matrix"):
    """A record as one row of numbers; a missing optional field counts as `missing`."""

    #: Name of the ONNX input, of shape (n, columns).
    input: str
    #: The numbers of a row, in order.
    columns: tuple[Column, ...]
    #: Type of the matrix's numbers.
    dtype: Literal["float32", "float64"] = "float32"
    #: What stands for an absent number: 0 as DictVectorizer does, or NaN for models that know missing values. `sparse`: NaN also
    #: stands for the columns of other categories, as XGBoost reads the entries that a sparse matrix does not store.
    missing: Literal["zero", "nan", "sparse"] = "zero"
    #: A null that is sent for a number: as if the field were absent, or NaN, as DictVectorizer makes of it.
    null: Literal["absent", "nan"] = "absent"


class ColumnInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One field fed to one ONNX input of shape (n, 1)."""

    #: Name of the field.
    field: str
    #: Name of the ONNX input it goes to.
    input: str
    #: Type of that input.
    dtype: Literal["float32", "float64", "int64", "string"]


class ColumnSteps(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag="columns"):
    """A record as one tensor a field, as a ColumnTransformer wants it."""

    #: Which field goes to which input.
    columns: tuple[ColumnInput, ...]


Steps = ImageSteps | MatrixSteps | ColumnSteps
