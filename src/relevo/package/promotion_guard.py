"""Compatibility and quality check before a promotion: existing clients must keep working, and the metrics must not get worse.

    documents of the current version, documents of the candidate ─► compare ─► comparison table, objections
    objections, no force ─► PromotionRefusedError      force and a reason ─► the reason to store, with the overridden objections

Objections: another kind of input or task, other labels, fields that are newly required, no longer accepted or of another kind,
fewer fields in the answer, and a metric that is significantly worse on the same held-out rows.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from relevo.domain.signature import FieldKind, ImageInput, Task
from relevo.errors import PromotionRefusedError
from relevo.stats.paired import mcnemar, paired_mean, two_proportions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from relevo.domain.manifest import Manifest
    from relevo.domain.signature import Field, Input, RecordInput

#: The alias of the version that serves requests.
CHAMPION = "champion"
#: Significance level of the test that the candidate is worse.
ALPHA = 0.05
_ABSENT = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two compared versions."""

    manifest: Manifest
    metrics: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Takeover:
    """Result of comparing the current version with the candidate."""

    model: str
    before: int
    after: int
    #: Name of the property, its value for the current version, its value for the candidate.
    rows: tuple[tuple[str, str, str], ...]
    objections: tuple[str, ...]

    def allowed(self, why: str, *, force: bool) -> str:
        """The reason to store. Raises PromotionRefusedError if there are objections and force or a reason is missing."""
        if not self.objections:
            return why
        reasons = "; ".join(self.objections)
        if not force:
            raise self._refused(reasons)
        if not why.strip():
            raise self._refused("forcing it needs a reason of your own")
        return f"{why} [forced: {reasons}]"

    def _refused(self, reason: str) -> PromotionRefusedError:
        return PromotionRefusedError(model=self.model, version=self.after, before=self.before, reason=reason, rows=self.rows)


def compare(model: str, numbers: tuple[int, int], before: Side, after: Side) -> Takeover:
    """Compares two versions. numbers: version numbers of the current one and of the candidate."""
    objections = (
        *_input_objections(before.manifest.input, after.manifest.input),
        *_answer_objections(before.manifest, after.manifest),
    )
    worse = () if objections else tuple(_metric_objections(before, after))
    return Takeover(
        model=model, before=numbers[0], after=numbers[1], rows=tuple(_rows(before, after)), objections=objections + worse
    )


# --- the input ------------------------------------------------------------------------------------------------------------


def _input_objections(before: Input, after: Input) -> Iterator[str]:
    if isinstance(before, ImageInput) != isinstance(after, ImageInput):
        yield "it takes pictures" if isinstance(after, ImageInput) else "it takes records"
    elif not isinstance(before, ImageInput) and not isinstance(after, ImageInput):
        yield from _field_objections(before, after)


def _field_objections(before: RecordInput, after: RecordInput) -> Iterator[str]:
    old, new = ({field.name: field for field in record.fields} for record in (before, after))
    newly_required = [
        name
        for name, field in new.items()
        if field.required and after.missing_fields == "refuse" and _may_be_missing(old.get(name), before)
    ]
    if newly_required:
        yield f"it requires fields that clients may leave out: {', '.join(newly_required)}"
    removed = [name for name in old if name not in new]
    if removed and after.unknown_fields == "refuse":
        yield f"it refuses fields that clients send: {', '.join(removed)}"
    narrowed = [name for name, field in new.items() if name in old and _accepts_less(old[name], field)]
    if narrowed:
        yield f"it takes other values of: {', '.join(narrowed)}"


def _may_be_missing(field: Field | None, record: RecordInput) -> bool:
    return field is None or not field.required or record.missing_fields != "refuse"


def _accepts_less(old: Field, new: Field) -> bool:
    if old.kind != new.kind:
        return (old.kind, new.kind) != (FieldKind.INTEGER, FieldKind.NUMBER)
    if not new.restrict_to_categories:
        return False
    return not old.restrict_to_categories or not set(old.categories) <= set(new.categories)


# --- the answer -----------------------------------------------------------------------------------------------------------


