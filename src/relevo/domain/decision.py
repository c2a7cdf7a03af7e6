"""How scores become an answer: the most probable label, or bands with *uncertain* between them.

    scores (columns,) ─ activation ─► probabilities (labels,) ─ rule ─► Answer

Pure functions; the same ones prove a package and serve a request.
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
    """The most probable label; *uncertain* when its probability is below `least`."""

    #: Probability below which the answer is uncertain, 0..1.
    least: float = 0.0


class ThresholdDecision(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag="bands"):
    """Two labels: at or above `accept` the second, at or below `reject` the first, between them *uncertain*."""

    #: Probability of the second label from which on it is the answer, 0..1.
    accept: float
    #: Probability up to which the first label is the answer, 0..1.
    reject: float


Decision = ArgmaxDecision | ThresholdDecision


class DecisionResult(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one input is taken to be; lives as long as a request.

    Of a regression only `value` is set. `label` of an uncertain answer is the more probable one; whoever shows it says *uncertain*.
    """

    label: str | None = None
    index: int | None = None  # position of the label in the manifest's list
    confidence: float | None = None  # probability of the label, 0..1
    probabilities: tuple[float, ...] = ()  # one a label, in the manifest's order
    uncertain: bool = False
    value: float | None = None
    #: What of the input was ignored or counted as 0; of an opened package alone, a server tells it in the caller's language.
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
    """One answer a row of scores, in order: by bands, by the model's own label, or the most probable. Raises OutputNotFiniteError."""
    if output.task is Task.REGRESSION:
        values = np.asarray(scores, dtype=np.float64).reshape(len(scores), -1)
        if not np.isfinite(values).all():
            raise OutputNotFiniteError
        return [DecisionResult(value=value) for value in values[:, 0].tolist()]
    table = probabilities_of(scores, output)
    if isinstance(decision, ThresholdDecision):
        return [_banded(row, output.labels, decision) for row in table.tolist()]
    best = (scores[:, -1].astype(int) if output.label_column else table.argmax(axis=1)).tolist()
    return [_argmax(row, index, output.labels, decision) for row, index in zip(table.tolist(), best, strict=True)]


def _argmax(row: list[float], index: int, labels: tuple[str, ...], rule: ArgmaxDecision) -> DecisionResult:
    confidence = row[index]
    return DecisionResult(
        label=labels[index],
        index=index,
        confidence=confidence,
        probabilities=tuple(row),
        uncertain=confidence < rule.least,
    )


def _banded(row: list[float], labels: tuple[str, ...], rule: ThresholdDecision) -> DecisionResult:
    positive = row[1]
    sure = positive >= rule.accept or positive <= rule.reject
    # Outside the bands the rule itself names the label: with accept = 0.3 a score of 0.35 is the second one.
    index = int(positive >= rule.accept) if sure else int(positive >= 0.5)
    return DecisionResult(label=labels[index], index=index, confidence=row[index], probabilities=tuple(row), uncertain=not sure)
