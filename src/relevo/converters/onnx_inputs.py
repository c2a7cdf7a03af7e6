"""Reads from the input shapes of an ONNX file how to feed it: as an image, a matrix or columns.

(n, h, w, 1|3) · (n, 1|3, h, w) · (n, h, w)   image
(n, features)                                 matrix, or a flattened image when the samples are images
several (n, 1)                                one field for each input
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from relevo.domain.preprocessing import Column, ColumnInput, ColumnSteps, ImageSteps, MatrixSteps, Steps
from relevo.domain.signature import Field, FieldKind, ImageInput, Input, RecordInput
from relevo.errors import ConversionError, ImportModelError, InvalidOptionsError
from relevo.package.samples import ImageSamples, RecordSamples
from relevo.package.schema_inference import fractional, infer_field

if TYPE_CHECKING:
    from relevo.package.conversion import ConversionOptions
    from relevo.package.samples import Samples

_DTYPES: dict[str, Any] = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(int64)": "int64",
    "tensor(string)": "string",
}
_KINDS = {"string": FieldKind.CATEGORY, "int64": FieldKind.INTEGER}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """An input or output as declared in the file."""

    name: str
    kind: str  # "tensor(float)"
    shape: tuple[int | str | None, ...]  # an int where the axis is fixed

    @property
    def dtype(self) -> Any:
        """NumPy's name of the type. Raises ConversionError for types that cannot be fed."""
        if self.kind not in _DTYPES:
            raise ConversionError(reason=f"its input '{self.name}' is a {self.kind}, which cannot be fed")
        return _DTYPES[self.kind]


def read_input(inputs: tuple[Tensor, ...], samples: Samples | None, options: ConversionOptions) -> tuple[Input, Steps]:
    """Returns the signature's input and the steps that produce its tensors.

    Raises InvalidOptionsError, ConversionError, and ImportModelError when an option contradicts the file.
    """
    for tensor in inputs:
        if tensor.shape and isinstance(tensor.shape[0], int):
            raise ConversionError(
                reason=f"its input '{tensor.name}' takes exactly {tensor.shape[0]} row(s); export it with a free batch axis"
            )
    if len(inputs) > 1:
        return _column_inputs(inputs, samples, options)
    if not inputs:
        raise ConversionError(reason="it has no input")
    rank = len(inputs[0].shape)
    if rank in (3, 4) or (rank == 2 and (isinstance(samples, ImageSamples) or isinstance(options.input, ImageInput))):
        return _image_input(inputs[0], samples, options)
    if rank == 2:
        return _matrix_input(inputs[0], samples, options)
    raise ConversionError(reason=f"its input '{inputs[0].name}' has {rank} axes; 2 to 4 are known")


def _image_input(tensor: Tensor, samples: Samples | None, options: ConversionOptions) -> tuple[Input, Steps]:
    layout, height, width, channels = _image_shape(tensor, options)
    image = options.input if isinstance(options.input, ImageInput) else None
    if image is None and isinstance(samples, ImageSamples) and not (isinstance(height, int) and isinstance(width, int)):
        height, width, *channel_axis = samples.shape(options.orientation)
        channels = channels or (3 if channel_axis else 1)
    if image is None:
        if not (isinstance(height, int) and isinstance(width, int)):
            raise InvalidOptionsError(options="input (the width and height of its pictures)")
        image = ImageInput(width=width, height=height, mode="RGB" if channels == 3 else "L")
    _refuse_misfit(tensor, image, layout, options)
    return image, _image_steps(tensor, layout, options)


def _refuse_misfit(tensor: Tensor, image: ImageInput, layout: str, options: ConversionOptions) -> None:
    """Rejects a size, mode or layout option that contradicts the file's input shape. Raises ImportModelError."""
    declared = tensor.shape[1:]
    if any(isinstance(size, int) and size != expected for size, expected in zip(declared, _image_axes(image, layout), strict=True)):
        shown_layout = (
            options.preprocessing.layout if isinstance(options.preprocessing, ImageSteps) and len(declared) == 3 else layout
        )
        raise ImportModelError(
            reason=f"its input takes {_format_shape(declared)}, and by the size, mode and layout told a picture becomes "
            f"{_format_shape(_image_axes(image, shown_layout))}; tell what fits the file, or leave it out"
        )


