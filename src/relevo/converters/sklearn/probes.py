"""Probes the original with inputs that the samples lack: unseen categories and numbers, fractions, signs, extremes, missing values.

samples ─ one field, or every number, changed ─► Probes ─ original predicts, or raises ─► what the converted model must predict
        └ original raises at an unseen value? ─► the field is closed, with the categories that the encoder knows
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from relevo.converters.boosting.booster import is_booster
from relevo.converters.sklearn.estimator import parts_of
from relevo.converters.sklearn.input_layouts import model_column_names, original_input
from relevo.converters.sklearn.sparse import sparse_refusal
from relevo.domain.signature import Field, FieldKind, RecordInput
from relevo.errors import ConversionError, InvalidOptionsError, RelevoError
from relevo.package.parity import build_runnable, difference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from relevo.converters.sklearn.estimator import Estimator
    from relevo.converters.sklearn.input_layouts import Layout
    from relevo.package.conversion import ConvertedModel
    from relevo.package.samples import RecordSamples

#: A category that no model has.
_UNSEEN = "unseen category"
#: A number that no encoder of numeric categories has.
_UNSEEN_NUMBER = 987654.25
#: Number of fields changed one at a time, spread over all; categories tested for each.
_MAX_FIELDS, _MAX_CATEGORIES = 30, 20
#: Categories of an encoder that are tested one at a time.
_MAX_KNOWN = 500

Record = dict[str, Any]
#: Function from records, and the index of the sample they were changed from, to the original's scores (n, columns); None when it raises.
PredictScores = Callable[[Sequence[Record], int], "NDArray[np.float64] | None"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Probes:
    """Records unlike the samples, and the original's outputs for them. Lifetime: one conversion."""

    records: tuple[Record, ...] = ()
    changes: tuple[str, ...] = ()  # what differs in each
    outputs: NDArray[np.float64] | None = None  # (n, columns)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Original:
    """The original, called with records. Lifetime: one conversion."""

    estimator: Estimator
    layout: Layout
    samples: RecordSamples

    def predict_scores(self, records: Sequence[Record], row: int = 0) -> NDArray[np.float64] | None:
        """Returns its scores, (n, columns); None when it raises. row: the sample from which the records were changed."""
        try:
            features = original_input(self.estimator, self.layout, self._changed(records, row))
            outputs = self.estimator.predict_scores(features)
        except (RelevoError, ValueError, TypeError, KeyError):
            return None
        return outputs if len(outputs) == len(records) else None

    def _changed(self, records: Sequence[Record], row: int) -> RecordSamples:
        table = self.samples.table
        if table is not None and hasattr(table, "iloc"):
            frame = table.iloc[[row] * len(records)].reset_index(drop=True)
            for index, name in enumerate(self.samples.names):
                values = [record[name] for record in records]
                if any(value != self.samples.records[row][name] for value in values):
                    frame[frame.columns[index]] = values
            table = frame
        elif table is not None:
            rows = [[math.nan if record[name] is None else record[name] for name in self.samples.names] for record in records]
            table = np.array(rows, dtype=np.float64 if self.samples.numeric else object)
        stored = self.samples.sparse
        return replace(self.samples, records=tuple(records), table=table, sparse=None if stored is None else type(stored)(table))


# --- closed fields ------------------------------------------------------------------------------------------------------


def require_all_columns(estimator: Estimator, samples: RecordSamples) -> None:
    """Requires samples for every column of the model: nothing would be proved about the others. Raises InvalidOptionsError."""
    names = model_column_names(estimator, samples)
    # Boosters handle missing values, and sparse tables may have columns without any value.
    accepts_missing = is_booster(estimator.final)
    present = {name for record in samples.records for name, value in record.items() if accepts_missing or value is not None}
    absent = [name for name in names if name not in present] if set(names) & present else []
    if absent:
        raise InvalidOptionsError(options=f"samples with values in the model's column {', '.join(absent[:10])}")


def closed_fields(original: Original, record: RecordInput) -> RecordInput:
    """Closes each field for which the original raises at an unseen category or number."""
    known_categories = [
        np.asarray(categories) for part in parts_of(original.estimator.original) for categories in _categories(part)
    ]
    if not known_categories:
        return record
    return msgspec.structs.replace(record, fields=tuple(_close_field(original, field, known_categories) for field in record.fields))


def _categories(part: Any) -> Sequence[Any]:
    if getattr(part, "handle_unknown", "") != "error":
        return ()
    categories: Sequence[Any] = getattr(part, "categories_", ())
    return categories


def _close_field(original: Original, field: Field, known_categories: Sequence[NDArray[Any]]) -> Field:
    is_text = field.kind is FieldKind.CATEGORY
    if field.restrict_to_categories or field.kind is FieldKind.BOOLEAN:
        return field
    row = next((row for row, record in enumerate(original.samples.records) if record.get(field.name) is not None), 0)
    base = original.samples.records[row]
    if original.predict_scores([{**base, field.name: _UNSEEN if is_text else _UNSEEN_NUMBER}], row) is not None:
        return field
    sample_values: set[Any] = {record[field.name] for record in original.samples.records if record.get(field.name) is not None}
    candidates = [set(_typed_values(values, text=is_text)) for values in known_categories]
    choices: list[Any] = sorted(sample_values.union(*(values for values in candidates if values & sample_values)))[:_MAX_KNOWN]
    records = [{**base, field.name: choice} for choice in choices]
    if original.predict_scores(records, row) is None:
        choices = [
            choice for choice, values in zip(choices, records, strict=True) if original.predict_scores([values], row) is not None
        ]
    if not choices:
        return field
    return msgspec.structs.replace(
        field, restrict_to_categories=True, categories=tuple(choice if is_text else f"{choice:.17g}" for choice in choices)
    )


