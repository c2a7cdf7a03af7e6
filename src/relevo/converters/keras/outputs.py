"""A Keras model's outputs by their names, and what its loss says of the scores.

    model ─ outputs: one, a list, a dict ─► Head(name, columns, loss, two)      the one that was chosen by its name
    what the model answered ─ a tensor, a list, a dict ─► the tensor of that name

A dict is read by its keys and never by place: Keras counts its outputs in another order than it answers them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from relevo.errors import ConversionError, InvalidOptionsError

if TYPE_CHECKING:
    from relevo.converters.score_types import Loss

_NUMBERS = frozenset(
    {
        *("mse", "mae", "mape", "msle", "huber", "huberloss", "logcosh", "log_cosh", "poisson", "tweedie", "quantile"),
        *("meansquarederror", "meanabsoluteerror", "meanabsolutepercentageerror", "meansquaredlogarithmicerror"),
        *("cosinesimilarity", "cosineproximity"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """One output of a model; lives as long as one conversion."""

    name: str  # empty where the model tells none
    names: tuple[str, ...] = ()  # of all, as far as the model tells
    columns: int | None = None  # of its scores, where the model tells
    loss: Loss = ""
    two: bool = False  # whether one column is known to stand for two classes


def head_of(model: Any, wanted: str, *, loss: Any = None) -> Head:
    """The output of that name, or the only one. loss: as the file tells it, where the model does not.

    Raises InvalidOptionsError when several wait for a choice or none has the name, ConversionError for outputs within outputs.
    """
    tensors = _tensors(model)
    if tensors and (len(tensors) > 1 or wanted) and wanted not in tensors:
        raise InvalidOptionsError(options=f"--output, one of {', '.join(tensors)}")
    name = wanted if tensors and wanted else next(iter(tensors), "")
    place = list(tensors).index(name) if tensors else 0
    told = getattr(model, "loss", None)
    kind = loss_kind(told if told is not None else loss, name, place)
    columns = _columns(tensors[name]) if tensors else None
    sigmoid = len(tensors) <= 1 and "sigmoid" in _last_activation(model)
    two = columns in (1, None) and (sigmoid or kind in ("logits", "probabilities"))
    return Head(name=name or wanted, names=tuple(tensors), columns=columns, loss=kind, two=two)


def _tensors(model: Any) -> dict[str, Any]:
    """The outputs by name; none where the model was not built by its layers."""
    structure = getattr(model, "_outputs_struct", None)
    if isinstance(structure, Mapping):
        if any(isinstance(one, Mapping | list | tuple) for one in structure.values()):
            raise ConversionError(reason="its outputs lie within outputs; make a model of the one that has the scores")
        return {str(name): one for name, one in structure.items()}
    outputs = list(getattr(model, "outputs", None) or ())
    names = [str(name) for name in getattr(model, "output_names", None) or ()]
    return dict(zip(_distinct(names, len(outputs)), outputs, strict=True))


def _distinct(names: list[str] | tuple[str, ...], count: int) -> list[str]:
    """The names, or numbers in their place where they name nothing."""
    return list(names) if len(set(names)) == count else [f"output_{place}" for place in range(count)]


def _columns(tensor: Any) -> int | None:
    axes = tuple(tensor.shape)[1:]
    return None if any(axis is None for axis in axes) else int(np.prod(axes, dtype=int))


def picked(found: Any, head: Head) -> Any:
    """The chosen one of what the model answered. Raises InvalidOptionsError when that leaves a choice, ConversionError."""
    if isinstance(found, Mapping):
        answers = {str(name): one for name, one in found.items()}
    elif isinstance(found, list | tuple):
        answers = dict(zip(_distinct(head.names, len(found)), found, strict=True))
    else:
        return found
    if head.name in answers or len(answers) == 1:
        one = answers[head.name] if head.name in answers else next(iter(answers.values()))
        if isinstance(one, Mapping | list | tuple):
            raise ConversionError(reason="its outputs lie within outputs; make a model of the one that has the scores")
        return one
    raise InvalidOptionsError(options=f"--output, one of {', '.join(answers)}")


def loss_kind(loss: Any, name: str = "", place: int = 0) -> Loss:
    """What a loss was made for. name, place: of the output, where each has its own."""
    if isinstance(loss, Mapping) and "class_name" not in loss:
        return loss_kind(loss.get(name))
    if isinstance(loss, list | tuple):
        return loss_kind(loss[place]) if place < len(loss) else ""
    config = loss.get("config") if isinstance(loss, Mapping) else {}
    config = config if isinstance(config, Mapping) else {}
    called = loss.get("class_name") if isinstance(loss, Mapping) else loss
    if called == "function":
        called = loss.get("config")
    if not isinstance(called, str):
        called = getattr(called, "__name__", None) or type(called).__name__
    plain = called.lower().replace("_", "")
    if getattr(loss, "from_logits", False) is True or config.get("from_logits") is True:
        return "logits"
    if "crossentropy" in plain:
        return "probabilities"
    return "numbers" if plain in _NUMBERS or called.lower() in _NUMBERS else ""


def _last_activation(layer: Any) -> str:
    """The name of the last activation, through nested models, as far as layers tell; the graph tells the rest later."""
    inside = (getattr(layer, "layers", None) or [None])[-1]
    if inside is not None:
        return _last_activation(inside)
    return str(getattr(getattr(layer, "activation", None), "__name__", ""))
