"""Prints the results of a training: skipped images, metrics per class and confusion matrix on held-out data.

metrics.json ─► label · precision · recall · F1 · rows          confusion matrix: rows are predictions, columns are labels
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relevo.cli.translate import fixed, translate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from relevo.project.image_folder import Unreadable

#: With more classes, the table is only in metrics.json and the model card.
_MAX_CLASSES = 12
_MAX_FILES = 20


def skipped_images(files: Sequence[Unreadable]) -> Iterator[str]:
    """The lines for images that could not be read, with reasons."""
    if not files:
        return
    text = f"left out: {len(files)} files that cannot be read as a picture"
    yield translate(text if len(files) > 1 else "left out: 1 file that cannot be read as a picture")
    for file in files[:_MAX_FILES]:
        yield f"  {file.path}: {translate(file.reason)}"
    if len(files) > _MAX_FILES:
        yield "  " + translate(f"… and {len(files) - _MAX_FILES} more (--json lists all)")
    yield ""


def report(metrics: dict[str, Any]) -> Iterator[str]:
    """Precision, recall and F1 of each class, and the confusion matrix; nothing for regression or many classes."""
    classes = metrics.get("per_class", [])
    if not 0 < len(classes) <= _MAX_CLASSES:
        return
    names = [entry["label"] for entry in classes]
    title, corner, *columns = map(translate, ("on held-out data", "answer, truth:", "precision", "recall", "F1", "rows"))
    width = max(map(len, (title, corner, *names)))
    yield " ".join((f"{title:<{width}}", *(f"{entry:>10}" for entry in columns)))
    for entry in classes:
        scores = (fixed(entry[name], 3) for name in ("precision", "recall", "f1"))
        yield " ".join((f"{entry['label']:<{width}}", *(f"{score:>10}" for score in scores), f"{entry['rows']:>10}"))
    yield ""
    yield from _confusion(names, metrics["confusion"], width)
    yield ""


def _confusion(names: list[str], counts: list[list[int]], width: int) -> Iterator[str]:
    columns, corner = [max(8, len(name)) for name in names], translate("answer, truth:")
    yield " ".join((f"{corner:<{width}}", *(f"{name:>{column}}" for name, column in zip(names, columns, strict=True))))
    for name, row in zip(names, counts, strict=True):
        yield " ".join((f"{name:<{width}}", *(f"{count:>{column}}" for count, column in zip(row, columns, strict=True))))
