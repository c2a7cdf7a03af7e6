"""Whether a version may take over from the one that answers: the clients of that one must go on working, and be answered as well.

papers of the version that answers, papers of the one to come ─► compare ─► rows side by side, and objections
objections, no force ─► PromotionRefusedError          force and a reason ─► the reason as it is kept, with what was overridden

Objections: another kind of input or task, other labels, fields that are newly required, no longer taken or of another kind, fewer
fields in the answer, and a figure that is significantly worse on the same held-out rows.
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

#: The alias whose version answers requests.
CHAMPION = "champion"
#: Below this probability, of seeing so much worse a figure from a model that is no worse, it counts as worse.
ALPHA = 0.05
_NONE = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two versions."""

    manifest: Manifest
    metrics: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Takeover:
    """Two versions side by side."""

    model: str
    before: int
    after: int
    #: What is compared, of the one that answers, of the one to come.
    rows: tuple[tuple[str, str, str], ...]
    objections: tuple[str, ...]

    def allowed(self, why: str, *, force: bool) -> str:
        """The reason to be kept. Raises PromotionRefusedError without force or, with it, without a reason."""
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
    """Hold two versions against each other. numbers: of the one that answers, and of the one to come."""
    objections = (*_input(before.manifest.input, after.manifest.input), *_answer(before.manifest, after.manifest))
    worse = () if objections else tuple(_worse(before, after))
    return Takeover(
        model=model, before=numbers[0], after=numbers[1], rows=tuple(_rows(before, after)), objections=objections + worse
    )


# --- the input ------------------------------------------------------------------------------------------------------------


def _input(before: Input, after: Input) -> Iterator[str]:
    if isinstance(before, ImageInput) != isinstance(after, ImageInput):
        yield "it takes pictures" if isinstance(after, ImageInput) else "it takes records"
    elif not isinstance(before, ImageInput) and not isinstance(after, ImageInput):
        yield from _fields(before, after)


def _fields(before: RecordInput, after: RecordInput) -> Iterator[str]:
    old, new = ({field.name: field for field in one.fields} for one in (before, after))
    asked = [
        name for name, field in new.items() if field.required and after.missing == "refuse" and _may_lack(old.get(name), before)
    ]
    if asked:
        yield f"it requires fields that clients may leave out: {', '.join(asked)}"
    gone = [name for name in old if name not in new]
    if gone and after.extra == "refuse":
        yield f"it refuses fields that clients send: {', '.join(gone)}"
    other = [name for name, field in new.items() if name in old and _is_narrower(old[name], field)]
    if other:
        yield f"it takes other values of: {', '.join(other)}"


def _may_lack(field: Field | None, record: RecordInput) -> bool:
    return field is None or not field.required or record.missing != "refuse"


def _is_narrower(old: Field, new: Field) -> bool:
    if old.kind != new.kind:
        return (old.kind, new.kind) != (FieldKind.INTEGER, FieldKind.NUMBER)
    if not new.closed:
        return False
    return not old.closed or not set(old.categories) <= set(new.categories)


# --- the answer -----------------------------------------------------------------------------------------------------------


def _answer(before: Manifest, after: Manifest) -> Iterator[str]:
    if before.output.task is not after.output.task:
        yield f"its task is {after.output.task.value}"
        return
    if set(before.output.labels) != set(after.output.labels):
        yield "its labels are other ones"
    lost = [name for name, fact in before.answer.items() if after.answer.get(name) != fact]
    if lost:
        yield f"its answer lacks the fields: {', '.join(lost)}"


# --- the figures ----------------------------------------------------------------------------------------------------------


def _worse(before: Side, after: Side) -> Iterator[str]:
    if _p_value(before.metrics, after.metrics) < ALPHA:
        name, _ = _figure(after.metrics)
        old, new = _figure(before.metrics)[1], _figure(after.metrics)[1]
        yield f"it is significantly worse on the same held-out rows: {name} {new:.3f} instead of {old:.3f}"


def _figure(metrics: Mapping[str, Any]) -> tuple[str, float]:
    """The figure that is compared: a share that is right, or an error."""
    accuracy = metrics.get("accuracy")
    if isinstance(accuracy, dict) and accuracy.get("value") is not None:
        return "accuracy", float(accuracy["value"])
    return "rmse", float(metrics.get("rmse") or 0.0)


def _p_value(before: Mapping[str, Any], after: Mapping[str, Any]) -> float:
    """How likely so much worse a figure is of a model that is no worse; 1 where the rows are not known to be the same."""
    rows = after.get("rows")
    if not rows or before.get("rows") != rows or before.get("task") != after.get("task"):
        return 1.0
    old, new = before.get("held_out"), after.get("held_out")
    if isinstance(old, dict) and isinstance(new, dict):
        return _paired(old, new, int(rows), Task(str(after["task"]))) if old.get("digest") == new.get("digest") else 1.0
    # Packages of before rows were told apart: equal counts of every class are the best that is known.
    if _classes(before) is None or _classes(before) != _classes(after):
        return 1.0
    return two_proportions(round(_figure(before)[1] * rows), round(_figure(after)[1] * rows), rows)


def _paired(old: Mapping[str, Any], new: Mapping[str, Any], rows: int, task: Task) -> float:
    if task is Task.REGRESSION:
        first, second = (_errors(one, rows) for one in (old, new))
        return 1.0 if first is None or second is None or rows < 2 else paired_mean(first**2, second**2)
    right = [_right(one, rows) for one in (old, new)]
    if right[0] is None or right[1] is None:
        return 1.0
    return mcnemar(int((right[1] & ~right[0]).sum()), int((right[0] & ~right[1]).sum()))


def _classes(metrics: Mapping[str, Any]) -> list[tuple[str, int]] | None:
    found = metrics.get("per_class")
    return None if not found else [(str(one["label"]), int(one["rows"])) for one in found]


def _right(told: Mapping[str, Any], rows: int) -> Any:
    data = base64.b64decode(str(told.get("right", "")))
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    return bits[:rows].astype(bool) if len(data) == (rows + 7) // 8 else None


def _errors(told: Mapping[str, Any], rows: int) -> Any:
    data = base64.b64decode(str(told.get("errors", "")))
    return np.frombuffer(data, "<f4").astype(np.float64) if len(data) == 4 * rows else None


# --- side by side ---------------------------------------------------------------------------------------------------------


def _rows(before: Side, after: Side) -> Iterator[tuple[str, str, str]]:
    for name, told in (
        ("task", lambda one: one.manifest.output.task.value),
        ("input", lambda one: _input_told(one.manifest.input)),
        ("labels", lambda one: ", ".join(one.manifest.output.labels[:20]) or _NONE),
        ("answer", lambda one: ", ".join(sorted(one.manifest.answer)) or _NONE),
        ("held-out rows", lambda one: str(one.metrics.get("rows", _NONE))),
        ("figure", _figure_told),
    ):
        yield name, told(before), told(after)


def _input_told(one: Input) -> str:
    if isinstance(one, ImageInput):
        return f"{one.width}x{one.height} {one.mode}"
    return ", ".join(field.name + ("" if field.required else "?") for field in one.fields[:30])


def _figure_told(one: Side) -> str:
    name, value = _figure(one.metrics)
    return f"{name} {value:.4g}" if one.metrics else _NONE
