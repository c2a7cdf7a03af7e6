"""Does the converted model answer as the original did? Asked of the very code that serves.

    samples ─ RunnableModel.prepare, run ─► scores ─ activation, decision ─► what is served: probabilities, value, label ─┐
    samples ─ the original ─ predict_proba, predict ─► its scores, its label ─────────────────────────────────────────────┴─► Parity
                                                                                                                  | ParityError

A difference counts against max(1, |original|), so that a regression in millions is not held to its millionth. Scores must agree as
the graph gives them and as they are served, labels with the original's own `predict` wherever it has one, but for ties.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from relevo.domain.decision import ArgmaxDecision, ThresholdDecision, decide, probabilities_of
from relevo.domain.manifest import FORMAT, Lineage, Manifest, Parity
from relevo.domain.preprocessing import ColumnSteps
from relevo.domain.signature import Task
from relevo.errors import ParityError
from relevo.package.samples import ready_pixels
from relevo.runtime.image import OWN_FILES
from relevo.runtime.model import RunnableModel

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from relevo.domain.decision import Decision
    from relevo.package.conversion import ConvertedModel
    from relevo.package.samples import Samples

#: Rows run together: enough to be quick, few enough for large pictures.
_BATCH = 256
#: What double precision may differ by, and what single precision may.
DOUBLE, SINGLE = 1e-5, 1e-4


def build_runnable(converted: ConvertedModel) -> RunnableModel:
    """The converted model as it would be served, before it has a package. Raises InvalidOnnxError."""
    manifest = Manifest(
        format=FORMAT,
        name="provisional",
        input=converted.input,
        steps=converted.steps,
        output=converted.output,
        decision=ArgmaxDecision(),
        lineage=Lineage(framework=converted.framework, parity=Parity(against="none", samples="user")),
    )
    return RunnableModel(manifest, converted.onnx, limits=OWN_FILES)


def preprocess_samples(model: RunnableModel, samples: Samples) -> list[Any]:
    """The samples as rows for `model.run`, in order; pixels that already have the model's size are taken as they are."""
    ready = ready_pixels(samples, model.manifest.input)
    if ready is not None:
        return list(ready)
    return [model.prepare(_present(samples.payload(index))) for index in range(len(samples))]


def _present(payload: bytes | dict[str, Any]) -> bytes | dict[str, Any]:
    if isinstance(payload, bytes):
        return payload
    return {name: value for name, value in payload.items() if value is not None}


def in_batches(run: Callable[[list[Any]], NDArray[Any]], rows: list[Any]) -> NDArray[np.float64]:
    """Scores (n, columns) of n rows, float64, asked in batches."""
    parts = [np.asarray(run(rows[start : start + _BATCH])) for start in range(0, len(rows), _BATCH)]
    return np.concatenate([part.reshape(len(part), -1) for part in parts]).astype(np.float64)


def score_as_served(converted: ConvertedModel, samples: Samples) -> NDArray[np.float64]:
    """What serving would score the samples with, float64 (n, columns). Raises InvalidOnnxError, ModelError, InvalidInputError."""
    model = build_runnable(converted)
    return in_batches(model.run, preprocess_samples(model, samples))


def difference(served: NDArray[np.float64], original: NDArray[np.float64]) -> NDArray[np.float64]:
    """Largest difference a row, (n,), in units of max(1, |original|); infinite where shapes or finiteness differ."""
    if served.shape != original.shape:
        return np.full(len(original), np.inf)
    gaps = np.abs(served - original) / np.maximum(1.0, np.abs(original))
    worst: NDArray[np.float64] = np.where(np.isfinite(gaps), gaps, np.inf).max(axis=1)
    return worst


def default_tolerance(converted: ConvertedModel) -> float:
    """Double precision is held to 1e-5, single precision to 1e-4."""
    steps = converted.steps
    kinds = {column.dtype for column in steps.columns} if isinstance(steps, ColumnSteps) else {steps.dtype}
    return SINGLE if "float32" in kinds else DOUBLE


def check_parity(
    converted: ConvertedModel,
    served: NDArray[np.float64],
    *,
    decision: Decision,
    against: str = "original",
    samples: str = "user",
    tolerance: float | None = None,
) -> Parity:
    """The proof to write into the manifest. Raises ParityError, naming the worst sample and its difference."""
    if converted.outputs is None:
        return Parity(against="none", samples=samples)
    allowed = default_tolerance(converted) if tolerance is None else tolerance
    gaps = _gaps(converted, served)
    worst = int(gaps.argmax())
    if gaps[worst] > allowed:
        raise ParityError(difference=float(gaps[worst]), example=worst, tolerance=allowed, layer=f"output {converted.output.name}")
    predicted = _predicted(converted, decision)
    _refuse_other_labels(converted, served, decision, predicted, allowed)
    return Parity(
        against=against,
        samples=samples,
        rows=len(served),
        largest_difference=float(np.abs(served - converted.outputs).max()),
        tolerance=allowed,
        labels_agreeing=_agreeing(converted, served, decision, predicted),
    )


def _gaps(converted: ConvertedModel, served: NDArray[np.float64]) -> NDArray[np.float64]:
    """The largest difference a row, (n,), of the scores as they are and of the probabilities that are served for them."""
    assert converted.outputs is not None  # noqa: S101 - asked by `prove`, narrows for the type checker
    gaps = difference(served, converted.outputs)
    if converted.output.task is not Task.CLASSIFICATION or not np.isfinite(gaps).all():
        return gaps
    ours, theirs = (probabilities_of(scores, converted.output) for scores in (served, converted.outputs))
    return np.maximum(gaps, difference(ours, theirs))


def _predicted(converted: ConvertedModel, decision: Decision) -> NDArray[np.intp] | None:
    """The labels of the original's own `predict`, unless a person gave another rule than its own."""
    own = isinstance(decision, ArgmaxDecision) if converted.decision is None else decision == converted.decision
    return converted.predicted if own else None


def _refuse_other_labels(
    converted: ConvertedModel, served: NDArray[np.float64], decision: Decision, predicted: NDArray[np.intp] | None, allowed: float
) -> None:
    """Raises ParityError where the served answer is another one than the original's `predict`, and the scores are no tie."""
    if predicted is None:
        return
    labels = converted.output.labels
    for row, (ours, theirs) in enumerate(zip(decide(served, converted.output, decision), predicted.tolist(), strict=True)):
        assert ours.index is not None  # noqa: S101 - a classification's
        if ours.index == theirs:
            continue
        apart = ours.probabilities[ours.index] - ours.probabilities[theirs]
        if isinstance(decision, ThresholdDecision):
            apart = ours.probabilities[1] - decision.accept
        if converted.output.label_column or abs(apart) > 2 * allowed:
            told = f"it answers '{labels[ours.index]}', its original's predict '{labels[theirs]}'"
            raise ParityError(difference=abs(apart), example=row, tolerance=allowed, layer=told)


def _agreeing(
    converted: ConvertedModel, served: NDArray[np.float64], decision: Decision, predicted: NDArray[np.intp] | None
) -> float:
    assert converted.outputs is not None  # noqa: S101 - asked by `prove`, narrows for the type checker
    ours = decide(served, converted.output, decision)
    if predicted is not None:
        return float(np.mean([answer.index for answer in ours] == predicted))
    theirs = decide(converted.outputs, converted.output, decision)
    same = [a.label == b.label and a.uncertain == b.uncertain for a, b in zip(ours, theirs, strict=True)]
    return sum(same) / len(same)
