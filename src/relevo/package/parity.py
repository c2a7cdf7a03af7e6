"""Parity check: compares the converted model with the original, through the code that serves.

    samples ─ RunnableModel.prepare, run ─► scores ─ activation, decision ─► served probabilities, value, label ─┐
    samples ─ the original ─ predict_proba, predict ─► its scores, its label ────────────────────────────────────┴─► Parity
                                                                                                         | ParityError

Differences are relative to max(1, |original|), so that large regression values have a relative tolerance. Raw scores and served
probabilities must both agree; labels must equal those of the original's own `predict`, where it has one, except for ties.
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

#: Batch size: large enough to be fast, small enough for large images.
_BATCH_SIZE = 256
#: Default tolerance of double and of single precision.
DOUBLE, SINGLE = 1e-5, 1e-4


def build_runnable(converted: ConvertedModel) -> RunnableModel:
    """The converted model as it will be served, before a package exists. Raises InvalidOnnxError."""
    manifest = Manifest(
        format=FORMAT,
        name="provisional",
        input=converted.input,
        steps=converted.steps,
        output=converted.output,
        decision=ArgmaxDecision(),
        lineage=Lineage(framework=converted.framework, parity=Parity(reference="none", samples="user")),
    )
    return RunnableModel(manifest, converted.onnx, limits=OWN_FILES)


def preprocess_samples(model: RunnableModel, samples: Samples) -> list[Any]:
    """The samples as rows for `model.run`, in order; pixels that already have the model's size are used directly."""
    pixels = ready_pixels(samples, model.manifest.input)
    if pixels is not None:
        return list(pixels)
    return [model.preprocess(_without_nulls(samples.payload(index))) for index in range(len(samples))]


def _without_nulls(payload: bytes | dict[str, Any]) -> bytes | dict[str, Any]:
    if isinstance(payload, bytes):
        return payload
    return {name: value for name, value in payload.items() if value is not None}


def in_batches(run: Callable[[list[Any]], NDArray[Any]], rows: list[Any]) -> NDArray[np.float64]:
    """Scores (n, columns) of n rows, float64, computed in batches."""
    outputs = [np.asarray(run(rows[start : start + _BATCH_SIZE])) for start in range(0, len(rows), _BATCH_SIZE)]
    return np.concatenate([output.reshape(len(output), -1) for output in outputs]).astype(np.float64)


def score_as_served(converted: ConvertedModel, samples: Samples) -> NDArray[np.float64]:
    """Scores of the samples as served, float64 (n, columns). Raises InvalidOnnxError, ModelError, InvalidInputError."""
    model = build_runnable(converted)
    return in_batches(model.run, preprocess_samples(model, samples))


def difference(served: NDArray[np.float64], original: NDArray[np.float64]) -> NDArray[np.float64]:
    """Largest difference of each row, (n,), in units of max(1, |original|); infinite where shapes differ or a value is not finite."""
    if served.shape != original.shape:
        return np.full(len(original), np.inf)
    differences = np.abs(served - original) / np.maximum(1.0, np.abs(original))
    worst: NDArray[np.float64] = np.where(np.isfinite(differences), differences, np.inf).max(axis=1)
    return worst


def default_tolerance(converted: ConvertedModel) -> float:
    """1e-5 for double precision, 1e-4 for single precision."""
    steps = converted.steps
    kinds = {column.dtype for column in steps.columns} if isinstance(steps, ColumnSteps) else {steps.dtype}
    return SINGLE if "float32" in kinds else DOUBLE


def check_parity(
    converted: ConvertedModel,
    served: NDArray[np.float64],
    *,
    decision: Decision,
    reference: str = "original",
    samples: str = "user",
    tolerance: float | None = None,
) -> Parity:
    """The parity result for the manifest. Raises ParityError, naming the worst sample and its difference."""
    if converted.outputs is None:
        return Parity(reference="none", samples=samples)
    allowed = default_tolerance(converted) if tolerance is None else tolerance
    differences = _differences(converted, served)
    worst = int(differences.argmax())
    if differences[worst] > allowed:
        raise ParityError(
            difference=float(differences[worst]), example=worst, tolerance=allowed, layer=f"output {converted.output.name}"
        )
    predicted = _original_labels(converted, decision)
    _check_labels(converted, served, decision, predicted, allowed)
    return Parity(
        reference=reference,
        samples=samples,
        rows=len(served),
        largest_difference=float(np.abs(served - converted.outputs).max()),
        tolerance=allowed,
        labels_agreeing=_label_agreement(converted, served, decision, predicted),
    )


def _differences(converted: ConvertedModel, served: NDArray[np.float64]) -> NDArray[np.float64]:
    """Largest difference of each row, (n,), in the raw scores and in the served probabilities."""
    assert converted.outputs is not None  # noqa: S101 - checked by `check_parity`, narrows the type
    differences = difference(served, converted.outputs)
    if converted.output.task is not Task.CLASSIFICATION or not np.isfinite(differences).all():
        return differences
    served_table, original_table = (probabilities_of(scores, converted.output) for scores in (served, converted.outputs))
    return np.maximum(differences, difference(served_table, original_table))


def _original_labels(converted: ConvertedModel, decision: Decision) -> NDArray[np.intp] | None:
    """Label indices of the original's own `predict`; None if the user set another decision rule."""
    is_own_rule = isinstance(decision, ArgmaxDecision) if converted.decision is None else decision == converted.decision
    return converted.predicted if is_own_rule else None


def _check_labels(
    converted: ConvertedModel, served: NDArray[np.float64], decision: Decision, predicted: NDArray[np.intp] | None, allowed: float
) -> None:
    """Raises ParityError where the served label differs from the original's `predict` and the scores are not tied."""
    if predicted is None:
        return
    labels = converted.output.labels
    for row, (result, original) in enumerate(zip(decide(served, converted.output, decision), predicted.tolist(), strict=True)):
        assert result.index is not None  # noqa: S101 - set for a classification
        if result.index == original:
            continue
        margin = result.probabilities[result.index] - result.probabilities[original]
        if isinstance(decision, ThresholdDecision):
            margin = result.probabilities[1] - decision.accept_at
        if converted.output.label_column or abs(margin) > 2 * allowed:
            message = f"it answers '{labels[result.index]}', its original's predict '{labels[original]}'"
            raise ParityError(difference=abs(margin), example=row, tolerance=allowed, layer=message)


def _label_agreement(
    converted: ConvertedModel, served: NDArray[np.float64], decision: Decision, predicted: NDArray[np.intp] | None
) -> float:
    assert converted.outputs is not None  # noqa: S101 - checked by `check_parity`, narrows the type
    results = decide(served, converted.output, decision)
    if predicted is not None:
        return float(np.mean([answer.index for answer in results] == predicted))
    originals = decide(converted.outputs, converted.output, decision)
    same = [a.predicted_label == b.predicted_label and a.uncertain == b.uncertain for a, b in zip(results, originals, strict=True)]
    return sum(same) / len(same)
