"""Display names of the classes: checks the user's labels against the model's own class names.

    the model's classes, labels in an order | a mapping class → name ─► labels in the order of the classes | InvalidLabelsError

Labels in another order than the classes would swap every answer, so nothing is guessed. A text class is renamed only by a mapping;
a class that is a number, true or false may be named by position.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from relevo.errors import InvalidLabelsError
from relevo.package.targets import label_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_MAX_SHOWN = 20
#: Names of the two classes of a binary question, in the order of 0 and 1.
_NEGATIVE = frozenset({"0", "-1", "no", "n", "false", "f", "negative", "falso", "negativo"})
_POSITIVE = frozenset({"1", "yes", "y", "true", "t", "positive", "sí", "si", "s", "verdadero", "positivo"})


def named(labels: Sequence[Any] | Mapping[Any, Any] | NDArray[Any] | None) -> dict[str, Any]:
    """The user's labels as fields of ConversionOptions: names in order, or a mapping from class to name."""
    if isinstance(labels, Mapping):
        return {"renamed": {label_text(name): str(label) for name, label in labels.items()}}
    return {"labels": () if labels is None else tuple(str(label) for label in labels)}


def display_names(classes: Sequence[str], labels: Sequence[str], renamed: Mapping[str, str]) -> tuple[str, ...]:
    """One label per class, in the order of the classes; () where neither is known.

    classes: the model's own names; empty for a model that only numbers its classes: then the labels define the order.
    renamed: class → display name. Raises InvalidLabelsError.
    """
    if renamed:
        return _apply_mapping(tuple(classes) or tuple(str(index) for index in range(len(renamed))), renamed)
    if not classes or not labels or len(labels) != len(classes):
        # The number of labels is checked later, against the scores.
        return tuple(labels or classes)
    refuse_other_order(classes, labels)
    if not all(_is_numeric(name) for name in classes) and not _same_names(classes, labels):
        raise InvalidLabelsError(
            reason=f"the model's classes are {_quoted_list(classes)}, in this order, and the labels {_quoted_list(labels)} are other "
            f"names. To show other names, give a name for each class: --rename-labels {_pairs(classes, labels)}, in Python and "
            "relevo.toml a mapping"
        )
    return tuple(labels)


def refuse_other_order(classes: Sequence[str], labels: Sequence[str]) -> None:
    """Raises InvalidLabelsError, showing both orders, if a label is the name of another class."""
    index_of = {_key(name): index for index, name in enumerate(classes)}
    moved = any(index_of.get(_key(label), index) != index for index, label in enumerate(labels))
    if moved or _is_reversed(classes, labels):
        raise InvalidLabelsError(
            reason=f"the model's classes are {_quoted_list(classes)}, in this order, and the labels {_quoted_list(labels)} name them "
            "in another: every answer would be swapped. Leave the labels out, or give them in the order of the classes"
        )


def _apply_mapping(classes: tuple[str, ...], renamed: Mapping[str, str]) -> tuple[str, ...]:
    unknown = next((name for name in renamed if name not in classes), None)
    if unknown is not None:
        raise InvalidLabelsError(reason=f"the model has no class '{unknown[:40]}', only {_quoted_list(classes)}")
    labels = tuple(renamed.get(name, name) for name in classes)
    # If a class took the name of another class, the truth '1' would be ambiguous.
    index_of = {_key(name): index for index, name in enumerate(classes)}
    conflict = next((label for index, label in enumerate(labels) if index_of.get(_key(label), index) != index), None)
    if conflict is not None:
        raise InvalidLabelsError(reason=f"'{conflict[:40]}' is the name of another class; the classes are {_quoted_list(classes)}")
    return labels


def _is_reversed(classes: Sequence[str], labels: Sequence[str]) -> bool:
    """Whether class 0 or false has a positive label, and class 1 or true a negative one."""
    if len(classes) != 2 or _key(classes[0]) not in _NEGATIVE or _key(classes[1]) not in _POSITIVE:
        return False
    return _key(labels[0]) in _POSITIVE and _key(labels[1]) in _NEGATIVE


def _is_numeric(name: str) -> bool:
    """Whether the class name is a number, true or false."""
    if name in ("True", "False"):
        return True
    try:
        float(name)
    except ValueError:
        return False
    return True


def _same_names(classes: Sequence[str], labels: Sequence[str]) -> bool:
    return all(_key(name) == _key(label) for name, label in zip(classes, labels, strict=True))


def _key(name: str) -> str:
    """Normalized name for comparison: ignores letter case, outer spaces and a trailing '.0'."""
    text = name.strip().casefold()
    try:
        return label_text(float(text))
    except (ValueError, OverflowError):
        return text


def _quoted_list(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{name[:40]}'" for name in names[:_MAX_SHOWN])
    return f"{shown}, …" if len(names) > _MAX_SHOWN else shown


def _pairs(classes: Sequence[str], labels: Sequence[str]) -> str:
    return ",".join(f"{name[:40]}={label[:40]}" for name, label in list(zip(classes, labels, strict=True))[:_MAX_SHOWN])
