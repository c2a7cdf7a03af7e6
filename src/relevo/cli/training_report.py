"""What a training found, for people: pictures that were left out, and how each class fared on held-out data.

metrics.json ─► label · precision · recall · F1 · rows          confusion: a row a prediction, a column a truth
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relevo.cli.translate import fixed, translate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from relevo.project.image_folder import Unreadable

#: More classes than this are for metrics.json and the card to show.
_MOST_CLASSES = 12
_MOST_FILES = 20


def skipped_images(files: Sequence[Unreadable]) -> Iterator[str]:
    """The pictures that could not be read, each with its reason."""
    if not files:
        return
    many = f"left out: {len(files)} files that cannot be read as a picture"
    yield translate(many if len(files) > 1 else "left out: 1 file that cannot be read as a picture")
    for one in files[:_MOST_FILES]:
        yield f"  {one.path}: {translate(one.reason)}"
    if len(files) > _MOST_FILES:
        yield "  " + translate(f"… and {len(files) - _MOST_FILES} more (--json lists all)")
    yield ""


def report(metrics: dict[str, Any]) -> Iterator[str]:
    """Precision, recall and F1 of each class, and the confusion matrix; nothing for a number or for many classes."""
    classes = metrics.get("per_class", [])
    if not 0 < len(classes) <= _MOST_CLASSES:
        return
    names = [one["label"] for one in classes]
    head, answer, *columns = map(translate, ("on held-out data", "answer, truth:", "precision", "recall", "F1", "rows"))
    width = max(map(len, (head, answer, *names)))
    yield " ".join((f"{head:<{width}}", *(f"{one:>10}" for one in columns)))
    for one in classes:
        shares = (fixed(one[name], 3) for name in ("precision", "recall", "f1"))
        yield " ".join((f"{one['label']:<{width}}", *(f"{share:>10}" for share in shares), f"{one['rows']:>10}"))
    yield ""
    yield from _confusion(names, metrics["confusion"], width)
    yield ""


def _confusion(names: list[str], counts: list[list[int]], width: int) -> Iterator[str]:
    columns, corner = [max(8, len(name)) for name in names], translate("answer, truth:")
    yield " ".join((f"{corner:<{width}}", *(f"{name:>{column}}" for name, column in zip(names, columns, strict=True))))
    for name, row in zip(names, counts, strict=True):
        yield " ".join((f"{name:<{width}}", *(f"{count:>{column}}" for count, column in zip(row, columns, strict=True))))
