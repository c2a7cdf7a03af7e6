"""Converts TensorFlow's SavedModel, a directory with a graph and its weights, inside the sandbox.

    directory, written by the parent ─ tf.saved_model.load ─ serving signature ─► KerasModelInfo ─► as for Keras files

It contains neither the layers nor the training loss; the scores are determined from the graph.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from relevo.converters.keras.convert import KerasModelInfo, convert_loaded
from relevo.converters.keras.inputs import KerasInput
from relevo.converters.keras.outputs import KerasOutput
from relevo.converters.keras.silent_import import library, silence_stderr
from relevo.converters.sklearn.estimator import one_line
from relevo.errors import ConversionError, InvalidOptionsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relevo.converters.base import ConversionRequest, ConversionResult
    from relevo.package.samples import Samples

#: Name of the directory inside the sandbox.
FOLDER = "model"

_SIGNATURES = ("serving_default", "serve", "predict")


def open_file(request: ConversionRequest, _bodies: Sequence[bytes], samples: Samples | None) -> ConversionResult:
    """Loads and converts a SavedModel. Raises ConversionError, InvalidOptionsError, MissingDependencyError."""
    tensorflow = library("tensorflow")
    try:
        with silence_stderr():
            model = tensorflow.saved_model.load(FOLDER)
    except MemoryError:
        raise
    except Exception as cause:
        raise ConversionError(reason=f"TensorFlow cannot load the folder ({one_line(cause)})") from cause
    return convert_loaded(
        _inspect(tensorflow, model, request.options.output_name),
        request.options,
        samples,
        framework=f"TensorFlow {_release(model)}".strip(),
    )


def _release(model: Any) -> str:
    return str(getattr(model, "tensorflow_version", ""))[:20]


def _inspect(tensorflow: Any, model: Any, output: str) -> KerasModelInfo:
    signature = _signature(model)
    specs = signature.structured_input_signature[1]
    outputs = signature.structured_outputs
    if (len(outputs) > 1 or output) and output not in outputs:
        raise InvalidOptionsError(options=f"--output, one of {', '.join(sorted(outputs))}")
    output_name = output or next(iter(outputs))
    names = sorted(specs)
    axes = tuple(outputs[output_name].shape)[1:] if outputs[output_name].shape.rank else (None,)

    def call(tensors: list[Any]) -> Any:
        return signature(**dict(zip(names, tensors, strict=True)))[output_name]

    return KerasModelInfo(
        inputs=tuple(_input(name, specs[name]) for name in names),
        output=KerasOutput(name=output_name, columns=None if any(axis is None for axis in axes) else int(np.prod(axes, dtype=int))),
        rescales=False,
        call=call,
        # In chunks: the activations of all large images would not fit in memory.
        predict=lambda arrays: np.concatenate(
            [
                call(
                    [
                        tensorflow.cast(array[start : start + 32], specs[name].dtype)
                        for name, array in zip(names, arrays, strict=True)
                    ]
                )
                for start in range(0, len(arrays[0]), 32)
            ]
        ),
    )


def _signature(model: Any) -> Any:
    signatures = getattr(model, "signatures", {})
    for name in (*_SIGNATURES, *signatures):
        if name in signatures:
            return signatures[name]
    raise ConversionError(reason="the SavedModel has no serving signature; export it with model.export(folder)")


def _input(name: str, spec: Any) -> KerasInput:
    if spec.shape.rank is None or spec.shape.rank < 1:
        raise ConversionError(reason=f"its input '{name}' has no shape")
    if spec.shape[0] is not None:
        raise ConversionError(reason=f"its input '{name}' takes exactly {spec.shape[0]} row(s); export it with a free batch axis")
    return KerasInput(name=name, shape=tuple(spec.shape)[1:], dtype=spec.dtype.name)
