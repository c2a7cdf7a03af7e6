"""Decision rules: turn scores into a label, with an *uncertain* result by minimum confidence or by two thresholds.

    scores (columns,) ─ activation ─► probabilities (labels,) ─ rule ─► DecisionResult

Pure functions, used for the parity check of a package and for serving.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from relevo.domain.signature import Output, Task
from relevo.errors import OutputNotFiniteError

if TYPE_CHECKING:
    from numpy.typing import NDArray


class ArgmaxDecision(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag="argmax"):
    """The most probable label; *uncertain* when its probability is below `min_confidence`."""

    #: Probability below which the answer is uncertain, 0..1.
    min_confidence: float = 0.0


class ThresholdDecision(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag="thresholds"
):
    """Two labels: at or above `accept_at` the second, at or below `reject_at` the first, between them *uncertain*."""

    #: Probability of the second label from which on it is the answer, 0..1.
    accept_at: float
    #: Probability up to which the first label is the answer, 0..1.
    reject_at: float


Decision = ArgmaxDecision | ThresholdDecision


class DecisionResult(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The prediction for one input. Lifetime: the request.

    A regression sets `value` only. `label` of an uncertain result is the more probable one; views show it as *uncertain*.
    """

    predicted_label: str | None = None
    index: int | None = None  # position of the label in the manifest's list
    confidence: float | None = None  # probability of the label, 0..1
    probabilities: tuple[float, ...] = ()  # one per label, in the manifest's order
    uncertain: bool = False
    value: float | None = None
    #: Input fields that were ignored or counted as 0. Set by an opened package; a server adds them in the client's language.
    warnings: tuple[str, ...] = ()


def probabilities_of(scores: NDArray[np.floating], output: Output) -> NDArray[np.float64]:
    """Probabilities, shape (n, labels), from scores of shape (n, columns) or (n,).

    A single column with two labels becomes (1 − p, p). Raises OutputNotFiniteError on NaN or infinity.
    """
    raw = np.asarray(scores, dtype=np.float64).reshape(len(scores), -1)
    if output.label_column:
        raw = raw[:, :-1]
    if not np.isfinite(raw).all():
        raise OutputNotFiniteError
    if output.activation == "sigmoid":
        # Written with tanh: exact at both tails and without overflow warnings.
        raw = 0.5 * (1.0 + np.tanh(0.5 * raw))
    elif output.activation == "softmax":
        powers = np.exp(raw - raw.max(axis=1, keepdims=True))
        raw = powers / powers.sum(axis=1, keepdims=True)
    elif output.activation == "percent":
        raw = raw / 100.0
    elif output.activation == "clip":
        raw = np.clip(raw, 0.0, 1.0)
    if raw.shape[1] == 1 and len(output.labels) == 2:
        return np.concatenate([1.0 - raw, raw], axis=1)
    return raw


def decide(scores: NDArray[np.floating], output: Output, decision: Decision) -> list[DecisionResult]:
    """One result per row of scores, by thresholds, the model's own label, or the most probable one. Raises OutputNotFiniteError."""
    if output.task is Task.REGRESSION:
        values = np.asarray(scores, dtype=np.float64).reshape(len(scores), -1)
        if not np.isfinite(values).all():
            raise OutputNotFiniteError
        return [DecisionResult(value=value) for value in values[:, 0].tolist()]
    table = probabilities_of(scores, output)
    if isinstance(decision, ThresholdDecision):
        return [_threshold(row, output.labels, decision) for row in table.tolist()]
    best = (scores[:, -1].astype(int) if output.label_column else table.argmax(axis=1)).tolist()
    return [_argmax(row, index, output.labels, decision) for row, index in zip(table.tolist(), best, strict=True)]


def _argmax(row: list[float], index: int, labels: tuple[str, ...], rule: ArgmaxDecision) -> DecisionResult:
    confidence = row[index]
    return DecisionResult(
        predicted_label=labels[index],
        index=index,
        confidence=confidence,
        probabilities=tuple(row),
        uncertain=confidence < rule.min_confidence,
    )


def _threshold(row: list[float], labels: tuple[str, ...], rule: ThresholdDecision) -> DecisionResult:
    positive = row[1]
    certain = positive >= rule.accept_at or positive <= rule.reject_at
    # Outside the uncertain range the thresholds decide: with accept = 0.3, a score of 0.35 gives the second label.
    index = int(positive >= rule.accept_at) if certain else int(positive >= 0.5)
    return DecisionResult(
        predicted_label=labels[index], index=index, confidence=row[index], probabilities=tuple(row), uncertain=not certain
    )
