"""`(DictVectorizer, model)` and `Pipeline(DictVectorizer, model)`, converted exactly by our own code.

    vocabulary "contract=monthly", "tenure" ─► Column(contract equals monthly), Column(tenure) ─► MatrixSteps
    the model behind it ─ linear, trees: our own graph · any other: skl2onnx ─► ONNX over that matrix

What DictVectorizer does to an unknown category or an absent field, nothing, is what MatrixSteps does: a column of zeros. Where a
sparse matrix reaches XGBoost, which takes the entries that are not stored as missing, it is a column of NaN.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from relevo.converters.boosting.booster import is_booster
from relevo.converters.sklearn.convert import UNLIKE, best_conversion, refuse_other_labels
from relevo.converters.sklearn.estimator import Estimator, inspect_estimator, one_line
from relevo.converters.sklearn.exact_export import can_be_exact, write_exact
from relevo.converters.sklearn.input_layouts import Layout, Precision, precisions
from relevo.converters.sklearn.probes import Probes, probes_of
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
    from relevo.converters.sklearn.probes import Ask, Record
    from relevo.package.samples import Samples

_INPUT = "features"
#: A record of more fields than this is a bag of words: nobody sends every word.
_FIELDS_ASKED_FOR = 200
#: Fields of numbers that are tried with null.
_NULLS_TRIED = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Vectorized:
    """The two halves; lives as long as one conversion."""

    vectorizer: Any
    estimator: Estimator  # what comes behind

    def asked_with(self, samples: RecordSamples) -> Ask:
        """Both asked with records unlike the samples."""

        def ask(records: Sequence[Record], _: int) -> NDArray[np.float64] | None:
            try:
                return self.estimator.ask(_vectors(self.vectorizer, replace(samples, records=tuple(records), table=None)))
            except ConversionError:
                return None

        return ask


def convert_dictvectorizer(model: Any, samples: Samples, hints: ConversionHints | None = None) -> ConvertedModel:
    """The two as one ONNX model over records, with the outputs the original gave for the samples.

    Raises ConversionError, InvalidOptionsError when the samples are no records, MissingDependencyError.
    """
    told = hints or ConversionHints()
    if not isinstance(samples, RecordSamples):
        raise InvalidOptionsError(options="samples as a list of records, since the model takes records")
    halves = split(model)
    vectors = _vectors(halves.vectorizer, samples)
    halves = replace(halves, estimator=halves.estimator.settled(vectors))
    outputs, predicted = halves.estimator.ask(vectors), halves.estimator.predicted(vectors)
    record = told.input if isinstance(told.input, RecordInput) else record_of(halves.vectorizer, samples)
    columns = columns_of(halves.vectorizer, record)
    # What stands in for a model of another time knows only the samples' answers.
    live = hasattr(halves.estimator.original, "fit")
    probes = probes_of(halves.asked_with(samples), samples, record) if live else Probes()
    steps = MatrixSteps(input=_INPUT, columns=columns, missing="sparse" if reads_sparse(halves.estimator, vectors) else "zero")
    attempts = _attempts(halves.estimator, record, steps, outputs, told)
    found = best_conversion(attempts, samples, probes, dense="DictVectorizer(sparse=False)" if steps.missing == "sparse" else "")
    if live:
        found = _with_nulls(found, halves, samples)
    found = replace(found, predicted=predicted)
    if halves.estimator.labelled:
        refuse_other_labels(found, samples)
    return found


def _attempts(
    estimator: Estimator, record: RecordInput, steps: MatrixSteps, outputs: NDArray[np.float64], hints: ConversionHints
) -> Iterator[Callable[[], ConvertedModel]]:
    """Our own graph first, where the model behind allows one; then skl2onnx's in double and in single precision."""

    def attempt(write: Callable[[Estimator, Layout], ExportedGraph], layout: Layout) -> ConvertedModel:
        written = write(estimator, layout)
        return ConvertedModel(
            onnx=written.onnx,
            input=record,
            steps=layout.steps,
            output=estimator.output(written.output, hints),
            framework=f"scikit-learn {version('scikit-learn')}",
            converter=written.libraries,
            # One column of two labels is the probability of the second: nothing is lost, and half is sent.
            outputs=outputs[:, 1:] if written.one_column else outputs,
            classes=estimator.classes,
            decision=estimator.decision,
        )

    forms = [_layout(record, steps, precision) for precision in precisions(estimator)]
    yield from (partial(attempt, write_exact, form) for form in forms if can_be_exact(estimator, form))
    yield from (partial(attempt, write_onnx, form) for form in forms)


