"""What a training found, for people: pictures that were left out, and how each class fared on held-out data.

metrics.json ─► label · precision · recall · F1 · rows          confusion: a row a prediction, a column a truth
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from relevo.project.pictures import Unreadable

#: More classes than this are for metrics.json and the card to show.
_MOST_CLASSES = 12
_MOST_FILES = 20


def left_out(files: Sequence[Unreadable]) -> Iterator[str]:
    """The pictures that could not be read, each with its reason."""
    if not files:
        return
    yield f"left out: {len(files)} file{'s' if len(files) > 1 else ''} that cannot be read as a picture"
    for one in files[:_MOST_FILES]:
        yield f"  {one.path}: {one.reason}"
    if len(files) > _MOST_FILES:
        yield f"  … and {len(files) - _MOST_FILES} more (--json lists all)"
    yield ""


def report(metrics: dict[str, Any]) -> Iterator[str]:
    """Precision, recall and F1 of each class, and the confusion matrix; nothing for a number or for many classes."""
    classes = metrics.get("per_class", [])
    if not 0 < len(classes) <= _MOST_CLASSES:
        return
    names = [one["label"] for one in classes]
    width = max(10, *(len(name) for name in names))
    yield f"{'on held-out data':<{width}} {'precision':>10} {'recall':>10} {'F1':>10} {'rows':>8}"
    for one in classes:
        yield f"{one['label']:<{width}} {one['precision']:>10.3f} {one['recall']:>10.3f} {one['f1']:>10.3f} {one['rows']:>8}"
    yield ""
    yield from _confusion(names, metrics["confusion"], width)
    yield ""


def _confusion(names: list[str], counts: list[list[int]], width: int) -> Iterator[str]:
    columns = [max(8, len(name)) for name in names]
    yield " ".join((f"{'answer, truth:':<{width}}", *(f"{name:>{column}}" for name, column in zip(names, columns, strict=True))))
    for name, row in zip(names, counts, strict=True):
        yield " ".join((f"{name:<{width}}", *(f"{count:>{column}}" for count, column in zip(row, columns, strict=True))))