def _image_axes(image: ImageInput, layout: str) -> tuple[int, ...]:
    """Shape of one image, without the batch axis."""
    height, width, channels = image.height, image.width, 1 if image.mode == "L" else 3
    return {
        "flat": (height * width * channels,),
        "NHW": (height, width),
        "NHWC": (height, width, channels),
        "NCHW": (channels, height, width),
    }[layout]


def _format_shape(axes: tuple[int | str | None, ...]) -> str:
    """Formats a shape as N×3×100×100; a free axis becomes a question mark, whatever its name in the file."""
    return "×".join(["N", *(str(axis) if isinstance(axis, int) else "?" for axis in axes)])


def _image_shape(tensor: Tensor, options: ConversionOptions) -> tuple[Any, Any, Any, int | None]:
    """Layout, height, width and channels, as far as the shape determines them."""
    shape = tensor.shape
    if len(shape) == 2:
        return "flat", None, None, None
    if len(shape) == 3:
        return "NHW", shape[1], shape[2], 1
    if shape[3] in (1, 3):
        return "NHWC", shape[1], shape[2], int(shape[3])
    if shape[1] in (1, 3):
        return "NCHW", shape[2], shape[3], int(shape[1])
    if isinstance(options.preprocessing, ImageSteps):
        return options.preprocessing.layout, None, None, None
    raise InvalidOptionsError(options="preprocessing (whether its pictures are NHWC or NCHW)")


def _image_steps(tensor: Tensor, layout: Any, options: ConversionOptions) -> ImageSteps:
    if not options.knows_pixels and tensor.dtype != "uint8":
        raise InvalidOptionsError(options="scale (1/255 when it was trained on 0..1, 1 when on 0..255) or preprocessing")
    return msgspec.structs.replace(options.image_steps(tensor.name), dtype=tensor.dtype, layout=layout)


def _matrix_input(tensor: Tensor, samples: Samples | None, options: ConversionOptions) -> tuple[Input, Steps]:
    if isinstance(options.input, RecordInput) and isinstance(options.preprocessing, MatrixSteps):
        return options.input, msgspec.structs.replace(options.preprocessing, input=tensor.name, dtype=tensor.dtype)
    names = options.features
    if not names and isinstance(options.input, RecordInput):
        names = tuple(field.name for field in options.input.fields)
    if not names and isinstance(samples, RecordSamples):
        names = samples.names
    width = tensor.shape[1]
    if not names and isinstance(width, int):
        names = tuple(f"f{column}" for column in range(width))
    if not names or (isinstance(width, int) and width != len(names)):
        raise InvalidOptionsError(
            options=f"features ({width if isinstance(width, int) else 'all'} names, in the order of the columns)"
        )
    record = (
        options.input
        if isinstance(options.input, RecordInput)
        else RecordInput(fields=tuple(_field(name, samples) for name in names))
    )
    steps = MatrixSteps(input=tensor.name, columns=tuple(Column(field=name) for name in names), dtype=tensor.dtype, missing="nan")
    return record, steps


def _column_inputs(inputs: tuple[Tensor, ...], samples: Samples | None, options: ConversionOptions) -> tuple[Input, Steps]:
    for tensor in inputs:
        if len(tensor.shape) != 2 or tensor.shape[1] not in (1, None) or tensor.dtype == "uint8":
            raise ConversionError(reason=f"it has several inputs, and '{tensor.name}' is not of shape (n, 1)")
    columns = tuple(ColumnInput(field=tensor.name, input=tensor.name, dtype=tensor.dtype) for tensor in inputs)
    if isinstance(options.input, RecordInput):
        return options.input, ColumnSteps(columns=columns)
    fields = tuple(_field(tensor.name, samples, _KINDS.get(tensor.dtype, FieldKind.NUMBER)) for tensor in inputs)
    return RecordInput(fields=fields), ColumnSteps(columns=columns)


def _field(name: str, samples: Samples | None, kind: FieldKind = FieldKind.NUMBER) -> Field:
    if isinstance(samples, RecordSamples) and name in samples.names:
        field = infer_field(samples, name)
        # A float tensor accepts 41.5, whatever the samples contain.
        field = fractional(field) if kind is FieldKind.NUMBER else field
        return field if kind is not FieldKind.CATEGORY or field.kind is kind else msgspec.structs.replace(field, kind=kind)
    return Field(name=name, kind=kind, example=None if kind is FieldKind.CATEGORY else 1)
