"""Lists the ways in which a scikit-learn model can be fed, best first.

    images             ─► ImageSteps, pixels flattened: (n, h·w·c)
    only numbers       ─► MatrixSteps: one tensor (n, features)
    also texts         ─► ColumnSteps: one tensor (n, 1) for each field

Each layout comes in double and in single precision; for trees single comes first.
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
    from relevo.package.conversion import ConversionOptions
    from relevo.package.samples import Samples

_IMAGE_TENSOR, _MATRIX_TENSOR = "pixels", "features"

Precision = Literal["float64", "float32"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One way to feed the model. Lifetime: one conversion attempt."""

    input: Input
    steps: Steps
    tensors: tuple[tuple[str, str, int], ...]  # name, dtype, width of each ONNX input


def input_layouts(estimator: Estimator, samples: Samples, options: ConversionOptions) -> Iterator[Layout]:
    """Yields the layouts to try, in order. Raises ConversionError, InvalidOptionsError when samples and model do not fit."""
    order = precisions(estimator)
    if isinstance(samples, ImageSamples):
        yield from (_image_layout(estimator, samples, options, precision) for precision in order)
        return
    record = _record(estimator, samples, options)
    has_texts = any(field.kind is FieldKind.CATEGORY for field in record.fields)
    if has_texts or any(hasattr(part, "transformers_") for part in parts_of(estimator.model)):
        yield from (_column_layout(record, precision) for precision in order)
        # For graphs that require integers; only their integer fields reject fractions.
        with_integers = _with_integers(record, samples)
        yield from (_column_layout(with_integers, precision, integers=True) for precision in order)
    else:
        yield from (_matrix_layout(record, precision) for precision in order)


def _with_integers(record: RecordInput, samples: RecordSamples) -> RecordInput:
    """Makes a field an integer when the samples contain only integers for it."""
    kinds = {field.name: field.kind for field in infer_fields(samples) if field.kind is FieldKind.INTEGER}
    return msgspec.structs.replace(
        record,
        fields=tuple(
            msgspec.structs.replace(field, kind=kinds.get(field.name, field.kind)) if field.kind is FieldKind.NUMBER else field
            for field in record.fields
        ),
    )


def _fractional(estimator: Estimator, record: RecordInput) -> RecordInput:
    """Makes every field accept fractions that the model computes with."""
    categorical = _categorical_numbers(estimator, [field.name for field in record.fields])
    return msgspec.structs.replace(
        record, fields=tuple(field if field.name in categorical else fractional(field) for field in record.fields)
    )


def _categorical_numbers(estimator: Estimator, names: Sequence[str]) -> set[str]:
    """Columns whose numbers an encoder treats as categories, so that 2.7 would be unknown."""
    if not _has_encoder(estimator.model):
        return set()
    first, *later = [step for _, step in getattr(estimator.model, "steps", ())] or [estimator.model]
    indices = getattr(first, "_transformer_to_input_indices", None)
    if indices is None or any(_has_encoder(step) for step in later):
        return set(names)
    encoders = {name for name, part, *_ in first.transformers_ if _has_encoder(part)}
    return {names[index] for name in encoders for index in indices[name] if index < len(names)}


def _has_encoder(model: Any) -> bool:
    return any(type(part).__name__.endswith("Encoder") for part in parts_of(model))


def precisions(estimator: Estimator) -> tuple[Precision, Precision]:
    """Both precisions, first the one in which the model itself computes."""
    names = [type(part).__name__ for part in parts_of(estimator.model)]
    trees = any(text in name for name in names for text in ("Tree", "Forest", "Boost"))
    return ("float32", "float64") if trees else ("float64", "float32")


def _image_layout(estimator: Estimator, samples: ImageSamples, options: ConversionOptions, precision: Precision) -> Layout:
    shape = samples.shape(options.orientation)
    image = options.input or ImageInput(width=shape[1], height=shape[0], mode="RGB" if len(shape) == 3 else "L")
    if not isinstance(image, ImageInput):
        raise InvalidOptionsError(options="an image input, since the samples are pictures")
    width = image.width * image.height * (3 if image.mode == "RGB" else 1)
    expected = getattr(estimator.model, "n_features_in_", width)
    if expected != width:
        raise ConversionError(
            reason=f"the model takes {expected} numbers; pictures of {image.width} × {image.height} {image.mode} give {width}"
        )
    flat = msgspec.structs.replace(options.image_steps(_IMAGE_TENSOR), layout="flat", dtype=precision)
    return Layout(input=image, steps=flat, tensors=((_IMAGE_TENSOR, precision, width),))


def _record(estimator: Estimator, samples: RecordSamples, options: ConversionOptions) -> RecordInput:
    if isinstance(options.input, RecordInput):
        return options.input
    return _fractional(estimator, RecordInput(fields=infer_fields(samples, _names(estimator, samples, options))))


