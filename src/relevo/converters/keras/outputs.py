"""Selects a Keras model's output by name, and reads from its loss what kind of scores it has.

    model ─ outputs: one, a list, a dict ─► KerasOutput(name, columns, loss, two)      the one selected by name
    prediction ─ a tensor, a list, a dict ─► the tensor of that name

A dict is read by its keys and never by position: Keras lists its outputs in another order than it returns them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from relevo.errors import ConversionError, InvalidOptionsError

if TYPE_CHECKING:
    from relevo.converters.score_types import Loss

_REGRESSION_LOSSES = frozenset(
    {
        *("mse", "mae", "mape", "msle", "huber", "huberloss", "logcosh", "log_cosh", "poisson", "tweedie", "quantile"),
        *("meansquarederror", "meanabsoluteerror", "meanabsolutepercentageerror", "meansquaredlogarithmicerror"),
        *("cosinesimilarity", "cosineproximity"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KerasOutput:
    """One output of a model. Lifetime: one conversion."""

    name: str  # empty when the model has none
    names: tuple[str, ...] = ()  # of all outputs, if known
    columns: int | None = None  # number of its scores, if known
    loss: Loss = ""
    two: bool = False  # whether one column is known to represent two classes


def select_output(model: Any, requested: str, *, loss: Any = None) -> KerasOutput:
    """Returns the output of that name, or the only one. loss: from the file, for models without it.

    Raises InvalidOptionsError when one of several must be chosen or none has the name, ConversionError for nested outputs.
    """
    tensors = _tensors(model)
    if tensors and (len(tensors) > 1 or requested) and requested not in tensors:
        raise InvalidOptionsError(options=f"--output, one of {', '.join(tensors)}")
    name = requested if tensors and requested else next(iter(tensors), "")
    index = list(tensors).index(name) if tensors else 0
    model_loss = getattr(model, "loss", None)
    kind = loss_kind(model_loss if model_loss is not None else loss, name, index)
    columns = _columns(tensors[name]) if tensors else None
    sigmoid = len(tensors) <= 1 and "sigmoid" in _last_activation(model)
    two = columns in (1, None) and (sigmoid or kind in ("logits", "probabilities"))
    return KerasOutput(name=name or requested, names=tuple(tensors), columns=columns, loss=kind, two=two)


def _tensors(model: Any) -> dict[str, Any]:
    """Returns the outputs by name; none when the model was not built by its layers."""
    structure = getattr(model, "_outputs_struct", None)
    if isinstance(structure, Mapping):
        if any(isinstance(tensor, Mapping | list | tuple) for tensor in structure.values()):
            raise ConversionError(reason="its outputs lie within outputs; make a model of the one that has the scores")
        return {str(name): tensor for name, tensor in structure.items()}
    outputs = list(getattr(model, "outputs", None) or ())
    names = [str(name) for name in getattr(model, "output_names", None) or ()]
    return dict(zip(_unique_names(names, len(outputs)), outputs, strict=True))


def _unique_names(names: list[str] | tuple[str, ...], count: int) -> list[str]:
    """Returns the names, or numbered ones when they are not unique."""
    return list(names) if len(set(names)) == count else [f"output_{index}" for index in range(count)]


def _columns(tensor: Any) -> int | None:
    axes = tuple(tensor.shape)[1:]
    return None if any(axis is None for axis in axes) else int(np.prod(axes, dtype=int))


def select_scores(prediction: Any, output: KerasOutput) -> Any:
    """Returns the selected tensor of a prediction. Raises InvalidOptionsError when several are possible, ConversionError."""
    if isinstance(prediction, Mapping):
        tensors = {str(name): tensor for name, tensor in prediction.items()}
    elif isinstance(prediction, list | tuple):
        tensors = dict(zip(_unique_names(output.names, len(prediction)), prediction, strict=True))
    else:
        return prediction
    if output.name in tensors or len(tensors) == 1:
        tensor = tensors[output.name] if output.name in tensors else next(iter(tensors.values()))
        if isinstance(tensor, Mapping | list | tuple):
            raise ConversionError(reason="its outputs lie within outputs; make a model of the one that has the scores")
        return tensor
    raise InvalidOptionsError(options=f"--output, one of {', '.join(tensors)}")


def loss_kind(loss: Any, name: str = "", index: int = 0) -> Loss:
    """Returns the kind of scores that a loss expects. name, index: of the output, when each has its own loss."""
    if isinstance(loss, Mapping) and "class_name" not in loss:
        return loss_kind(loss.get(name))
    if isinstance(loss, list | tuple):
        return loss_kind(loss[index]) if index < len(loss) else ""
    config = loss.get("config") if isinstance(loss, Mapping) else {}
    config = config if isinstance(config, Mapping) else {}
    loss_name = loss.get("class_name") if isinstance(loss, Mapping) else loss
    if loss_name == "function":
        loss_name = loss.get("config")
    if not isinstance(loss_name, str):
        loss_name = getattr(loss_name, "__name__", None) or type(loss_name).__name__
    normalized = loss_name.lower().replace("_", "")
    if getattr(loss, "from_logits", False) is True or config.get("from_logits") is True:
        return "logits"
    if "crossentropy" in normalized:
        return "probabilities"
    return "numbers" if normalized in _REGRESSION_LOSSES or loss_name.lower() in _REGRESSION_LOSSES else ""


def _last_activation(layer: Any) -> str:
    """Name of the last activation, through nested models, if the layers have one; the graph is analysed later."""
    last_layer = (getattr(layer, "layers", None) or [None])[-1]
    if last_layer is not None:
        return _last_activation(last_layer)
    return str(getattr(getattr(layer, "activation", None), "__name__", ""))
