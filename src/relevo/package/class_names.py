"""Display names of the classes: a person's labels compared with the names that the model itself has.

    the model's classes, labels in an order | a mapping class → name ─► labels in the order of the classes | InvalidLabelsError

Labels in another order than the classes would swap every answer, so nothing is guessed: a text class gets another name only by a
mapping; a class that is a number, true or false may be named by position.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from relevo.errors import InvalidLabelsError
from relevo.package.targets import label_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_SHOWN = 20
#: Words for the two classes of a yes-or-no question, in the order of 0 and 1.
_NEGATIVE = frozenset({"0", "-1", "no", "n", "false", "f", "negative", "falso", "negativo"})
_POSITIVE = frozenset({"1", "yes", "y", "true", "t", "positive", "sí", "si", "s", "verdadero", "positivo"})


def named(labels: Sequence[Any] | Mapping[Any, Any] | NDArray[Any] | None) -> dict[str, Any]:
    """What a person gave as labels, as the hints take it: names in an order, or a mapping from class to name."""
    if isinstance(labels, Mapping):
        return {"renamed": {label_text(name): str(label) for name, label in labels.items()}}
    return {"labels": () if labels is None else tuple(str(label) for label in labels)}


def display_names(classes: Sequence[str], labels: Sequence[str], renamed: Mapping[str, str]) -> tuple[str, ...]:
    """The labels in the order of the classes, one each; () where neither is known.

    classes: the model's own names; empty for a model that only counts its classes, whose labels then state the order.
    renamed: class → display name. Raises InvalidLabelsError.
    """
    if renamed:
        return _renamed(tuple(classes) or tuple(str(place) for place in range(len(renamed))), renamed)
    if not classes or not labels or len(labels) != len(classes):
        # Whoever knows the scores says how many labels are needed.
        return tuple(labels or classes)
    refuse_other_order(classes, labels)
    if not all(_is_counted(name) for name in classes) and not _same(classes, labels):
        raise InvalidLabelsError(
            reason=f"the model's classes are {_listed(classes)}, in this order, and the labels {_listed(labels)} are other "
            f"names. To show other names, give a name for each class: --rename-labels {_pairs(classes, labels)}, in Python and "
            "relevo.toml a mapping"
        )
    return tuple(labels)


def refuse_other_order(classes: Sequence[str], labels: Sequence[str]) -> None:
    """Refuse labels of which one is the name of another class. Raises InvalidLabelsError, showing both orders."""
    places = {_key(name): place for place, name in enumerate(classes)}
    moved = any(places.get(_key(label), place) != place for place, label in enumerate(labels))
    if moved or _is_reversed(classes, labels):
        raise InvalidLabelsError(
            reason=f"the model's classes are {_listed(classes)}, in this order, and the labels {_listed(labels)} name them "
            "in another: every answer would be swapped. Leave the labels out, or give them in the order of the classes"
        )


def _renamed(classes: tuple[str, ...], renamed: Mapping[str, str]) -> tuple[str, ...]:
    stranger = next((name for name in renamed if name not in classes), None)
    if stranger is not None:
        raise InvalidLabelsError(reason=f"the model has no class '{stranger[:40]}', only {_listed(classes)}")
    labels = tuple(renamed.get(name, name) for name in classes)
    # A class that is called as another was: the truth '1' would mean two things.
    places = {_key(name): place for place, name in enumerate(classes)}
    taken = next((label for place, label in enumerate(labels) if places.get(_key(label), place) != place), None)
    if taken is not None:
        raise InvalidLabelsError(reason=f"'{taken[:40]}' is the name of another class; the classes are {_listed(classes)}")
    return labels


def _is_reversed(classes: Sequence[str], labels: Sequence[str]) -> bool:
    """Whether a class of 0 or false is called yes, and that of 1 or true no."""
    if len(classes) != 2 or _key(classes[0]) not in _NEGATIVE or _key(classes[1]) not in _POSITIVE:
        return False
    return _key(labels[0]) in _POSITIVE and _key(labels[1]) in _NEGATIVE


def _is_counted(name: str) -> bool:
    """Whether a class is a number, true or false: a name that says little."""
    if name in ("True", "False"):
        return True
    try:
        float(name)
    except ValueError:
        return False
    return True


def _same(classes: Sequence[str], labels: Sequence[str]) -> bool:
    return all(_key(name) == _key(label) for name, label in zip(classes, labels, strict=True))


def _key(name: str) -> str:
    """A name for comparison: letter case, outer spaces and a trailing '.0' make no other class."""
    text = name.strip().casefold()
    try:
        return label_text(float(text))
    except (ValueError, OverflowError):
        return text


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{name[:40]}'" for name in names[:_SHOWN])
    return f"{shown}, …" if len(names) > _SHOWN else shown


def _pairs(classes: Sequence[str], labels: Sequence[str]) -> str:
    return ",".join(f"{name[:40]}={label[:40]}" for name, label in list(zip(classes, labels, strict=True))[:_SHOWN])
