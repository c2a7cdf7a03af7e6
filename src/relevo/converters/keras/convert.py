"""Keras models to ONNX: live ones, and those read from files behind the walls.

    live model ─┐                        ┌─ inputs ─► Input, Steps ─► tensors ─► model.predict ─► the original's outputs
    file ─ load ┴─ what a person told ───┤                                                       └─► Output
                                         └─ graph: traced, written ─► ONNX ────────────────────────► Converted

Everything a person must add is asked for in one error.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from relevo.converters.base import ConversionResult
from relevo.converters.keras.export import SCORES, write_graph
from relevo.converters.keras.inputs import (
    Entry,
    InputBinding,
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
from relevo.converters.keras.load import load
from relevo.converters.keras.outputs import Head, head_of, picked
from relevo.converters.keras.silent_import import leave_out, library, silence_stderr
from relevo.converters.onnx_options import ask_for_kind
from relevo.converters.score_types import ask_labels, output_of
from relevo.converters.sklearn.estimator import one_line
from relevo.domain.signature import Output, Task
from relevo.errors import ConversionError, InvalidOptionsError, RelevoError
from relevo.package.class_names import display_names
from relevo.package.conversion import ConversionHints, ConvertedModel
from relevo.package.synthetic_samples import generate_samples
from relevo.package.targets import label_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from relevo.converters.options import ConversionOptions
    from relevo.package.samples import Samples

#: Rows the original answers at once.
_BATCH = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A model with what can be read off it; lives as long as one conversion."""

    entries: tuple[Entry, ...]
    head: Head
    rescales: bool  # it begins by bringing pixels to its own numbers
    call: Callable[[list[Any]], Any]  # TensorFlow's tensors in, one out, to be traced
    ask: Callable[[list[NDArray[Any]]], Any]  # arrays in, one out: the original's own word


def convert_keras(
    model: Any, samples: Samples, hints: ConversionHints | None = None, *, truth: Any = None, output: str = ""
) -> ConvertedModel:
    """A live model as ONNX, with the outputs it gave for the samples.

    truth: of the samples; its texts, sorted, are the classes where nothing else names them, as Keras' own data sets number them.
    output: which of several outputs has the scores.
    Raises InvalidOptionsError naming all that is missing, ConversionError, MissingDependencyError.
    """
    told = hints or ConversionHints()
    chosen = "" if told.output is None or told.output.name == SCORES else told.output.name
    read = look_at(model, output or chosen)
    if not told.classes and truth is not None:
        classes = _classes(truth, read)
        # Keras knows no names: labels that are those of the truth state the order of the scores.
        stated = set(told.labels) == set(classes) and not all(name.isdecimal() for name in classes)
        told = replace(told, classes=told.labels if stated else classes)
    asked = missing(read, samples, told, Told())
    if asked:
        raise InvalidOptionsError(options="; ".join(one.replace("--", "") for one in asked))
    feed = feed_of(read, samples, told, Told())
    return converted(read, feed, samples, told, framework=f"Keras {library('keras').__version__}")


def _classes(truth: Any, read: Read) -> tuple[str, ...]:
    """What the truth calls the classes: its texts in sorted order, or 0, 1, … where it counts them; none for other numbers."""
    values = [value.item() if isinstance(value, np.generic) else value for value in truth]
    if all(isinstance(value, str | bool) for value in values):
        return tuple(sorted({label_text(value) for value in values}))
    scores = read.head.columns or 0
    count = 2 if scores == 1 and read.head.two else scores if scores > 1 else 0
    counted = all(isinstance(value, int | float) and value in range(count) for value in values)
    return tuple(str(place) for place in range(count)) if counted else ()


def open_file(task: ConversionOptions, bodies: Sequence[bytes], samples: Samples | None) -> ConversionResult:
    """The door of Keras' files: loaded, asked, converted. Raises ConversionError, InvalidOptionsError, MissingDependencyError."""
    leave_out("sklearn", "pandas", "matplotlib")
    loaded = load(bodies)
    read = look_at(loaded.model, task.output, loss=loaded.loss)
    return done(read, task, samples, framework=f"Keras {loaded.release}".removesuffix("-tf"))


