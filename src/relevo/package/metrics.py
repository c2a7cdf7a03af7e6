"""How good the model was on rows it had not seen: metrics.json.

    served scores, truth ─► accuracy with its interval · precision, recall, F1 · log-loss · AUC · confusion · calibration
                         ─► MAE · RMSE · R²

Measured on what the package answers, by its own decision rule, and not on what the original said.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from relevo.domain.decision import decide, probabilities_of
from relevo.domain.signature import Task
from relevo.stats.calibration import log_loss, reliability, temperature
from relevo.stats.intervals import wilson

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from relevo.domain.manifest import Manifest

_DIGITS = 6
#: Below this many rows a figure says little, and metrics.json says so.
ENOUGH = 1000
#: Of more rows, only which they were is kept, and not how each was answered.
MOST_OUTCOMES = 100_000
#: English, as all of metrics.json, which is for programs; a card says it in its own language.
FEW_ROWS = "measured on {rows} rows; from {enough} on the figures are steady"


def measure(manifest: Manifest, scores: NDArray[np.float64], truth: NDArray[Any]) -> dict[str, Any]:
    """Every figure as plain JSON. scores: (n, columns) as served; truth: positions or numbers, (n,)."""
    found = (
        _regression(scores[:, 0], truth) if manifest.output.task is Task.REGRESSION else _classification(manifest, scores, truth)
    )
    found["warnings"] = [FEW_ROWS.format(rows=len(truth), enough=ENOUGH)] if len(truth) < ENOUGH else []
    return {"task": manifest.output.task.value, "rows": len(truth), **found}


def held_out(manifest: Manifest, scores: NDArray[np.float64], truth: NDArray[Any], digest: str) -> dict[str, Any]:
    """Which rows these were, and how each was answered, so that two versions measured on the same rows can be compared by row.

    digest: of the rows, in their order.
    """
    told = {"digest": hashlib.sha256(digest.encode() + np.ascontiguousarray(truth).tobytes()).hexdigest()}
    if len(truth) <= MOST_OUTCOMES:
        if manifest.output.task is Task.REGRESSION:
            told["errors"] = base64.b64encode((scores[:, 0] - truth).astype("<f4").tobytes()).decode()
        else:
            given = decide(scores, manifest.output, manifest.decision)
            right = np.array([answer.index for answer in given]) == truth
            told["right"] = base64.b64encode(np.packbits(right).tobytes()).decode()
    return {"held_out": told}


def _regression(values: NDArray[np.float64], truth: NDArray[np.float64]) -> dict[str, Any]:
    errors = values - truth
    spread = float(((truth - truth.mean()) ** 2).sum())
    return {
        "mae": _short(np.abs(errors).mean()),
        "rmse": _short(np.sqrt((errors**2).mean())),
        "r2": _short(1 - (errors**2).sum() / spread) if spread else None,
    }


def _classification(manifest: Manifest, scores: NDArray[np.float64], truth: NDArray[np.intp]) -> dict[str, Any]:
    labels = manifest.output.labels
    table = probabilities_of(scores, manifest.output)
    given = decide(scores, manifest.output, manifest.decision)
    predicted = np.array([answer.index for answer in given])
    sure = np.array([not answer.uncertain for answer in given])
    right = predicted == truth
    counts = confusion(predicted, truth, len(labels))
    per_class = _per_class(counts, labels)
    found: dict[str, Any] = {
        "accuracy": _proportion(right),
        "macro_f1": _short(np.mean([entry["f1"] for entry in per_class if entry["rows"]])),
        "log_loss": _short(log_loss(table, truth)),
        "per_class": per_class,
        "confusion": counts.tolist(),
        "calibration": _calibration(table, truth),
    }
    if not sure.all():
        found["uncertain_share"] = _short(1 - sure.mean())
        found["accuracy_when_sure"] = _proportion(right[sure])
    if len(labels) == 2 and len(np.unique(truth)) == 2:
        found["roc_auc"] = _short(roc_auc(table[:, 1], truth == 1))
    return found


def _proportion(hits: NDArray[np.bool_]) -> dict[str, Any]:
    low, high = wilson(int(hits.sum()), len(hits))
    return {"value": _short(hits.mean()) if len(hits) else None, "low": _short(low), "high": _short(high), "rows": len(hits)}


def confusion(predicted: NDArray[np.intp], truth: NDArray[np.intp], labels: int) -> NDArray[np.int64]:
    """Counts (prediction, truth), both as positions among the labels."""
    return np.bincount(predicted * labels + truth, minlength=labels * labels).reshape(labels, labels).astype(np.int64)


def _per_class(counts: NDArray[np.int64], labels: tuple[str, ...]) -> list[dict[str, Any]]:
    hits, predicted, actual = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    return [
        {
            "label": label,
            "rows": int(actual[place]),
            "precision": _ratio(hits[place], predicted[place]),
            "recall": _ratio(hits[place], actual[place]),
            "f1": _ratio(2 * hits[place], predicted[place] + actual[place]),
        }
        for place, label in enumerate(labels)
    ]


def _calibration(table: NDArray[np.float64], truth: NDArray[np.intp]) -> dict[str, Any]:
    bins = reliability(table.max(axis=1), table.argmax(axis=1) == truth)
    return {
        "temperature": _short(temperature(table, truth)),
        "expected_error": _short(bins.expected_error),
        "count": bins.count.tolist(),
        "confidence": [_short_or_none(value) for value in bins.confidence],
        "accuracy": [_short_or_none(value) for value in bins.accuracy],
    }


def roc_auc(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """Probability that a positive row scores above a negative one, ties counting half; both kinds must be there."""
    unique, inverse = np.unique(scores, return_inverse=True)
    of_positive = np.bincount(inverse[positive], minlength=len(unique))
    of_negative = np.bincount(inverse[~positive], minlength=len(unique))
    below = np.concatenate([[0], np.cumsum(of_negative)[:-1]])
    wins = (of_positive * (below + of_negative / 2)).sum()
    return float(wins / (positive.sum() * (~positive).sum()))


def _ratio(part: float, whole: float) -> float:
    return _short(part / whole) if whole else 0.0


def _short_or_none(value: float) -> float | None:
    return None if np.isnan(value) else _short(value)


def _short(value: Any) -> float:
    return round(float(value), _DIGITS)