def _answer_objections(before: Manifest, after: Manifest) -> Iterator[str]:
    if before.output.task is not after.output.task:
        yield f"its task is {after.output.task.value}"
        return
    if set(before.output.labels) != set(after.output.labels):
        yield "its labels are other ones"
    missing = [name for name, source in before.answer.items() if after.answer.get(name) != source]
    if missing:
        yield f"its answer lacks the fields: {', '.join(missing)}"


# --- the metrics ----------------------------------------------------------------------------------------------------------


def _metric_objections(before: Side, after: Side) -> Iterator[str]:
    if _p_value(before.metrics, after.metrics) < ALPHA:
        name, _ = _metric(after.metrics)
        old, new = _metric(before.metrics)[1], _metric(after.metrics)[1]
        yield f"it is significantly worse on the same held-out rows: {name} {new:.3f} instead of {old:.3f}"


def _metric(metrics: Mapping[str, Any]) -> tuple[str, float]:
    """Name and value of the metric that is compared: accuracy, or RMSE."""
    accuracy = metrics.get("accuracy")
    if isinstance(accuracy, dict) and accuracy.get("value") is not None:
        return "accuracy", float(accuracy["value"])
    return "rmse", float(metrics.get("rmse") or 0.0)


def _p_value(before: Mapping[str, Any], after: Mapping[str, Any]) -> float:
    """p-value of the one-sided test that `after` is worse; 1 where the rows are not known to be the same."""
    rows = after.get("rows")
    if not rows or before.get("rows") != rows or before.get("task") != after.get("task"):
        return 1.0
    old, new = before.get("held_out"), after.get("held_out")
    if isinstance(old, dict) and isinstance(new, dict):
        return _paired_p_value(old, new, int(rows), Task(str(after["task"]))) if old.get("digest") == new.get("digest") else 1.0
    # Older packages have no digest of the rows: equal class counts are the only evidence.
    if _class_counts(before) is None or _class_counts(before) != _class_counts(after):
        return 1.0
    return two_proportions(round(_metric(before)[1] * rows), round(_metric(after)[1] * rows), rows)


def _paired_p_value(old: Mapping[str, Any], new: Mapping[str, Any], rows: int, task: Task) -> float:
    if task is Task.REGRESSION:
        first, second = (_errors(outcomes, rows) for outcomes in (old, new))
        return 1.0 if first is None or second is None or rows < 2 else paired_mean(first**2, second**2)
    correct = [_correct(outcomes, rows) for outcomes in (old, new)]
    if correct[0] is None or correct[1] is None:
        return 1.0
    return mcnemar(int((correct[1] & ~correct[0]).sum()), int((correct[0] & ~correct[1]).sum()))


def _class_counts(metrics: Mapping[str, Any]) -> list[tuple[str, int]] | None:
    classes = metrics.get("per_class")
    return None if not classes else [(str(entry["label"]), int(entry["rows"])) for entry in classes]


def _correct(outcomes: Mapping[str, Any], rows: int) -> Any:
    data = base64.b64decode(str(outcomes.get("right", "")))
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    return bits[:rows].astype(bool) if len(data) == (rows + 7) // 8 else None


def _errors(outcomes: Mapping[str, Any], rows: int) -> Any:
    data = base64.b64decode(str(outcomes.get("errors", "")))
    return np.frombuffer(data, "<f4").astype(np.float64) if len(data) == 4 * rows else None


# --- the comparison ---------------------------------------------------------------------------------------------------------


def _rows(before: Side, after: Side) -> Iterator[tuple[str, str, str]]:
    for name, describe in (
        ("task", lambda side: side.manifest.output.task.value),
        ("input", lambda side: _describe_input(side.manifest.input)),
        ("labels", lambda side: ", ".join(side.manifest.output.labels[:20]) or _ABSENT),
        ("answer", lambda side: ", ".join(sorted(side.manifest.answer)) or _ABSENT),
        ("held-out rows", lambda side: str(side.metrics.get("rows", _ABSENT))),
        ("figure", _describe_metric),
    ):
        yield name, describe(before), describe(after)


def _describe_input(signature: Input) -> str:
    if isinstance(signature, ImageInput):
        return f"{signature.width}x{signature.height} {signature.mode}"
    return ", ".join(field.name + ("" if field.required else "?") for field in signature.fields[:30])


def _describe_metric(side: Side) -> str:
    name, value = _metric(side.metrics)
    return f"{name} {value:.4g}" if side.metrics else _ABSENT
