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
from relevo.package.convert.done import Done
from relevo.package.convert.estimators import one_line
from relevo.package.convert.networks.keras_files import load
from relevo.package.convert.networks.keras_graph import write_graph
from relevo.package.convert.networks.keras_inputs import (
    Entry,
    Feed,
    Told,
    asked_about_picture,
    entries_of,
    hints_of,
    is_picture,
    picture_feed,
    record_feed,
    tensors_of,
    told_of,
)
from relevo.package.convert.networks.keras_quiet import leave_out, library, no_words
from relevo.package.convert.networks.keras_scores import Ending, asked_about_labels, ending_of, output_of
from relevo.package.generating import generate_samples
from relevo.package.truth import class_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from relevo.package.convert.quarantine.wire import Task
    from relevo.package.samples import Samples

#: Rows the original answers at once.
_BATCH = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A model with what can be read off it; lives as long as one conversion."""

    entries: tuple[Entry, ...]
    columns: int | None  # of the scores, where the model tells
    ending: Ending
    rescales: bool  # it begins by bringing pixels to its own numbers
    call: Callable[[list[Any]], Any]  # TensorFlow's tensors in, one out, to be traced
    ask: Callable[[list[NDArray[Any]]], Any]  # arrays in, one out: the original's own word


def convert_keras(model: Any, samples: Samples, hints: Hints | None = None, *, truth: Any = None, output: str = "") -> Converted:  # noqa: ANN401 - a live model, an array
    """A live model as ONNX, with the outputs it gave for the samples.

    truth: of the samples; its texts, sorted, are the classes where nothing else names them, as Keras' own data sets number them.
    output: which of several outputs has the scores.
    Raises OptionsMissing naming all that is missing, ConversionFailed, ExtraMissing.
    """
    told = hints or Hints()
    read = look_at(model, output)
    if not told.classes and truth is not None:
        classes = _classes(truth, read)
        # Keras knows no names: labels that are those of the truth state the order of the scores.
        stated = set(told.labels) == set(classes) and not all(name.isdecimal() for name in classes)
        told = replace(told, classes=told.labels if stated else classes)
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
    scores = read.columns or 0
    count = 2 if scores == 1 and (read.ending.activation == "sigmoid" or read.ending.logits) else scores if scores > 1 else 0
    counted = all(isinstance(value, int | float) and value in range(count) for value in values)
    return tuple(str(place) for place in range(count)) if counted else ()


def open_file(task: Task, bodies: Sequence[bytes], samples: Samples | None) -> Done:
    """The door of Keras' files: loaded, asked, converted. Raises ConversionFailed, OptionsMissing, ExtraMissing."""
    leave_out("sklearn", "pandas", "matplotlib")
    loaded = load(bodies)
    read = look_at(loaded.model, task.output, logits=loaded.logits)
    return done(read, task, samples, framework=f"Keras {loaded.release}".removesuffix("-tf"))


def done(read: Read, task: Task, samples: Samples | None, *, framework: str) -> Done:
    """What a file of TensorFlow's family hands back, however it was loaded. Raises OptionsMissing, ConversionFailed."""
    hints, told = hints_of(task), told_of(task)
    asked = missing(read, samples, hints, told)
    if asked:
        raise OptionsMissing(options="; ".join(asked))
    feed = feed_of(read, samples, hints, told)
    given = samples if samples is not None else generate_samples(feed.input)
    found = converted(read, feed, given, hints, framework=framework)
    return Done(converted=found, samples=given, generated=samples is None)


def look_at(model: Any, output: str = "", *, logits: bool = False) -> Read:  # noqa: ANN401 - a Keras model
    """Read a Keras model's inputs and outputs. logits: its loss was made for logits, as the file says.

    Raises OptionsMissing when several outputs wait for a choice, ConversionFailed.
    """
    names = [str(name) for name in getattr(model, "output_names", None) or ()]
    if len(names) > 1 and output not in names:
        raise OptionsMissing(options=f"--output, one of {', '.join(names)}")
    place = names.index(output) if len(names) > 1 else 0
    ending = ending_of(model, place)

    def given(tensors: list[Any]) -> Any:  # noqa: ANN401 - one tensor or a list of them
        return tensors if len(tensors) > 1 else tensors[0]

    return Read(
        entries=entries_of(model),
        columns=_columns(model, place),
        ending=replace(ending, logits=ending.logits or logits),
        rescales=_rescales(model),
        call=lambda tensors: _picked(model(given(tensors), training=False), place),
        ask=lambda arrays: _picked(model.predict(given(arrays), batch_size=_BATCH, verbose=0), place),
    )


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
        asked += asked_about_picture(read.entries[0], samples, hints, told, rescales=read.rescales)
    return [*asked, *asked_about_labels(read.ending, read.columns, hints)]


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
    if read.columns is None and (asked := asked_about_labels(read.ending, outputs.shape[1], hints)):
        raise OptionsMissing(options="; ".join(asked))
    graph = write_graph(read.call, feed.axes)
    output = output_of(read.ending, outputs, hints)
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


def _picked(found: Any, place: int) -> Any:  # noqa: ANN401 - tensors or arrays
    if isinstance(found, dict):
        return list(found.values())[place]
    return found[place] if isinstance(found, list | tuple) else found


def _answers(read: Read, feed: Feed, samples: Samples) -> NDArray[np.float64]:
    """What the original says to the samples, float64 (n, columns). Raises ConversionFailed with its complaint."""
    tensors = tensors_of(feed, samples)
    try:
        with no_words():
            found = read.ask(tensors)
    except Exception as cause:
        raise ConversionFailed(reason=f"the model itself fails on the samples ({one_line(cause)})") from cause
    return np.asarray(found, dtype=np.float64).reshape(len(samples), -1)
