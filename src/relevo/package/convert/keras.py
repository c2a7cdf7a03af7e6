"""Keras models to ONNX: live ones, and those read from files behind the walls.

    live model ─┐                        ┌─ inputs ─► Input, Steps ─► tensors ─► model.predict ─► the original's outputs
    file ─ load ┴─ what a person told ───┤                                                       └─► Output
                                         └─ graph: traced, written ─► ONNX ────────────────────────► Converted

Everything a person must add is asked for in one error.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from relevo.errors import ConversionFailed, OptionsMissing
from relevo.package.convert.converted import Converted, Hints
from relevo.package.convert.estimators import one_line
from relevo.package.convert.keras_graph import write_graph
from relevo.package.convert.keras_inputs import (
    Entry,
    Feed,
    Told,
    asked_about_picture,
    entries_of,
    is_picture,
    picture_feed,
    record_feed,
    tensors_of,
)
from relevo.package.convert.keras_quiet import library, no_words
from relevo.package.convert.keras_scores import asked_about_labels, ending_of, output_of
from relevo.package.truth import class_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from relevo.package.samples import Samples

#: Rows the original answers at once.
_BATCH = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A Keras model with what can be read off it; lives as long as one conversion."""

    model: Any
    entries: tuple[Entry, ...]
    output: int  # place of the scores among its outputs
    columns: int | None  # of the scores, where the model tells


def convert_keras(model: Any, samples: Samples, hints: Hints | None = None, *, truth: Any = None, output: str = "") -> Converted:  # noqa: ANN401 - a live model, an array
    """A live model as ONNX, with the outputs it gave for the samples.

    truth: of the samples; its texts, sorted, are the classes where nothing else names them, as Keras' own data sets number them.
    output: which of several outputs has the scores.
    Raises OptionsMissing naming all that is missing, ConversionFailed, ExtraMissing.
    """
    told = hints or Hints()
    read = look_at(model, output)
    if not told.classes and truth is not None:
        told = replace(told, classes=_classes(truth, read))
    asked = missing(read, samples, told, Told())
    if asked:
        raise OptionsMissing(options="; ".join(one.replace("--", "") for one in asked))
    feed = feed_of(read, samples, told, Told())
    return converted(read, feed, samples, told, framework=f"Keras {library('keras').__version__}")


def _classes(truth: Any, read: Read) -> tuple[str, ...]:  # noqa: ANN401 - an array or a list
    """What the truth calls the classes: its texts in sorted order, or 0, 1, … where it counts them; none for other numbers."""
    values = [value.item() if isinstance(value, np.generic) else value for value in truth]
    if all(isinstance(value, str | bool) for value in values):
        return tuple(sorted({class_text(value) for value in values}))
    ending = ending_of(read.model, read.output)
    scores = read.columns or 0
    count = 2 if scores == 1 and (ending.activation == "sigmoid" or ending.logits) else scores if scores > 1 else 0
    counted = all(isinstance(value, int | float) and value in range(count) for value in values)
    return tuple(str(place) for place in range(count)) if counted else ()


def look_at(model: Any, output: str = "") -> Read:  # noqa: ANN401 - a Keras model
    """The model's inputs and outputs. Raises OptionsMissing when several outputs wait for a choice, ConversionFailed."""
    names = [str(name) for name in getattr(model, "output_names", None) or ()]
    if len(names) > 1 and output not in names:
        raise OptionsMissing(options=f"--output, one of {', '.join(names)}")
    place = names.index(output) if len(names) > 1 else 0
    return Read(model=model, entries=entries_of(model), output=place, columns=_columns(model, place))


def _columns(model: Any, place: int) -> int | None:  # noqa: ANN401 - a Keras model
    outputs = getattr(model, "outputs", None) or ()
    if len(outputs) <= place:
        return None
    axes = tuple(outputs[place].shape)[1:]
    return None if any(axis is None for axis in axes) else int(np.prod(axes, dtype=int))


def missing(read: Read, samples: Samples | None, hints: Hints, told: Told) -> list[str]:
    """Every option a person must add, in the words of the command line."""
    asked = []
    if is_picture(read.entries, samples, hints, told):
        asked += asked_about_picture(read.entries[0], samples, hints, told, rescales=_rescales(read.model))
    return [*asked, *asked_about_labels(ending_of(read.model, read.output), read.columns, hints)]


def _rescales(model: Any) -> bool:  # noqa: ANN401 - a Keras model
    """Whether one of the first layers brings pixels to the model's numbers itself."""
    first = [type(layer).__name__ for layer in getattr(model, "layers", ())[:3]]
    return any(name in ("Rescaling", "Normalization") for name in first)


def feed_of(read: Read, samples: Samples | None, hints: Hints, told: Told) -> Feed:
    """How the model is fed. Raises ConversionFailed."""
    if is_picture(read.entries, samples, hints, told):
        return picture_feed(read.entries[0], samples, hints, told)
    return record_feed(read.entries, samples, hints)


def converted(read: Read, feed: Feed, samples: Samples, hints: Hints, *, framework: str) -> Converted:
    """Ask the original, write the graph. Raises ConversionFailed, OptionsMissing, ExtraMissing."""
    outputs = _answers(read, feed, samples)
    ending = ending_of(read.model, read.output)
    if read.columns is None and (asked := asked_about_labels(ending, outputs.shape[1], hints)):
        raise OptionsMissing(options="; ".join(asked))
    graph = write_graph(lambda tensors: _called(read, tensors), feed.axes)
    output = output_of(ending, outputs, hints)
    return Converted(
        onnx=graph.onnx,
        input=feed.input,
        steps=feed.steps,
        output=output,
        framework=framework,
        converter=graph.libraries,
        outputs=outputs,
        classes=hints.classes
        if len(hints.classes) == len(output.labels)
        else tuple(str(place) for place in range(len(output.labels))),
    )


def _called(read: Read, tensors: list[Any]) -> Any:  # noqa: ANN401 - TensorFlow's tensors
    given: Any = tensors if len(tensors) > 1 else tensors[0]
    found = read.model(given, training=False)
    return _picked(found, read.output)


def _picked(found: Any, place: int) -> Any:  # noqa: ANN401 - tensors or arrays
    if isinstance(found, dict):
        return list(found.values())[place]
    return found[place] if isinstance(found, list | tuple) else found


def _answers(read: Read, feed: Feed, samples: Samples) -> NDArray[np.float64]:
    """What the original says to the samples, float64 (n, columns). Raises ConversionFailed with its complaint."""
    tensors = tensors_of(feed, samples)
    given: Any = tensors if len(tensors) > 1 else tensors[0]
    try:
        with no_words():
            found = _picked(read.model.predict(given, batch_size=_BATCH, verbose=0), read.output)
    except Exception as cause:
        raise ConversionFailed(reason=f"the model itself fails on the samples ({one_line(cause)})") from cause
    return np.asarray(found, dtype=np.float64).reshape(len(samples), -1)
