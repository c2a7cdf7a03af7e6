"""Pictures for the model card: confusion matrix, calibration, ROC, in `figures/`.

    metrics.json, scores, truth ─ matplotlib (Agg, no window, no dates) ─► PNG bytes

matplotlib is an extra, loaded when the first figure is drawn.
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
#: More labels than this leave no room for a number in each cell.
_CELLS_WITH_NUMBERS = 15
_MOST_LABELS = 60


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
    # A dollar sign would begin a formula.
    labels = tuple(label.replace("$", r"\$") for label in manifest.output.labels)
    figures = {"figures/calibration.png": _calibration(metrics["calibration"], words)}
    if len(labels) <= _MOST_LABELS:
        figures["figures/confusion.png"] = _confusion(np.array(metrics["confusion"]), labels, words)
    if "roc_auc" in metrics:
        likely = probabilities_of(scores, manifest.output)[:, 1]
        figures["figures/roc.png"] = _roc(likely, truth == 1, metrics["roc_auc"], words)
    return figures


def new_figure(size: tuple[float, float]) -> Any:
    """An empty sheet of so many inches, drawn without a window. Raises MissingDependencyError without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as cause:
        raise MissingDependencyError(extra="sklearn") from cause
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _axes(size: tuple[float, float], words: CardWords) -> tuple[Any, Any]:
    """A sheet with one plot on it, whose numbers are written as the language does."""
    figure = new_figure(size)
    axes = figure.add_subplot()
    axes.xaxis.set_major_formatter(words.tick())
    axes.yaxis.set_major_formatter(words.tick())
    return figure, axes


def png_bytes(figure: Any) -> bytes:
    """The sheet as a PNG without dates."""
    out = io.BytesIO()
    with warnings.catch_warnings():
        # A label in a script the font lacks is drawn as boxes, and that is no reason to stop.
        warnings.simplefilter("ignore")
        # The software's name and version would be the only thing in the file that is not the picture.
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
    if len(labels) <= _CELLS_WITH_NUMBERS:
        for (row, column), count in np.ndenumerate(counts):
            if count:
                colour = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, words.whole(int(count)), ha="center", va="center", fontsize=8, color=colour)
    return png_bytes(figure)


_CALIBRATED = ("confidence", "accuracy", "count")


def _calibration(table: dict[str, Any], words: CardWords) -> bytes:
    figure, axes = _axes((4.6, 4.2), words)
    filled = [(c, a, n) for c, a, n in zip(*(table[k] for k in _CALIBRATED), strict=True) if n]
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=1, linestyle="--")
    sizes = [12 + 160 * n / sum(table["count"]) for _, _, n in filled]
    # No line through a bin that no answer was in.
    joined = [(c, a) if n else (np.nan, np.nan) for c, a, n in zip(*(table[k] for k in _CALIBRATED), strict=True)]
    axes.plot(*zip(*joined, strict=True), color=_BLUE, linewidth=1)
    axes.scatter([c for c, _, _ in filled], [a for _, a, _ in filled], s=sizes, color=_BLUE)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel=words("confidence"), ylabel=words("share right"))
    axes.set_title(words("Calibration: expected error {error}", error=words.fixed(table["expected_error"], 3)), fontsize=9)
    return png_bytes(figure)


def _roc(scores: NDArray[np.float64], positive: NDArray[np.bool_], area: float, words: CardWords) -> bytes:
    figure, axes = _axes((4.6, 4.2), words)
    order = np.argsort(-scores, kind="stable")
    hits, falls = np.cumsum(positive[order]), np.cumsum(~positive[order])
    # Equal scores are one step: only the last row of each tie is a point.
    last = np.append(np.diff(scores[order]) != 0, True)
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=1, linestyle="--")
    axes.plot([0, *(falls[last] / falls[-1])], [0, *(hits[last] / hits[-1])], color=_BLUE)
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
