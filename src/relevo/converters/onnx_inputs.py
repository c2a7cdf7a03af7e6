"""How an ONNX file wants to be fed, read off the shapes of its inputs.

(n, h, w, 1|3) · (n, 1|3, h, w) · (n, h, w)   picture
(n, features)                                 matrix, or a flat picture when the samples are pictures
several (n, 1)                                one field an input
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
    from relevo.package.conversion import ConversionHints
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
    """An input or output as the file declares it."""

    name: str
    kind: str  # "tensor(float)"
    shape: tuple[int | str | None, ...]  # a number where it is fixed

    @property
    def dtype(self) -> Any:
        """NumPy's word for the kind. Raises ConversionError for those we cannot feed."""
        if self.kind not in _DTYPES:
            raise ConversionError(reason=f"its input '{self.name}' is a {self.kind}, which cannot be fed")
        return _DTYPES[self.kind]


def read_input(inputs: tuple[Tensor, ...], samples: Samples | None, hints: ConversionHints) -> tuple[Input, Steps]:
    """The signature's input and the steps to its tensors. Raises InvalidOptionsError, ConversionError, ImportModelError for a misfit."""
    for tensor in inputs:
        if tensor.shape and isinstance(tensor.shape[0], int):
            raise ConversionError(
                reason=f"its input '{tensor.name}' takes exactly {tensor.shape[0]} row(s); export it with a free batch axis"
            )
    if len(inputs) > 1:
        return _columns(inputs, samples, hints)
    if not inputs:
        raise ConversionError(reason="it has no input")
    rank = len(inputs[0].shape)
    if rank in (3, 4) or (rank == 2 and (isinstance(samples, ImageSamples) or isinstance(hints.input, ImageInput))):
        return _picture(inputs[0], samples, hints)
    if rank == 2:
        return _matrix(inputs[0], samples, hints)
    raise ConversionError(reason=f"its input '{inputs[0].name}' has {rank} axes; 2 to 4 are known")


def _picture(tensor: Tensor, samples: Samples | None, hints: ConversionHints) -> tuple[Input, Steps]:
    layout, height, width, channels = _picture_shape(tensor, hints)
    wanted = hints.input if isinstance(hints.input, ImageInput) else None
    if wanted is None and isinstance(samples, ImageSamples) and not (isinstance(height, int) and isinstance(width, int)):
        height, width, *colours = samples.shape(hints.orientation)
        channels = channels or (3 if colours else 1)
    if wanted is None:
        if not (isinstance(height, int) and isinstance(width, int)):
            raise InvalidOptionsError(options="input (the width and height of its pictures)")
        wanted = ImageInput(width=width, height=height, mode="RGB" if channels == 3 else "L")
    _refuse_misfit(tensor, wanted, layout, hints)
    return wanted, _picture_steps(tensor, layout, hints)


def _refuse_misfit(tensor: Tensor, wanted: ImageInput, layout: str, hints: ConversionHints) -> None:
    """A size, mode or layout that was told and is not the file's. Raises ImportModelError."""
    takes = tensor.shape[1:]
    if any(isinstance(one, int) and one != made for one, made in zip(takes, _axes(wanted, layout), strict=True)):
        told = hints.steps.layout if isinstance(hints.steps, ImageSteps) and len(takes) == 3 else layout
        raise ImportModelError(
            reason=f"its input takes {_shown(takes)}, and by the size, mode and layout told a picture becomes "
            f"{_shown(_axes(wanted, told))}; tell what fits the file, or leave it out"
        )


def _axes(wanted: ImageInput, layout: str) -> tuple[int, ...]:
    """One picture's numbers along each axis."""
    height, width, channels = wanted.height, wanted.width, 1 if wanted.mode == "L" else 3
    return {
        "flat": (height * width * channels,),
        "NHW": (height, width),
        "NHWC": (height, width, channels),
        "NCHW": (channels, height, width),
    }[layout]