def done(read: Read, task: ConversionOptions, samples: Samples | None, *, framework: str) -> ConversionResult:
    """What a file of TensorFlow's family hands back, however it was loaded. Raises InvalidOptionsError, ConversionError."""
    hints, told = hints_of(task), told_of(task)
    if len(read.entries) == 1 and len(read.entries[0].shape) == 1 and not told.mode:
        ask_for_kind(read.entries[0].shape[0] or 0, task, samples)
    asked = missing(read, samples, hints, told)
    if asked:
        raise InvalidOptionsError(options="; ".join(asked))
    feed = feed_of(read, samples, hints, told)
    given = samples if samples is not None else generate_samples(feed.input)
    found = converted(read, feed, given, hints, framework=framework, generated=samples is None)
    return ConversionResult(converted=found, samples=given, generated=samples is None)


def look_at(model: Any, output: str = "", *, loss: Any = None) -> Read:
    """Read a Keras model's inputs and outputs. loss: as the file tells it.

    Raises InvalidOptionsError when several outputs wait for a choice, ConversionError.
    """
    head = head_of(model, output, loss=loss)

    def given(tensors: list[Any]) -> Any:
        return tensors if len(tensors) > 1 else tensors[0]

    return Read(
        entries=entries_of(model),
        head=head,
        rescales=_rescales(model),
        call=lambda tensors: picked(model(given(tensors), training=False), head),
        ask=lambda arrays: picked(model.predict(given(arrays), batch_size=_BATCH, verbose=0), head),
    )


def missing(read: Read, samples: Samples | None, hints: ConversionHints, told: Told) -> list[str]:
    """Every option a person must add, in the words of the command line."""
    asked = []
    if is_picture(read.entries, samples, hints, told):
        asked += asked_about_picture(read.entries[0], samples, hints, told, rescales=read.rescales)
    return [*asked, *_asked_about_labels(read.head, hints)]


def _asked_about_labels(head: Head, hints: ConversionHints) -> list[str]:
    """The labels, where it is known before the model is converted that they are missing."""
    if hints.output is not None or hints.scores == "numbers" or head.columns is None or head.loss == "numbers":
        return []
    labels, columns = display_names(hints.classes, hints.labels, hints.renamed), head.columns
    wanted = columns if columns > 1 else 2 if head.two or labels else 0
    if wanted in (0, len(labels)):
        return []
    return [ask_labels(columns, "--")]


def _rescales(model: Any) -> bool:
    """Whether one of the first layers brings pixels to the model's numbers itself."""
    first = [type(layer).__name__ for layer in getattr(model, "layers", ())[:3]]
    return any(name in ("Rescaling", "Normalization") for name in first)


def feed_of(read: Read, samples: Samples | None, hints: ConversionHints, told: Told) -> InputBinding:
    """How the model is fed. Raises ConversionError."""
    if is_picture(read.entries, samples, hints, told):
        return picture_feed(read.entries[0], samples, hints, told)
    return record_feed(read.entries, samples, hints)


def converted(
    read: Read, feed: InputBinding, samples: Samples, hints: ConversionHints, *, framework: str, generated: bool = False
) -> ConvertedModel:
    """Ask the original, write the graph. Raises ConversionError, InvalidOptionsError, MissingDependencyError."""
    outputs = _answers(read, feed, samples)
    graph = write_graph(read.call, feed.axes)
    found = ConvertedModel(
        onnx=graph.onnx,
        input=feed.input,
        steps=feed.steps,
        output=Output(name=SCORES, task=Task.REGRESSION),
        framework=framework,
        converter=graph.libraries,
        outputs=outputs,
    )
    output = output_of(found, samples, hints, labels=hints.classes, loss=read.head.loss, generated=generated)
    named = len(hints.classes) == len(output.labels)
    classes = hints.classes if named else tuple(str(place) for place in range(len(output.labels)))
    # The graph's one output has a name of ours, whatever the model calls it.
    return replace(found, output=msgspec.structs.replace(output, name=SCORES), classes=classes)


def _answers(read: Read, feed: InputBinding, samples: Samples) -> NDArray[np.float64]:
    """What the original says to the samples, float64 (n, columns). Raises ConversionError with its complaint."""
    tensors = tensors_of(feed, samples)
    try:
        with silence_stderr():
            found = read.ask(tensors)
    except RelevoError:
        raise
    except Exception as cause:
        raise ConversionError(reason=f"the model itself fails on the samples ({one_line(cause)})") from cause
    return np.asarray(found, dtype=np.float64).reshape(len(samples), -1)
