"""Converts `(DictVectorizer, model)` and `Pipeline(DictVectorizer, model)` exactly, with our own encoder for the vectorizer.

    vocabulary "contract=monthly", "tenure" ─► Column(contract equals monthly), Column(tenure) ─► MatrixSteps
    model after it ─ linear, trees: our own graph · others: skl2onnx ─► ONNX over that matrix

For an unknown category or a missing field DictVectorizer and MatrixSteps both give a column of zeros. When XGBoost reads a sparse
matrix, whose unstored entries it treats as missing, the column is NaN instead.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from relevo.converters.boosting.booster import is_booster
from relevo.converters.sklearn.convert import PROBE_TOLERANCE, best_conversion, check_label_column
from relevo.converters.sklearn.estimator import Estimator, inspect_estimator, one_line
from relevo.converters.sklearn.exact_export import can_be_exact, write_exact
from relevo.converters.sklearn.input_layouts import Layout, Precision, precisions
from relevo.converters.sklearn.probes import Probes, make_probes
from relevo.converters.sklearn.skl2onnx_export import write_onnx
from relevo.converters.sklearn.sparse import reads_sparse
from relevo.domain.preprocessing import Column, MatrixSteps
from relevo.domain.signature import Field, FieldKind, RecordInput
from relevo.errors import ConversionError, InvalidOptionsError, RelevoError
from relevo.package.conversion import ConversionHints, ConvertedModel
from relevo.package.parity import build_runnable, default_tolerance, difference
from relevo.package.samples import RecordSamples
from relevo.package.schema_inference import fractional, infer_field

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from relevo.converters.onnx_graph import ExportedGraph
    from relevo.converters.sklearn.probes import PredictScores, Record
    from relevo.package.samples import Samples

_INPUT = "features"
#: A record of more fields than this is a bag of words, whose fields are optional.
_MAX_REQUIRED_FIELDS = 200
#: Numeric fields that are tested with null.
_NULL_TEST_FIELDS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorizerPipeline:
    """The vectorizer and the model after it. Lifetime: one conversion."""

    vectorizer: Any
    estimator: Estimator  # the model after it

    def scorer(self, samples: RecordSamples) -> PredictScores:
        """Returns a function that predicts records unlike the samples with both."""

        def predict(records: Sequence[Record], _: int) -> NDArray[np.float64] | None:
            try:
                return self.estimator.predict_scores(
                    _vectors(self.vectorizer, replace(samples, records=tuple(records), table=None))
                )
            except ConversionError:
                return None

        return predict


def convert_dictvectorizer(model: Any, samples: Samples, hints: ConversionHints | None = None) -> ConvertedModel:
    """Converts both to one ONNX model over records, with the original's outputs for the samples.

    Raises ConversionError, InvalidOptionsError when the samples are no records, MissingDependencyError.
    """
    options = hints or ConversionHints()
    if not isinstance(samples, RecordSamples):
        raise InvalidOptionsError(options="samples as a list of records, since the model takes records")
    pipeline = split(model)
    vectors = _vectors(pipeline.vectorizer, samples)
    pipeline = replace(pipeline, estimator=pipeline.estimator.with_label_check(vectors))
    outputs, predicted = pipeline.estimator.predict_scores(vectors), pipeline.estimator.predict_labels(vectors)
    record = options.input if isinstance(options.input, RecordInput) else record_of(pipeline.vectorizer, samples)
    columns = columns_of(pipeline.vectorizer, record)
    # A FrozenEstimator of a legacy model has outputs only for the samples.
    is_live = hasattr(pipeline.estimator.original, "fit")
    probes = make_probes(pipeline.scorer(samples), samples, record) if is_live else Probes()
    steps = MatrixSteps(input=_INPUT, columns=columns, missing="sparse" if reads_sparse(pipeline.estimator, vectors) else "zero")
    attempts = _attempts(pipeline.estimator, record, steps, outputs, options)
    converted = best_conversion(
        attempts, samples, probes, dense="DictVectorizer(sparse=False)" if steps.missing == "sparse" else ""
    )
    if is_live:
        converted = _with_nulls(converted, pipeline, samples)
    converted = replace(converted, predicted=predicted)
    if pipeline.estimator.has_label_column:
        check_label_column(converted, samples)
    return converted


def _attempts(
    estimator: Estimator, record: RecordInput, steps: MatrixSteps, outputs: NDArray[np.float64], hints: ConversionHints
) -> Iterator[Callable[[], ConvertedModel]]:
    """Yields our own graph first, where the model allows one; then skl2onnx's in double and in single precision."""

    def attempt(write: Callable[[Estimator, Layout], ExportedGraph], layout: Layout) -> ConvertedModel:
        exported = write(estimator, layout)
        return ConvertedModel(
            onnx=exported.onnx,
            input=record,
            steps=layout.steps,
            output=estimator.output(exported.output, hints),
            framework=f"scikit-learn {version('scikit-learn')}",
            converter=exported.libraries,
            # For two classes, one column with the probability of the second is sufficient.
            outputs=outputs[:, 1:] if exported.one_column else outputs,
            classes=estimator.classes,
            decision=estimator.decision,
        )

    layouts = [_layout(record, steps, precision) for precision in precisions(estimator)]
    yield from (partial(attempt, write_exact, layout) for layout in layouts if can_be_exact(estimator, layout))
    yield from (partial(attempt, write_onnx, layout) for layout in layouts)


