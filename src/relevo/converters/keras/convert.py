"""Converts Keras models to ONNX: live models, and models that the sandbox loads from files.

    live model ─┐                   ┌─ inputs ─► Input, Steps ─► tensors ─► model.predict ─► reference outputs
    file ─ load ┴─ user's options ──┤                                                     └─► Output
                                    └─ graph: traced, exported ─► ONNX ───────────────────► ConvertedModel

All missing options are reported in one error.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from relevo.converters.base import ConversionResult
from relevo.converters.keras.export import SCORES, write_graph
from relevo.converters.keras.inputs import (
    InputBinding,
    InputOptions,
    KerasInput,
    bind_image,
    bind_record,
    hints_from_options,
    input_options,
    input_tensors,
    is_image,
    missing_image_options,
    model_inputs,
)
from relevo.converters.keras.load import load
from relevo.converters.keras.outputs import KerasOutput, select_output, select_scores
from relevo.converters.keras.silent_import import block_import, library, silence_stderr
from relevo.converters.onnx_options import require_input_kind
from relevo.converters.score_types import infer_output, labels_request
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

#: Rows per call of the original.
_BATCH_ROWS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class KerasModelInfo:
    """A model's inputs, output and functions to run it. Lifetime: one conversion."""

    inputs: tuple[KerasInput, ...]
    output: KerasOutput
    rescales: bool  # whether its first layers scale the pixels
    call: Callable[[list[Any]], Any]  # TensorFlow tensors in, one out; is traced
    predict: Callable[[list[NDArray[Any]]], Any]  # arrays in, one out; gives the reference outputs


def convert_keras(
    model: Any, samples: Samples, hints: ConversionHints | None = None, *, truth: Any = None, output: str = ""
) -> ConvertedModel:
    """Converts a live model to ONNX, with its outputs for the samples.

    truth: of the samples; its texts, sorted, are the classes unless others are given, as Keras' own data sets number them.
    output: name of the output that contains the scores, if there are several.
    Raises InvalidOptionsError naming everything that is missing, ConversionError, MissingDependencyError.
    """
    options = hints or ConversionHints()
    chosen = "" if options.output is None or options.output.name == SCORES else options.output.name
    info = inspect_model(model, output or chosen)
    if not options.classes and truth is not None:
        classes = _classes(truth, info)
        # Keras has no class names: labels equal to those of the truth define the order of the scores.
        stated = set(options.labels) == set(classes) and not all(name.isdecimal() for name in classes)
        options = replace(options, classes=options.labels if stated else classes)
    missing = missing_options(info, samples, options, InputOptions())
    if missing:
        raise InvalidOptionsError(options="; ".join(option.replace("--", "") for option in missing))
    binding = bind_input(info, samples, options, InputOptions())
    return convert_model(info, binding, samples, options, framework=f"Keras {library('keras').__version__}")


def _classes(truth: Any, info: KerasModelInfo) -> tuple[str, ...]:
    """Class names from the truth: its texts in sorted order, or 0, 1, … for class indices; none for other numbers."""
    values = [value.item() if isinstance(value, np.generic) else value for value in truth]
    if all(isinstance(value, str | bool) for value in values):
        return tuple(sorted({label_text(value) for value in values}))
    scores = info.output.columns or 0
    count = 2 if scores == 1 and info.output.two else scores if scores > 1 else 0
    are_indices = all(isinstance(value, int | float) and value in range(count) for value in values)
    return tuple(str(index) for index in range(count)) if are_indices else ()


def open_file(options: ConversionOptions, bodies: Sequence[bytes], samples: Samples | None) -> ConversionResult:
    """Loads and converts a Keras file. Raises ConversionError, InvalidOptionsError, MissingDependencyError."""
    block_import("sklearn", "pandas", "matplotlib")
    loaded = load(bodies)
    info = inspect_model(loaded.model, options.output, loss=loaded.loss)
    return convert_loaded(info, options, samples, framework=f"Keras {loaded.release}".removesuffix("-tf"))


def convert_loaded(
    info: KerasModelInfo, options: ConversionOptions, samples: Samples | None, *, framework: str
) -> ConversionResult:
    """Converts a loaded Keras model or SavedModel. Raises InvalidOptionsError, ConversionError."""
    hints, input_hints = hints_from_options(options), input_options(options)
    if len(info.inputs) == 1 and len(info.inputs[0].shape) == 1 and not input_hints.mode:
        require_input_kind(info.inputs[0].shape[0] or 0, options, samples)
    missing = missing_options(info, samples, hints, input_hints)
    if missing:
        raise InvalidOptionsError(options="; ".join(missing))
    binding = bind_input(info, samples, hints, input_hints)
    used_samples = samples if samples is not None else generate_samples(binding.input)
    converted_model = convert_model(info, binding, used_samples, hints, framework=framework, generated=samples is None)
    return ConversionResult(converted=converted_model, samples=used_samples, generated=samples is None)


