"""The forms in which a scikit-learn model can be fed, best first.

    pictures           ─► ImageSteps, pixels flat: (n, h·w·c)
    numbers only       ─► MatrixSteps: one tensor (n, features)
    texts among them   ─► ColumnSteps: one tensor (n, 1) a field

Each form comes in double and in single precision; trees want single first.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np

from relevo.converters.boosting.booster import framework_of
from relevo.converters.sklearn.estimator import parts_of
from relevo.converters.sklearn.sparse import has_xgboost
from relevo.domain.preprocessing import Column, ColumnInput, ColumnSteps, ImageSteps, MatrixSteps, Steps
from relevo.domain.signature import FieldKind, ImageInput, Input, RecordInput
from relevo.errors import ConversionError, InvalidOptionsError
from relevo.package.samples import ImageSamples, RecordSamples, ready_pixels
from relevo.package.schema_inference import fractional, infer_fields
from relevo.runtime.image import OWN_FILES, decode, tensor
from relevo.runtime.record_encoder import RecordEncoder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from relevo.converters.sklearn.estimator import Estimator
    from relevo.package.conversion import ConversionHints
    from relevo.package.samples import Samples

_PICTURE, _MATRIX = "pixels", "features"

Precision = Literal["float64", "float32"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One way to feed the model; lives as long as one attempt."""

    input: Input
    steps: Steps
    tensors: tuple[tuple[str, str, int], ...]  # name, dtype, width of each ONNX input


def input_layouts(estimator: Estimator, samples: Samples, hints: ConversionHints) -> Iterator[Layout]:
    """The forms to try, in order. Raises ConversionError, InvalidOptionsError when samples and model do not fit."""
    order = precisions(estimator)
    if isinstance(samples, ImageSamples):
        yield from (_picture(estimator, samples, hints, precision) for precision in order)
        return
    record = _record(estimator, samples, hints)
    texts = any(field.kind is FieldKind.CATEGORY for field in record.fields)
    if texts or any(hasattr(part, "transformers_") for part in parts_of(estimator.model)):
        yield from (_columns(record, precision) for precision in order)
        # For a graph that wants whole numbers as such; only its fields refuse fractions.
        counted = _counted(record, samples)
        yield from (_columns(counted, precision, whole=True) for precision in order)
    else:
        yield from (_matrix(record, precision) for precision in order)


def _counted(record: RecordInput, samples: RecordSamples) -> RecordInput:
    """The record, in which a field is a whole number where the samples hold nothing else."""
    seen = {field.name: field.kind for field in infer_fields(samples) if field.kind is FieldKind.INTEGER}
    return msgspec.structs.replace(
        record,
        fields=tuple(
            msgspec.structs.replace(field, kind=seen.get(field.name, field.kind)) if field.kind is FieldKind.NUMBER else field
            for field in record.fields
        ),
    )


def _fractional(estimator: Estimator, record: RecordInput) -> RecordInput:
    """The record, in which every field that the model computes with takes fractions."""
    named = _named_by_numbers(estimator, [field.name for field in record.fields])
    return msgspec.structs.replace(
        record, fields=tuple(field if field.name in named else fractional(field) for field in record.fields)
    )


def _named_by_numbers(estimator: Estimator, names: Sequence[str]) -> set[str]:
    """Columns whose numbers an encoder takes for names, so that 2.7 is nothing it knows."""
    if not _encodes(estimator.model):
        return set()
    first, *later = [step for _, step in getattr(estimator.model, "steps", ())] or [estimator.model]
    places = getattr(first, "_transformer_to_input_indices", None)
    if places is None or any(_encodes(step) for step in later):
        return set(names)
    encoders = {name for name, part, *_ in first.transformers_ if _encodes(part)}
    return {names[place] for name in encoders for place in places[name] if place < len(names)}


def _encodes(model: Any) -> bool:
    return any(type(part).__name__.endswith("Encoder") for part in parts_of(model))


def precisions(estimator: Estimator) -> tuple[Precision, Precision]:
    """The one in which the model itself computes, first."""
    names = [type(part).__name__ for part in parts_of(estimator.model)]
    trees = any(word in name for name in names for word in ("Tree", "Forest", "Boost"))
    return ("float32", "float64") if trees else ("float64", "float32")


def _picture(estimator: Estimator, samples: ImageSamples, hints: ConversionHints, precision: Precision) -> Layout:
    shape = samples.shape(hints.orientation)
    wanted = hints.input or ImageInput(width=shape[1], height=shape[0], mode="RGB" if len(shape) == 3 else "L")
    if not isinstance(wanted, ImageInput):
        raise InvalidOptionsError(options="an image input, since the samples are pictures")
    steps = hints.picture(
        hints.steps if isinstance(hints.steps, ImageSteps) else ImageSteps(input=_PICTURE, scale=hints.scale or 1.0)
    )
    width = wanted.width * wanted.height * (3 if wanted.mode == "RGB" else 1)
    expected = getattr(estimator.model, "n_features_in_", width)
    if expected != width:
        raise ConversionError(
            reason=f"the model takes {expected} numbers; pictures of {wanted.width} × {wanted.height} {wanted.mode} give {width}"
        )
    flat = msgspec.structs.replace(steps, input=_PICTURE, layout="flat", dtype=precision)
    return Layout(input=wanted, steps=flat, tensors=((_PICTURE, precision, width),))