def _layout(record: RecordInput, steps: MatrixSteps, precision: Precision) -> Layout:
    typed = msgspec.structs.replace(steps, dtype=precision)
    return Layout(input=record, steps=typed, tensors=((_INPUT, precision, len(steps.columns)),))


def _with_nulls(converted: ConvertedModel, pipeline: VectorizerPipeline, samples: RecordSamples) -> ConvertedModel:
    """Accepts null for a number as NaN, if the original and the converted model then predict the same."""
    record, steps = converted.input, converted.steps
    if not is_booster(pipeline.estimator.final) or not isinstance(record, RecordInput) or not isinstance(steps, MatrixSteps):
        return converted
    numbers = [field.name for field in record.fields if field.kind is not FieldKind.CATEGORY][:_NULL_TEST_FIELDS]
    rows = samples.records[:: max(1, len(samples) // 2)][:2]
    records = [{**{key: value for key, value in row.items() if value is not None}, name: None} for row in rows for name in numbers]
    lenient = replace(converted, steps=msgspec.structs.replace(steps, null="nan"))
    try:
        expected = pipeline.estimator.predict_scores(pipeline.vectorizer.transform(records)) if records else None
        model = build_runnable(lenient)
        served = np.asarray(model.run([model.preprocess(item) for item in records]), dtype=np.float64) if records else None
    except (RelevoError, ValueError, TypeError):
        return converted
    if expected is None or served is None or not np.isfinite(expected).all():
        return converted
    served = served.reshape(len(records), -1)
    is_equal = difference(served, expected[:, -served.shape[1] :]).max() <= PROBE_TOLERANCE * default_tolerance(converted)
    return lenient if is_equal else converted


def split(model: Any) -> VectorizerPipeline:
    """Returns the vectorizer and the model after it. Raises ConversionError for other arrangements."""
    if isinstance(model, tuple):
        if len(model) != 2:
            raise ConversionError(reason=f"a tuple of {len(model)} things; (DictVectorizer, model) was expected")
        vectorizer, estimator = model
    else:
        vectorizer, estimator = model.steps[0][1], model[1:]
        estimator = estimator.steps[0][1] if len(estimator.steps) == 1 else estimator
    return VectorizerPipeline(vectorizer=vectorizer, estimator=inspect_estimator(estimator))


def _vectors(vectorizer: Any, samples: RecordSamples) -> Any:
    records = [{name: value for name, value in record.items() if value is not None} for record in samples.records]
    try:
        return vectorizer.transform(records)
    except Exception as cause:
        raise ConversionError(reason=f"the DictVectorizer fails on the samples ({one_line(cause)})") from cause


def record_of(vectorizer: Any, samples: RecordSamples | None = None) -> RecordInput:
    """Returns the record that the vocabulary defines; samples, if given, add kinds, examples and which fields may be missing."""
    numbers, categories = vocabulary(vectorizer)
    names = list(dict.fromkeys([*(samples.names if samples else ()), *numbers, *categories]))
    used_names = [name for name in names if name in numbers or name in categories]
    fields = tuple(
        _field(name, categories.get(name, ()), samples, required=len(used_names) <= _MAX_REQUIRED_FIELDS) for name in used_names
    )
    # `transform` ignores unknown fields and accepts missing ones; existing clients rely on both.
    return RecordInput(fields=fields, unknown_fields="ignore", missing_fields="zero")


def _field(name: str, categories: Sequence[str], samples: RecordSamples | None, *, required: bool) -> Field:
    if samples is not None and name in samples.names:
        field = fractional(infer_field(samples, name))
        if categories:
            return msgspec.structs.replace(field, kind=FieldKind.CATEGORY, categories=tuple(categories))
        return msgspec.structs.replace(field, required=field.required and required)
    if categories:
        return Field(name=name, kind=FieldKind.CATEGORY, categories=tuple(categories), required=required, example=categories[0])
    return Field(name=name, kind=FieldKind.NUMBER, required=required, example=1.0)


def vocabulary(vectorizer: Any) -> tuple[list[str], dict[str, list[str]]]:
    """Names of numeric fields, and the values of each category field. Raises ConversionError on a field that is both."""
    separator = vectorizer.separator
    numbers: list[str] = []
    categories: dict[str, list[str]] = {}
    for entry in vectorizer.feature_names_:
        name, equals, value = str(entry).partition(separator)
        if equals:
            categories.setdefault(name, []).append(value)
        else:
            numbers.append(name)
    both = categories.keys() & set(numbers)
    if both:
        raise ConversionError(reason=f"the field '{min(both)}' is both a number and a text in the vocabulary")
    return numbers, categories


def columns_of(vectorizer: Any, record: RecordInput) -> tuple[Column, ...]:
    """One column for each entry of the vocabulary, in its order. Raises ConversionError when the record lacks a field."""
    names = {field.name for field in record.fields}
    columns = tuple(_columns(vectorizer))
    missing = {column.field for column in columns} - names
    if missing:
        raise ConversionError(reason=f"the given input lacks the field '{min(missing)}', which the vocabulary has")
    return columns


def _columns(vectorizer: Any) -> Iterator[Column]:
    for entry in vectorizer.feature_names_:
        name, equals, value = str(entry).partition(vectorizer.separator)
        yield Column(field=name, equals=value if equals else None)