def _shown(axes: tuple[int | str | None, ...]) -> str:
    """N×3×100×100; an axis that is free is a question mark, whatever the file calls it."""
    return "×".join(["N", *(str(axis) if isinstance(axis, int) else "?" for axis in axes)])


def _picture_shape(tensor: Tensor, hints: ConversionHints) -> tuple[Any, Any, Any, int | None]:
    """Layout, height, width and channels, as far as the shape tells."""
    shape = tensor.shape
    if len(shape) == 2:
        return "flat", None, None, None
    if len(shape) == 3:
        return "NHW", shape[1], shape[2], 1
    if shape[3] in (1, 3):
        return "NHWC", shape[1], shape[2], int(shape[3])
    if shape[1] in (1, 3):
        return "NCHW", shape[2], shape[3], int(shape[1])
    if isinstance(hints.steps, ImageSteps):
        return hints.steps.layout, None, None, None
    raise InvalidOptionsError(options="steps (whether its pictures are NHWC or NCHW)")


def _picture_steps(tensor: Tensor, layout: Any, hints: ConversionHints) -> ImageSteps:
    if isinstance(hints.steps, ImageSteps):
        return hints.picture(msgspec.structs.replace(hints.steps, input=tensor.name, dtype=tensor.dtype, layout=layout))
    if hints.scale is None and tensor.dtype != "uint8":
        raise InvalidOptionsError(options="scale (1/255 when it was trained on 0..1, 1 when on 0..255) or steps")
    scale = 1.0 if hints.scale is None else hints.scale
    return hints.picture(ImageSteps(input=tensor.name, layout=layout, scale=scale, dtype=tensor.dtype))


def _matrix(tensor: Tensor, samples: Samples | None, hints: ConversionHints) -> tuple[Input, Steps]:
    if isinstance(hints.input, RecordInput) and isinstance(hints.steps, MatrixSteps):
        return hints.input, msgspec.structs.replace(hints.steps, input=tensor.name, dtype=tensor.dtype)
    names = hints.features
    if not names and isinstance(hints.input, RecordInput):
        names = tuple(field.name for field in hints.input.fields)
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
        hints.input if isinstance(hints.input, RecordInput) else RecordInput(fields=tuple(_field(name, samples) for name in names))
    )
    steps = MatrixSteps(input=tensor.name, columns=tuple(Column(field=name) for name in names), dtype=tensor.dtype, missing="nan")
    return record, steps


def _columns(inputs: tuple[Tensor, ...], samples: Samples | None, hints: ConversionHints) -> tuple[Input, Steps]:
    for tensor in inputs:
        if len(tensor.shape) != 2 or tensor.shape[1] not in (1, None) or tensor.dtype == "uint8":
            raise ConversionError(reason=f"it has several inputs, and '{tensor.name}' is not of shape (n, 1)")
    columns = tuple(ColumnInput(field=tensor.name, input=tensor.name, dtype=tensor.dtype) for tensor in inputs)
    if isinstance(hints.input, RecordInput):
        return hints.input, ColumnSteps(columns=columns)
    fields = tuple(_field(tensor.name, samples, _KINDS.get(tensor.dtype, FieldKind.NUMBER)) for tensor in inputs)
    return RecordInput(fields=fields), ColumnSteps(columns=columns)


def _field(name: str, samples: Samples | None, kind: FieldKind = FieldKind.NUMBER) -> Field:
    if isinstance(samples, RecordSamples) and name in samples.names:
        seen = infer_field(samples, name)
        # A tensor of fractions takes 41.5, whatever the samples hold.
        seen = fractional(seen) if kind is FieldKind.NUMBER else seen
        return seen if kind is not FieldKind.CATEGORY or seen.kind is kind else msgspec.structs.replace(seen, kind=kind)
    return Field(name=name, kind=kind, example=None if kind is FieldKind.CATEGORY else 1)