def _layout(record: RecordInput, steps: MatrixSteps, precision: Precision) -> Layout:
    typed = msgspec.structs.replace(steps, dtype=precision)
    return Layout(input=record, steps=typed, tensors=((_INPUT, precision, len(steps.columns)),))


def _with_nulls(converted: ConvertedModel, halves: Vectorized, samples: RecordSamples) -> ConvertedModel:
    """The same, taking a null in place of a number as NaN, where the original and the converted model answer it alike."""
    record, steps = converted.input, converted.steps
    if not is_booster(halves.estimator.final) or not isinstance(record, RecordInput) or not isinstance(steps, MatrixSteps):
        return converted
    numbers = [field.name for field in record.fields if field.kind is not FieldKind.CATEGORY][:_NULLS_TRIED]
    rows = samples.records[:: max(1, len(samples) // 2)][:2]
    asked = [{**{key: value for key, value in row.items() if value is not None}, name: None} for row in rows for name in numbers]
    lenient = replace(converted, steps=msgspec.structs.replace(steps, null="nan"))
    try:
        expected = halves.estimator.ask(halves.vectorizer.transform(asked)) if asked else None
        model = build_runnable(lenient)
        served = np.asarray(model.run([model.prepare(one) for one in asked]), dtype=np.float64) if asked else None
    except (RelevoError, ValueError, TypeError):
        return converted
    if expected is None or served is None or not np.isfinite(expected).all():
        return converted
    served = served.reshape(len(asked), -1)
    alike = difference(served, expected[:, -served.shape[1] :]).max() <= UNLIKE * default_tolerance(converted)
    return lenient if alike else converted


def split(model: Any) -> Vectorized:
    """The vectorizer, and the model behind it. Raises ConversionError when it is another arrangement."""
    if isinstance(model, tuple):
        if len(model) != 2:
            raise ConversionError(reason=f"a tuple of {len(model)} things; (DictVectorizer, model) was expected")
        vectorizer, rest = model
    else:
        vectorizer, rest = model.steps[0][1], model[1:]
        rest = rest.steps[0][1] if len(rest.steps) == 1 else rest
    return Vectorized(vectorizer=vectorizer, estimator=inspect_estimator(rest))


def _vectors(vectorizer: Any, samples: RecordSamples) -> Any:
    known = [{name: value for name, value in record.items() if value is not None} for record in samples.records]
    try:
        return vectorizer.transform(known)
    except Exception as cause:
        raise ConversionError(reason=f"the DictVectorizer fails on the samples ({one_line(cause)})") from cause


def record_of(vectorizer: Any, samples: RecordSamples | None = None) -> RecordInput:
    """The record that the vocabulary tells of; samples, where given, tell kinds, examples and what may be absent."""
    numbers, categories = vocabulary(vectorizer)
    names = list(dict.fromkeys([*(samples.names if samples else ()), *numbers, *categories]))
    wanted = [name for name in names if name in numbers or name in categories]
    fields = tuple(_field(name, categories.get(name, ()), samples, few=len(wanted) <= _FIELDS_ASKED_FOR) for name in wanted)
    # `transform` passes over what it does not know and leaves out what is not there; its clients count on both.
    return RecordInput(fields=fields, extra="ignore", missing="zero")


def _field(name: str, categories: Sequence[str], samples: RecordSamples | None, *, few: bool) -> Field:
    if samples is not None and name in samples.names:
        seen = fractional(infer_field(samples, name))
        if categories:
            return msgspec.structs.replace(seen, kind=FieldKind.CATEGORY, categories=tuple(categories))
        return msgspec.structs.replace(seen, required=seen.required and few)
    if categories:
        return Field(name=name, kind=FieldKind.CATEGORY, categories=tuple(categories), required=few, example=categories[0])
    return Field(name=name, kind=FieldKind.NUMBER, required=few, example=1.0)


def vocabulary(vectorizer: Any) -> tuple[list[str], dict[str, list[str]]]:
    """Names of numbers, and for each category field its values. Raises ConversionError on a field that is both."""
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
    """One column an entry of the vocabulary, in its order. Raises ConversionError when the record lacks its field."""
    names = {field.name for field in record.fields}
    columns = tuple(_columns(vectorizer))
    lacking = {column.field for column in columns} - names
    if lacking:
        raise ConversionError(reason=f"the given input lacks the field '{min(lacking)}', which the vocabulary has")
    return columns


def _columns(vectorizer: Any) -> Iterator[Column]:
    for entry in vectorizer.feature_names_:
        name, equals, value = str(entry).partition(vectorizer.separator)
        yield Column(field=name, equals=value if equals else None)
