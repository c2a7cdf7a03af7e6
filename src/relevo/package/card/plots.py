"""Draws the figures of the model card: confusion matrix, calibration, ROC, residuals, in `figures/`.

    metrics.json, scores, truth ─ matplotlib (Agg, no window, no dates) ─► PNG bytes

matplotlib is an optional dependency, imported when the first figure is drawn.
"""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from relevo.domain.decision import probabilities_of
from relevo.domain.signature import Task
from relevo.errors import MissingDependencyError
from relevo.package.card.texts import CardWords

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from relevo.domain.manifest import Manifest

_BLUE, _GREY = "#2563a8", "#8a8f98"
#: Above this many labels the cells have no numbers.
_MAX_LABELS_WITH_COUNTS = 15
#: Above this many labels there is no confusion matrix.
_MAX_LABELS = 60


def draw_figures(
    manifest: Manifest,
    metrics: dict[str, Any],
    scores: NDArray[np.float64],
    truth: NDArray[Any],
    words: CardWords = CardWords(),  # noqa: B008 - a frozen value
) -> dict[str, bytes]:
    """PNG files by their path in the package. Raises MissingDependencyError without matplotlib."""
    if manifest.output.task is Task.REGRESSION:
        return {"figures/residuals.png": _residuals(scores[:, 0], truth, words)}
    # matplotlib would parse a dollar sign as the start of a formula.
    labels = tuple(label.replace("$", r"\$") for label in manifest.output.labels)
    figures = {"figures/calibration.png": _calibration(metrics["calibration"], words)}
    if len(labels) <= _MAX_LABELS:
        figures["figures/confusion.png"] = _confusion(np.array(metrics["confusion"]), labels, words)
    if "roc_auc" in metrics:
        positive_scores = probabilities_of(scores, manifest.output)[:, 1]
        figures["figures/roc.png"] = _roc(positive_scores, truth == 1, metrics["roc_auc"], words)
    return figures


def new_figure(size: tuple[float, float]) -> Any:
    """An empty figure, size in inches, without a window. Raises MissingDependencyError without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as cause:
        raise MissingDependencyError(extra="sklearn") from cause
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _axes(size: tuple[float, float], words: CardWords) -> tuple[Any, Any]:
    """A figure with one plot, with tick labels in the format of the language."""
    figure = new_figure(size)
    axes = figure.add_subplot()
    axes.xaxis.set_major_formatter(words.tick_label())
    axes.yaxis.set_major_formatter(words.tick_label())
    return figure, axes


def png_bytes(figure: Any) -> bytes:
    """The figure as a PNG without dates."""
    out = io.BytesIO()
    with warnings.catch_warnings():
        # matplotlib warns about characters that the font lacks, and draws boxes.
        warnings.simplefilter("ignore")
        # Without the name and version of the software the file is reproducible.
        figure.savefig(out, format="png", dpi=110, metadata={"Software": None})
    return out.getvalue()


def _confusion(counts: NDArray[np.int64], labels: tuple[str, ...], words: CardWords) -> bytes:
    side = max(4.0, min(14.0, 1.6 + 0.42 * len(labels)))
    figure, axes = _axes((side + 0.6, side), words)
    shares = counts / np.maximum(1, counts.sum(axis=0, keepdims=True))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(labels)), labels, rotation=90 if max(map(len, labels)) > 3 else 0)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel(words("truth"))
    axes.set_ylabel(words("prediction"))
    axes.set_title(words("Confusion: rows counted, share of the truth shaded"), fontsize=9)
    if len(labels) <= _MAX_LABELS_WITH_COUNTS:
        for (row, column), count in np.ndenumerate(counts):
            if count:
                colour = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, words.whole(int(count)), ha="center", va="center", fontsize=8, color=colour)
    return png_bytes(figure)


_BIN_COLUMNS = ("confidence", "accuracy", "count")


def _calibration(table: dict[str, Any], words: CardWords) -> bytes:
    figure, axes = _axes((4.6, 4.2), words)
    filled = [(c, a, n) for c, a, n in zip(*(table[k] for k in _BIN_COLUMNS), strict=True) if n]
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=1, linestyle="--")
    sizes = [12 + 160 * n / sum(table["count"]) for _, _, n in filled]
    # The line has a gap at empty bins.
    points = [(c, a) if n else (np.nan, np.nan) for c, a, n in zip(*(table[k] for k in _BIN_COLUMNS), strict=True)]
    axes.plot(*zip(*points, strict=True), color=_BLUE, linewidth=1)
    axes.scatter([c for c, _, _ in filled], [a for _, a, _ in filled], s=sizes, color=_BLUE)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel=words("confidence"), ylabel=words("share right"))
    axes.set_title(words("Calibration: expected error {error}", error=words.fixed(table["expected_error"], 3)), fontsize=9)
    return png_bytes(figure)


def _roc(scores: NDArray[np.float64], positive: NDArray[np.bool_], area: float, words: CardWords) -> bytes:
    figure, axes = _axes((4.6, 4.2), words)
    order = np.argsort(-scores, kind="stable")
    true_positives, false_positives = np.cumsum(positive[order]), np.cumsum(~positive[order])
    # Equal scores are one step of the curve: only the last row of each tie is a point.
    last = np.append(np.diff(scores[order]) != 0, True)
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=1, linestyle="--")
    axes.plot([0, *(false_positives[last] / false_positives[-1])], [0, *(true_positives[last] / true_positives[-1])], color=_BLUE)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel=words("false positive rate"), ylabel=words("true positive rate"))
    axes.set_title(words("ROC: area {area}", area=words.fixed(area, 3)), fontsize=9)
    return png_bytes(figure)


def _residuals(values: NDArray[np.float64], truth: NDArray[np.float64], words: CardWords) -> bytes:
    figure, axes = _axes((4.6, 4.2), words)
    axes.axhline(0, color=_GREY, linewidth=1, linestyle="--")
    axes.scatter(values, truth - values, s=8, color=_BLUE, alpha=0.6)
    axes.set(xlabel=words("prediction"), ylabel=words("truth − prediction"))
    axes.set_title(words("Residuals on held-out rows"), fontsize=9)
    return png_bytes(figure)