def _names(estimator: Estimator, samples: RecordSamples, options: ConversionOptions) -> tuple[str, ...]:
    model_names = model_column_names(estimator, samples)
    names = options.features or samples.names
    if samples.table is None:
        names = _names_of_records(samples, model_names, options.features)
    elif model_names and model_names != names and sorted(model_names) == sorted(names):
        raise InvalidOptionsError(options=f"features in the model's own order: {', '.join(model_names)}")
    expected = getattr(estimator.model, "n_features_in_", len(names))
    if len(names) != expected:
        raise InvalidOptionsError(options=f"samples with {expected} features; these have {len(names)}")
    return names


def unknown_column_order(samples: RecordSamples) -> InvalidOptionsError:
    """Returns the error for records when the model does not name its columns."""
    return InvalidOptionsError(
        options="features (the columns in the order in which the model was trained: it does not name them, so nothing can "
        f"check their order, which in the samples is {','.join(samples.names)})"
    )


def model_column_names(estimator: Estimator, samples: RecordSamples) -> tuple[str, ...]:
    """The model's column names, spelled as in the samples: LightGBM stores spaces as underscores."""
    names = tuple(str(name) for name in getattr(estimator.model, "feature_names_in_", ()))
    if not framework_of(estimator.final).startswith("LightGBM"):
        return names
    by_stored_name = {name.replace(" ", "_"): name for name in samples.names}
    return tuple(name if name in samples.names else by_stored_name.get(name, name) for name in names)


def _names_of_records(samples: RecordSamples, model_names: tuple[str, ...], features: tuple[str, ...]) -> tuple[str, ...]:
    """Column order for records, which have none: from the model, or from `features`. Raises InvalidOptionsError."""
    if model_names and (not features or set(model_names) <= set(features)):
        return model_names
    if not features and len(samples.names) > 1:
        raise unknown_column_order(samples)
    unknown = next((name for name in features if name not in samples.names), None)
    if unknown is not None:
        raise InvalidOptionsError(
            options=f"features that the samples have: '{unknown[:40]}' is none of {', '.join(samples.names[:20])}"
        )
    return features or samples.names


def _matrix_layout(record: RecordInput, precision: Precision) -> Layout:
    columns = tuple(Column(field=field.name) for field in record.fields)
    steps = MatrixSteps(input=_MATRIX_TENSOR, columns=columns, dtype=precision, missing="nan")
    return Layout(input=record, steps=steps, tensors=((_MATRIX_TENSOR, precision, len(columns)),))


def _column_layout(record: RecordInput, precision: Precision, *, integers: bool = False) -> Layout:
    columns = []
    for field in record.fields:
        dtype: Literal["float32", "float64", "int64", "string"] = "string" if field.kind is FieldKind.CATEGORY else precision
        if integers and field.kind is FieldKind.INTEGER and field.required:
            dtype = "int64"
        columns.append(ColumnInput(field=field.name, input=field.name, dtype=dtype))
    tensors = tuple((column.input, column.dtype, 1) for column in columns)
    return Layout(input=record, steps=ColumnSteps(columns=tuple(columns)), tensors=tensors)


def original_input(estimator: Estimator, layout: Layout, samples: Samples) -> Any:
    """Input for the original: the user's own table, or for images exactly the tensor that serving makes."""
    if isinstance(samples, ImageSamples):
        return _image_tensor(layout, samples)
    if samples.sparse is not None and has_xgboost(estimator.final):
        return samples.sparse
    if samples.table is not None:
        return samples.table
    if isinstance(layout.steps, MatrixSteps) and isinstance(layout.input, RecordInput):
        double = msgspec.structs.replace(layout.steps, dtype="float64")
        encoder = RecordEncoder(layout.input, double)
        rows = [encoder.check({name: value for name, value in record.items() if value is not None}) for record in samples.records]
        return encoder.stack(rows)[double.input]
    return _frame(estimator, samples)


def _image_tensor(layout: Layout, samples: ImageSamples) -> NDArray[Any]:
    image, steps = layout.input, layout.steps
    assert isinstance(image, ImageInput)  # noqa: S101 - images have image layouts
    assert isinstance(steps, ImageSteps)  # noqa: S101 - images have image layouts
    ready = ready_pixels(samples, image)
    if ready is None:
        ready = [decode(samples.payload(index), image, steps, OWN_FILES) for index in range(len(samples))]
    return tensor(ready, steps)


def _frame(estimator: Estimator, samples: RecordSamples) -> Any:
    names = [str(name) for name in getattr(estimator.model, "feature_names_in_", ())]
    if not names:
        rows = [[record.get(name) for name in samples.names] for record in samples.records]
        return np.array(rows, dtype=object)
    try:
        # Only models fitted on a DataFrame get here, so pandas is usually installed.
        pandas: Any = import_module("pandas")
    except ImportError as cause:
        raise InvalidOptionsError(
            options="pandas (pip install pandas), since the model was fitted on a DataFrame and is asked with one"
        ) from cause
    return pandas.DataFrame([{name: record.get(name) for name in names} for record in samples.records])
