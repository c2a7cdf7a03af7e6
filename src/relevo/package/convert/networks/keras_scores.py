"""What a Keras model's numbers stand for: read off its last layer and its loss, or off what it answered.

softmax                     a probability a label
sigmoid, one column         the probability of the second of two labels
sigmoid, several columns    a score a label, 0..1, that need not sum to one
linear, one column          a value; with two labels or `from_logits=True` the logit of the second
linear, several columns     logits, when labels are given or the loss says so
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from relevo.domain.signature import Output, Task
from relevo.package.class_names import display_names
from relevo.package.convert.networks.keras_graph import SCORES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from relevo.package.convert.converted import Hints

#: Layers that change no value of what comes to them.
_PASSING = {"Dropout", "Flatten", "Reshape", "InputLayer", "Permute", "SpatialDropout1D", "SpatialDropout2D", "Identity"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a model ends: its last activation, and whether its loss was made for logits."""

    activation: str  # "softmax", "sigmoid", "linear", …; empty when the layers do not tell
    logits: bool = False


def ending_of(model: Any, output: int = 0) -> Ending:  # noqa: ANN401 - a Keras model
    """Read the last layer before that output, through nested models."""
    loss = getattr(model, "loss", None)
    return Ending(activation=_activation(model, output), logits=bool(getattr(loss, "from_logits", False)))


def _activation(layer: Any, output: int = 0) -> str:  # noqa: ANN401 - a Keras layer or model
    inside = _last_layer(layer, output)
    if inside is not None and inside is not layer:
        return _activation(inside)
    if type(layer).__name__ == "Softmax":
        return "softmax"
    activation = getattr(layer, "activation", None)
    return str(getattr(activation, "__name__", "")) if activation is not None else ""


def _last_layer(layer: Any, output: int) -> Any:  # noqa: ANN401 - a Keras layer or model
    layers = getattr(layer, "layers", None)
    if not layers:
        return None
    if type(layer).__name__ == "Sequential":
        return next((one for one in reversed(layers) if type(one).__name__ not in _PASSING), None)
    try:
        history = layer.outputs[output]._keras_history  # noqa: SLF001 - Keras tells the last layer nowhere else
    except (AttributeError, IndexError, TypeError):
        return None
    return getattr(history, "operation", None) or getattr(history, "layer", None)


def asked_about_labels(ending: Ending, columns: int | None, hints: Hints) -> list[str]:
    """The option that a person must add for these scores, if any."""
    labels = display_names(hints.classes, hints.labels, hints.renamed)
    if hints.output is not None or columns is None:
        return []
    if columns > 1 and len(labels) != columns:
        return [f"--labels ({columns} of them, in the order of the model's scores: 0 to {columns - 1} as it was trained)"]
    two = ending.activation == "sigmoid" or ending.logits
    if columns == 1 and (two or labels) and len(labels) != 2:
        return ["--labels (two of them: what a score of 0 means, then what a score of 1 means)"]
    return []


def output_of(ending: Ending, scores: NDArray[np.float64], hints: Hints) -> Output:
    """The manifest's output. scores: what the model answered to the samples, (n, columns)."""
    if hints.output is not None:
        return hints.output
    labels = display_names(hints.classes, hints.labels, hints.renamed)
    if scores.shape[1] == 1 and not labels:
        return Output(name=SCORES, task=Task.REGRESSION, unit=hints.unit)
    return Output(name=SCORES, labels=labels, activation=_applied(ending, scores))


def _applied(ending: Ending, scores: NDArray[np.float64]) -> Literal["none", "sigmoid", "softmax"]:
    """What makes probabilities of the scores; nothing where the model did it itself."""
    if ending.activation in ("softmax", "sigmoid"):
        return "none"
    inside = bool(((scores >= 0) & (scores <= 1 + 1e-6)).all())
    if not ending.activation and inside and not ending.logits:
        return "none"
    return "sigmoid" if scores.shape[1] == 1 else "softmax"