def _record(estimator: Estimator, samples: RecordSamples, hints: ConversionHints) -> RecordInput:
    if isinstance(hints.input, RecordInput):
        return hints.input
    return _fractional(estimator, RecordInput(fields=infer_fields(samples, _names(estimator, samples, hints))))


def _names(estimator: Estimator, samples: RecordSamples, hints: ConversionHints) -> tuple[str, ...]:
    known = known_names(estimator, samples)
    names = hints.features or samples.names
    if samples.table is None:
        names = _names_of_records(samples, known, hints.features)
    elif known and known != names and sorted(known) == sorted(names):
        raise InvalidOptionsError(options=f"features in the model's own order: {', '.join(known)}")
    expected = getattr(estimator.model, "n_features_in_", len(names))
    if len(names) != expected:
        raise InvalidOptionsError(options=f"samples with {expected} features; these have {len(names)}")
    return names


def order_missing(samples: RecordSamples) -> InvalidOptionsError:
    """The refusal of records for a model that does not name its columns."""
    return InvalidOptionsError(
        options="features (the columns in the order in which the model was trained: it does not name them, so nothing can "
        f"check their order, which in the samples is {','.join(samples.names)})"
    )


def known_names(estimator: Estimator, samples: RecordSamples) -> tuple[str, ...]:
    """The model's own names of its columns, as the samples spell them: LightGBM keeps every space as an underscore."""
    known = tuple(str(name) for name in getattr(estimator.model, "feature_names_in_", ()))
    if not framework_of(estimator.final).startswith("LightGBM"):
        return known
    spelled = {name.replace(" ", "_"): name for name in samples.names}
    return tuple(name if name in samples.names else spelled.get(name, name) for name in known)


def _names_of_records(samples: RecordSamples, known: tuple[str, ...], features: tuple[str, ...]) -> tuple[str, ...]:
    """The order of the model's columns: records have none, so the model tells it, or a person. Raises InvalidOptionsError."""
    if known and (not features or set(known) <= set(features)):
        return known
    if not features and len(samples.names) > 1:
        raise order_missing(samples)
    stranger = next((name for name in features if name not in samples.names), None)
    if stranger is not None:
        raise InvalidOptionsError(
            options=f"features that the samples have: '{stranger[:40]}' is none of {', '.join(samples.names[:20])}"
        )
    return features or samples.names


def _matrix(record: RecordInput, precision: Precision) -> Layout:
    columns = tuple(Column(field=field.name) for field in record.fields)
    steps = MatrixSteps(input=_MATRIX, columns=columns, dtype=precision, missing="nan")
    return Layout(input=record, steps=steps, tensors=((_MATRIX, precision, len(columns)),))


def _columns(record: RecordInput, precision: Precision, *, whole: bool = False) -> Layout:
    columns = []
    for field in record.fields:
        dtype: Literal["float32", "float64", "int64", "string"] = "string" if field.kind is FieldKind.CATEGORY else precision
        if whole and field.kind is FieldKind.INTEGER and field.required:
            dtype = "int64"
        columns.append(ColumnInput(field=field.name, input=field.name, dtype=dtype))
    tensors = tuple((column.input, column.dtype, 1) for column in columns)
    return Layout(input=record, steps=ColumnSteps(columns=tuple(columns)), tensors=tensors)


def original_input(estimator: Estimator, layout: Layout, samples: Samples) -> Any:
    """What the original is asked with: the user's own table, or for pictures exactly the tensor that serving makes."""
    if isinstance(samples, ImageSamples):
        return _picture_tensor(layout, samples)
    if samples.sparse is not None and has_xgboost(estimator.final):
        return samples.sparse
    if samples.table is not None:
        return samples.table
    if isinstance(layout.steps, MatrixSteps) and isinstance(layout.input, RecordInput):
        double = msgspec.structs.replace(layout.steps, dtype="float64")
        encoder = RecordEncoder(layout.input, double)
        rows = [encoder.check({k: v for k, v in record.items() if v is not None}) for record in samples.records]
        return encoder.stack(rows)[double.input]
    return _frame(estimator, samples)


def _picture_tensor(layout: Layout, samples: ImageSamples) -> NDArray[Any]:
    wanted, steps = layout.input, layout.steps
    assert isinstance(wanted, ImageInput)  # noqa: S101 - pictures have image layouts
    assert isinstance(steps, ImageSteps)  # noqa: S101 - pictures have image layouts
    ready = ready_pixels(samples, wanted)
    if ready is None:
        ready = [decode(samples.payload(index), wanted, steps, OWN_FILES) for index in range(len(samples))]
    return tensor(ready, steps)


def _frame(estimator: Estimator, samples: RecordSamples) -> Any:
    names = [str(name) for name in getattr(estimator.model, "feature_names_in_", ())]
    if not names:
        rows = [[record.get(name) for name in samples.names] for record in samples.records]
        return np.array(rows, dtype=object)
    try:
        # Only models fitted on frames get here, so it is at hand where they are.
        pandas: Any = import_module("pandas")
    except ImportError as cause:
        raise InvalidOptionsError(
            options="pandas (pip install pandas), since the model was fitted on a DataFrame and is asked with one"
        ) from cause
    return pandas.DataFrame([{name: record.get(name) for name in names} for record in samples.records])
