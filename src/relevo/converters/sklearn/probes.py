"""Inputs that the samples lack, asked of the original: unseen categories and numbers, fractions, signs, extremes, missing values.

samples ─ one field, or every number, changed ─► Probes ─ the original answers, or raises ─► what the converted model must answer
        └ does the original raise at what it has not seen? ─► the field is closed, with the categories that it knows
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
from relevo.converters.sklearn.input_layouts import known_names, original_input
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

#: A category that nobody has.
_UNSEEN = "unseen category"
#: A number that no encoder of a few numbers knows.
_UNSEEN_NUMBER = 987654.25
#: Fields changed one by one, spread over all; categories tried of each.
_FIELDS, _CATEGORIES = 30, 20
#: Categories of an encoder that are tried one by one.
_KNOWN = 500

Record = dict[str, Any]
#: The original's scores of some records, (n, columns); None where it raises. With the row of the samples they were changed from.
Ask = Callable[[Sequence[Record], int], "NDArray[np.float64] | None"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Probes:
    """Records unlike the samples and what the original answers; lives as long as one conversion."""

    records: tuple[Record, ...] = ()
    told: tuple[str, ...] = ()  # what is unlike in each
    outputs: NDArray[np.float64] | None = None  # (n, columns)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Original:
    """The original, asked with records; lives as long as one conversion."""

    estimator: Estimator
    layout: Layout
    samples: RecordSamples

    def ask(self, records: Sequence[Record], row: int = 0) -> NDArray[np.float64] | None:
        """Its scores, (n, columns); None where it raises. row: of the samples, from which they were changed."""
        try:
            given = original_input(self.estimator, self.layout, self._changed(records, row))
            outputs = self.estimator.ask(given)
        except (RelevoError, ValueError, TypeError, KeyError):
            return None
        return outputs if len(outputs) == len(records) else None

    def _changed(self, records: Sequence[Record], row: int) -> RecordSamples:
        table = self.samples.table
        if table is not None and hasattr(table, "iloc"):
            frame = table.iloc[[row] * len(records)].reset_index(drop=True)
            for place, name in enumerate(self.samples.names):
                values = [record[name] for record in records]
                if any(value != self.samples.records[row][name] for value in values):
                    frame[frame.columns[place]] = values
            table = frame
        elif table is not None:
            rows = [[math.nan if record[name] is None else record[name] for name in self.samples.names] for record in records]
            table = np.array(rows, dtype=np.float64 if self.samples.numeric else object)
        stored = self.samples.sparse
        return replace(self.samples, records=tuple(records), table=table, sparse=None if stored is None else type(stored)(table))


# --- closed fields ------------------------------------------------------------------------------------------------------


def refuse_absent(estimator: Estimator, samples: RecordSamples) -> None:
    """Columns that the model knows and the samples lack: nothing would be proved of them. Raises InvalidOptionsError."""
    known = known_names(estimator, samples)
    # A booster has answers of its own to what is missing, and sparse tables have columns of nothing else.
    taken = is_booster(estimator.final)
    seen = {name for record in samples.records for name, value in record.items() if taken or value is not None}
    absent = [name for name in known if name not in seen] if set(known) & seen else []
    if absent:
        raise InvalidOptionsError(options=f"samples with values in the model's column {', '.join(absent[:10])}")


def closed_fields(original: Original, record: RecordInput) -> RecordInput:
    """The record, in which a field is closed when the original raises at a category or number that it has not seen."""
    strict = [np.asarray(one) for part in parts_of(original.estimator.original) for one in _categories(part)]
    if not strict:
        return record
    return msgspec.structs.replace(record, fields=tuple(_closed(original, field, strict) for field in record.fields))


def _categories(part: Any) -> Sequence[Any]:
    if getattr(part, "handle_unknown", "") != "error":
        return ()
    found: Sequence[Any] = getattr(part, "categories_", ())
    return found


def _closed(original: Original, field: Field, strict: Sequence[NDArray[Any]]) -> Field:
    text = field.kind is FieldKind.CATEGORY
    if field.closed or field.kind is FieldKind.BOOLEAN:
        return field
    row = next((row for row, record in enumerate(original.samples.records) if record.get(field.name) is not None), 0)
    base = original.samples.records[row]
    if original.ask([{**base, field.name: _UNSEEN if text else _UNSEEN_NUMBER}], row) is not None:
        return field
    seen: set[Any] = {record[field.name] for record in original.samples.records if record.get(field.name) is not None}
    known = [set(_plain(one, text=text)) for one in strict]
    choices: list[Any] = sorted(seen.union(*(one for one in known if one & seen)))[:_KNOWN]
    records = [{**base, field.name: choice} for choice in choices]
    if original.ask(records, row) is None:
        choices = [choice for choice, one in zip(choices, records, strict=True) if original.ask([one], row) is not None]
    if not choices:
        return field
    return msgspec.structs.replace(field, closed=True, categories=tuple(choice if text else f"{choice:.17g}" for choice in choices))


def _plain(known: NDArray[Any], *, text: bool) -> list[Any]:
    if text:
        return [value for value in known.tolist() if isinstance(value, str)]
    return [float(value) for value in known.tolist() if isinstance(value, int | float) and math.isfinite(value)]


# --- probes -------------------------------------------------------------------------------------------------------------


def probes_of(ask: Ask, samples: RecordSamples, record: RecordInput) -> Probes:
    """Records unlike the samples that the original answers with finite numbers, and what it answers.

    ask: the original, given records and the sample from which they were changed.
    """
    rows = len(samples)
    kept: list[tuple[Record, str, NDArray[np.float64]]] = []
    for row in sorted({0, rows // 2}):
        asked = list(_unlike(samples.records[row], record))
        outputs = ask([one for one, _ in asked], row)
        answers = [ask([one], row) for one, _ in asked] if outputs is None else [outputs[[at]] for at in range(len(asked))]
        kept += [
            (one, told, out) for (one, told), out in zip(asked, answers, strict=True) if out is not None and np.isfinite(out).all()
        ]
    if not kept:
        return Probes()
    return Probes(
        records=tuple(one for one, _, _ in kept),
        told=tuple(told for _, told, _ in kept),
        outputs=np.concatenate([out for _, _, out in kept]),
    )


def _unlike(base: Record, record: RecordInput) -> Iterator[tuple[Record, str]]:
    fields = [record.fields[place] for place in np.unique(np.linspace(0, len(record.fields) - 1, _FIELDS).astype(int))]
    for field in fields:
        for value in _values(base.get(field.name), field, absent=record.missing == "zero"):
            yield {**base, field.name: value}, f"{field.name} = {'null' if value is None else value}"
    numbers = [field for field in record.fields if field.kind in (FieldKind.NUMBER, FieldKind.INTEGER) and not field.closed]
    changes: list[tuple[str, Callable[[float], float]]] = [
        ("every number × 10", lambda value: value * 10),
        ("every number × 1000", lambda value: value * 1000),
        ("every number negated", lambda value: -value),
        ("every number 0", lambda _: 0),
    ]
    for told, change in changes if numbers else []:
        changed = {field.name: change(base[field.name]) for field in numbers if base.get(field.name) is not None}
        yield {**base, **changed}, told


def _values(value: Any, field: Field, *, absent: bool) -> list[Any]:
    missing = [None] if absent or not field.required else []
    if field.kind is FieldKind.BOOLEAN:
        return [not value, *missing]
    if field.kind is FieldKind.CATEGORY:
        return [*field.categories[:_CATEGORIES], *([] if field.closed else [_UNSEEN]), *missing]
    if field.closed:
        return [*(float(text) for text in field.categories[:_CATEGORIES]), *missing]
    # Nothing comes of 0, however often it is taken.
    middle = value or 1.0
    changed = [middle * 10, -middle, middle * 1000]
    return [*changed, *([middle + 0.5] if field.kind is FieldKind.NUMBER else []), *missing]


def probed_gap(converted: ConvertedModel, probes: Probes) -> tuple[float, str]:
    """The largest difference to the original on the probes, and where; those that the signature refuses count nothing."""
    if probes.outputs is None:
        return 0.0, ""
    model = build_runnable(converted)
    worst, where = 0.0, ""
    for record, told, output in zip(probes.records, probes.told, probes.outputs, strict=True):
        try:
            row = model.prepare({name: value for name, value in record.items() if value is not None})
        except RelevoError:
            continue
        gap = _gap(model.run, row, output)
        if gap > worst:
            worst, where = gap, told
    return worst, where


def _gap(run: Callable[[list[Any]], NDArray[Any]], row: Any, output: NDArray[np.float64]) -> float:
    try:
        served = np.asarray(run([row]), dtype=np.float64).reshape(1, -1)
    except RelevoError:
        return math.inf
    # One column of two labels is the probability of the second.
    expected = output[None, -served.shape[1] :]
    return float(difference(served, expected)[0])


def refuse_unlike(converted: ConvertedModel, probes: Probes, tolerance: float, *, dense: str = "") -> None:
    """Nothing is converted that answers otherwise outside of the samples. Raises ConversionError.

    dense: the step that would give a dense matrix, where XGBoost reads a sparse one.
    """
    gap, where = probed_gap(converted, probes)
    if gap > tolerance and dense:
        raise sparse_refusal(dense)
    if gap > tolerance:
        raise ConversionError(
            reason="it answers the samples as the original does, but not inputs unlike them: "
            f"with {where} the difference is {gap:.3g}"
        )
