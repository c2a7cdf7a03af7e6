"""Metrics on held-out rows, for metrics.json.

    served scores, truth ─► accuracy with its interval · precision, recall, F1 · log-loss · AUC · confusion · calibration
                         ─► MAE · RMSE · R²

Measured on the predictions of the package, by its own decision rule; not on those of the original.
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
#: Below this many rows the metrics are unreliable, and metrics.json has a warning.
RELIABLE_ROWS = 1000
#: Above this many rows, outcomes by row are not stored; only the digest of the rows is.
MAX_OUTCOMES = 100_000
#: In English, as all of metrics.json, which is for programs; the card translates it.
FEW_ROWS = "measured on {rows} rows; from {enough} on the figures are steady"


def measure(manifest: Manifest, scores: NDArray[np.float64], truth: NDArray[Any]) -> dict[str, Any]:
    """Every metric as plain JSON. scores: (n, columns) as served; truth: label indices or numbers, (n,)."""
    result = (
        _regression(scores[:, 0], truth) if manifest.output.task is Task.REGRESSION else _classification(manifest, scores, truth)
    )
    result["warnings"] = [FEW_ROWS.format(rows=len(truth), enough=RELIABLE_ROWS)] if len(truth) < RELIABLE_ROWS else []
    return {"task": manifest.output.task.value, "rows": len(truth), **result}


def held_out(manifest: Manifest, scores: NDArray[np.float64], truth: NDArray[Any], digest: str) -> dict[str, Any]:
    """Digest of the rows and outcome of each, so that two versions measured on the same rows can be compared by row.

    digest: of the samples, in their order.
    """
    outcomes = {"digest": hashlib.sha256(digest.encode() + np.ascontiguousarray(truth).tobytes()).hexdigest()}
    if len(truth) <= MAX_OUTCOMES:
        if manifest.output.task is Task.REGRESSION:
            outcomes["errors"] = base64.b64encode((scores[:, 0] - truth).astype("<f4").tobytes()).decode()
        else:
            results = decide(scores, manifest.output, manifest.decision)
            right = np.array([answer.index for answer in results]) == truth
            outcomes["right"] = base64.b64encode(np.packbits(right).tobytes()).decode()
    return {"held_out": outcomes}


def _regression(values: NDArray[np.float64], truth: NDArray[np.float64]) -> dict[str, Any]:
    errors = values - truth
    spread = float(((truth - truth.mean()) ** 2).sum())
    return {
        "mae": _rounded(np.abs(errors).mean()),
        "rmse": _rounded(np.sqrt((errors**2).mean())),
        "r2": _rounded(1 - (errors**2).sum() / spread) if spread else None,
    }


def _classification(manifest: Manifest, scores: NDArray[np.float64], truth: NDArray[np.intp]) -> dict[str, Any]:
    labels = manifest.output.labels
    table = probabilities_of(scores, manifest.output)
    results = decide(scores, manifest.output, manifest.decision)
    predicted = np.array([answer.index for answer in results])
    certain = np.array([not answer.uncertain for answer in results])
    right = predicted == truth
    counts = confusion(predicted, truth, len(labels))
    per_class = _per_class(counts, labels)
    result: dict[str, Any] = {
        "accuracy": _with_interval(right),
        "macro_f1": _rounded(np.mean([entry["f1"] for entry in per_class if entry["rows"]])),
        "log_loss": _rounded(log_loss(table, truth)),
        "per_class": per_class,
        "confusion": counts.tolist(),
        "calibration": _calibration(table, truth),
    }
    if not certain.all():
        result["uncertain_share"] = _rounded(1 - certain.mean())
        result["accuracy_when_sure"] = _with_interval(right[certain])
    if len(labels) == 2 and len(np.unique(truth)) == 2:
        result["roc_auc"] = _rounded(roc_auc(table[:, 1], truth == 1))
    return result


def _with_interval(hits: NDArray[np.bool_]) -> dict[str, Any]:
    low, high = wilson(int(hits.sum()), len(hits))
    return {"value": _rounded(hits.mean()) if len(hits) else None, "low": _rounded(low), "high": _rounded(high), "rows": len(hits)}


def confusion(predicted: NDArray[np.intp], truth: NDArray[np.intp], labels: int) -> NDArray[np.int64]:
    """Counts (prediction, truth), both as label indices."""
    return np.bincount(predicted * labels + truth, minlength=labels * labels).reshape(labels, labels).astype(np.int64)


def _per_class(counts: NDArray[np.int64], labels: tuple[str, ...]) -> list[dict[str, Any]]:
    hits, predicted, actual = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    return [
        {
            "label": label,
            "rows": int(actual[index]),
            "precision": _ratio(hits[index], predicted[index]),
            "recall": _ratio(hits[index], actual[index]),
            "f1": _ratio(2 * hits[index], predicted[index] + actual[index]),
        }
        for index, label in enumerate(labels)
    ]


def _calibration(table: NDArray[np.float64], truth: NDArray[np.intp]) -> dict[str, Any]:
    bins = reliability(table.max(axis=1), table.argmax(axis=1) == truth)
    return {
        "temperature": _rounded(temperature(table, truth)),
        "expected_error": _rounded(bins.expected_error),
        "count": bins.count.tolist(),
        "confidence": [_rounded_or_none(value) for value in bins.confidence],
        "accuracy": [_rounded_or_none(value) for value in bins.accuracy],
    }


def roc_auc(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """Probability that a positive row scores above a negative one; a tie counts half. Needs both kinds of rows."""
    unique, inverse = np.unique(scores, return_inverse=True)
    of_positive = np.bincount(inverse[positive], minlength=len(unique))
    of_negative = np.bincount(inverse[~positive], minlength=len(unique))
    below = np.concatenate([[0], np.cumsum(of_negative)[:-1]])
    wins = (of_positive * (below + of_negative / 2)).sum()
    return float(wins / (positive.sum() * (~positive).sum()))


def _ratio(part: float, whole: float) -> float:
    return _rounded(part / whole) if whole else 0.0


def _rounded_or_none(value: float) -> float | None:
    return None if np.isnan(value) else _rounded(value)


def _rounded(value: Any) -> float:
    return round(float(value), _DIGITS)