def _typed_values(categories: NDArray[Any], *, text: bool) -> list[Any]:
    if text:
        return [value for value in categories.tolist() if isinstance(value, str)]
    return [float(value) for value in categories.tolist() if isinstance(value, int | float) and math.isfinite(value)]


# --- probes -------------------------------------------------------------------------------------------------------------


def make_probes(predict: PredictScores, samples: RecordSamples, record: RecordInput) -> Probes:
    """Returns records unlike the samples for which the original gives finite outputs, with these outputs.

    predict: the original, called with records and the index of the sample from which they were changed.
    """
    rows = len(samples)
    answered: list[tuple[Record, str, NDArray[np.float64]]] = []
    for row in sorted({0, rows // 2}):
        probes = list(_changed_records(samples.records[row], record))
        outputs = predict([probe for probe, _ in probes], row)
        results = (
            [predict([probe], row) for probe, _ in probes]
            if outputs is None
            else [outputs[[index]] for index in range(len(probes))]
        )
        answered += [
            (probe, change, output)
            for (probe, change), output in zip(probes, results, strict=True)
            if output is not None and np.isfinite(output).all()
        ]
    if not answered:
        return Probes()
    return Probes(
        records=tuple(probe for probe, _, _ in answered),
        changes=tuple(change for _, change, _ in answered),
        outputs=np.concatenate([output for _, _, output in answered]),
    )


def _changed_records(base: Record, record: RecordInput) -> Iterator[tuple[Record, str]]:
    fields = [record.fields[index] for index in np.unique(np.linspace(0, len(record.fields) - 1, _MAX_FIELDS).astype(int))]
    for field in fields:
        for value in _changed_values(base.get(field.name), field, may_be_missing=record.missing_fields == "zero"):
            yield {**base, field.name: value}, f"{field.name} = {'null' if value is None else value}"
    numbers = [
        field for field in record.fields if field.kind in (FieldKind.NUMBER, FieldKind.INTEGER) and not field.restrict_to_categories
    ]
    changes: list[tuple[str, Callable[[float], float]]] = [
        ("every number × 10", lambda value: value * 10),
        ("every number × 1000", lambda value: value * 1000),
        ("every number negated", lambda value: -value),
        ("every number 0", lambda _: 0),
    ]
    for description, change in changes if numbers else []:
        changed = {field.name: change(base[field.name]) for field in numbers if base.get(field.name) is not None}
        yield {**base, **changed}, description


def _changed_values(value: Any, field: Field, *, may_be_missing: bool) -> list[Any]:
    missing = [None] if may_be_missing or not field.required else []
    if field.kind is FieldKind.BOOLEAN:
        return [not value, *missing]
    if field.kind is FieldKind.CATEGORY:
        return [*field.categories[:_MAX_CATEGORIES], *([] if field.restrict_to_categories else [_UNSEEN]), *missing]
    if field.restrict_to_categories:
        return [*(float(text) for text in field.categories[:_MAX_CATEGORIES]), *missing]
    # Multiples of 0 are 0, so 1 is used instead.
    base = value or 1.0
    changed = [base * 10, -base, base * 1000]
    return [*changed, *([base + 0.5] if field.kind is FieldKind.NUMBER else []), *missing]


def probe_difference(converted: ConvertedModel, probes: Probes) -> tuple[float, str]:
    """Largest difference to the original on the probes, and where; probes that the signature rejects do not count."""
    if probes.outputs is None:
        return 0.0, ""
    model = build_runnable(converted)
    worst, where = 0.0, ""
    for record, change, output in zip(probes.records, probes.changes, probes.outputs, strict=True):
        try:
            row = model.preprocess({name: value for name, value in record.items() if value is not None})
        except RelevoError:
            continue
        error = _difference(model.run, row, output)
        if error > worst:
            worst, where = error, change
    return worst, where


def _difference(run: Callable[[list[Any]], NDArray[Any]], row: Any, output: NDArray[np.float64]) -> float:
    try:
        served = np.asarray(run([row]), dtype=np.float64).reshape(1, -1)
    except RelevoError:
        return math.inf
    # For two classes, one column is the probability of the second.
    expected = output[None, -served.shape[1] :]
    return float(difference(served, expected)[0])


def check_probes(converted: ConvertedModel, probes: Probes, tolerance: float, *, dense: str = "") -> None:
    """Rejects a converted model that differs from the original outside of the samples. Raises ConversionError.

    dense: the option that gives a dense matrix, when XGBoost reads a sparse one.
    """
    error, where = probe_difference(converted, probes)
    if error > tolerance and dense:
        raise sparse_refusal(dense)
    if error > tolerance:
        raise ConversionError(
            reason="it answers the samples as the original does, but not inputs unlike them: "
            f"with {where} the difference is {error:.3g}"
        )