def inspect_model(model: Any, output: str = "", *, loss: Any = None) -> KerasModelInfo:
    """Reads a Keras model's inputs and outputs. loss: from the file.

    Raises InvalidOptionsError when one of several outputs must be chosen, ConversionError.
    """
    output_info = select_output(model, output, loss=loss)

    def as_call_argument(tensors: list[Any]) -> Any:
        return tensors if len(tensors) > 1 else tensors[0]

    return KerasModelInfo(
        inputs=model_inputs(model),
        output=output_info,
        rescales=_rescales(model),
        call=lambda tensors: select_scores(model(as_call_argument(tensors), training=False), output_info),
        predict=lambda arrays: select_scores(
            model.predict(as_call_argument(arrays), batch_size=_BATCH_ROWS, verbose=0), output_info
        ),
    )


def missing_options(info: KerasModelInfo, samples: Samples | None, hints: ConversionHints, input_hints: InputOptions) -> list[str]:
    """Returns every missing option, as worded on the command line."""
    missing = []
    if is_image(info.inputs, samples, hints, input_hints):
        missing += missing_image_options(info.inputs[0], samples, hints, input_hints, rescales=info.rescales)
    return [*missing, *_missing_labels(info.output, hints)]


def _missing_labels(output_info: KerasOutput, hints: ConversionHints) -> list[str]:
    """Returns the missing labels, where this is known before the conversion."""
    if hints.output is not None or hints.scores == "numbers" or output_info.columns is None or output_info.loss == "numbers":
        return []
    labels, columns = display_names(hints.classes, hints.labels, hints.renamed), output_info.columns
    expected = columns if columns > 1 else 2 if output_info.two or labels else 0
    if expected in (0, len(labels)):
        return []
    return [labels_request(columns, "--")]


def _rescales(model: Any) -> bool:
    """Whether one of the first layers scales the pixels itself."""
    first_layers = [type(layer).__name__ for layer in getattr(model, "layers", ())[:3]]
    return any(name in ("Rescaling", "Normalization") for name in first_layers)


def bind_input(info: KerasModelInfo, samples: Samples | None, hints: ConversionHints, input_hints: InputOptions) -> InputBinding:
    """Returns how the model is fed. Raises ConversionError."""
    if is_image(info.inputs, samples, hints, input_hints):
        return bind_image(info.inputs[0], samples, hints, input_hints)
    return bind_record(info.inputs, samples, hints)


def convert_model(
    info: KerasModelInfo,
    binding: InputBinding,
    samples: Samples,
    hints: ConversionHints,
    *,
    framework: str,
    generated: bool = False,
) -> ConvertedModel:
    """Computes the reference outputs and exports the graph. Raises ConversionError, InvalidOptionsError, MissingDependencyError."""
    reference = _reference_outputs(info, binding, samples)
    graph = write_graph(info.call, binding.axes)
    candidate = ConvertedModel(
        onnx=graph.onnx,
        input=binding.input,
        steps=binding.steps,
        output=Output(name=SCORES, task=Task.REGRESSION),
        framework=framework,
        converter=graph.libraries,
        outputs=reference,
    )
    output = infer_output(candidate, samples, hints, labels=hints.classes, loss=info.output.loss, generated=generated)
    has_names = len(hints.classes) == len(output.labels)
    classes = hints.classes if has_names else tuple(str(index) for index in range(len(output.labels)))
    # The graph's only output is named SCORES, whatever its name in the model.
    return replace(candidate, output=msgspec.structs.replace(output, name=SCORES), classes=classes)


def _reference_outputs(info: KerasModelInfo, binding: InputBinding, samples: Samples) -> NDArray[np.float64]:
    """Original's outputs for the samples, float64 (n, columns). Raises ConversionError with the model's error message."""
    tensors = input_tensors(binding, samples)
    try:
        with silence_stderr():
            outputs = info.predict(tensors)
    except RelevoError:
        raise
    except Exception as cause:
        raise ConversionError(reason=f"the model itself fails on the samples ({one_line(cause)})") from cause
    return np.asarray(outputs, dtype=np.float64).reshape(len(samples), -1)
