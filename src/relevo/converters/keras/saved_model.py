"""TensorFlow's SavedModel: a folder with a graph and its weights, opened behind the walls.

    folder, laid out by the parent ─ tf.saved_model.load ─ the serving signature ─► Read ─► what Keras' files become

Which layer came last and which loss it was trained with is no more in it; the graph tells how it ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from relevo.converters.keras.convert import Read, done
from relevo.converters.keras.inputs import Entry
from relevo.converters.keras.outputs import Head
from relevo.converters.keras.silent_import import library, silence_stderr
from relevo.converters.sklearn.estimator import one_line
from relevo.errors import ConversionError, InvalidOptionsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relevo.converters.base import ConversionResult
    from relevo.converters.options import ConversionOptions
    from relevo.package.samples import Samples

#: What the folder is called inside the quarantine.
FOLDER = "model"

_SIGNATURES = ("serving_default", "serve", "predict")


def open_file(task: ConversionOptions, _bodies: Sequence[bytes], samples: Samples | None) -> ConversionResult:
    """The door of SavedModels. Raises ConversionError, InvalidOptionsError, MissingDependencyError."""
    tensorflow = library("tensorflow")
    try:
        with silence_stderr():
            model = tensorflow.saved_model.load(FOLDER)
    except MemoryError:
        raise
    except Exception as cause:
        raise ConversionError(reason=f"TensorFlow cannot load the folder ({one_line(cause)})") from cause
    return done(_read(tensorflow, model, task.output), task, samples, framework=f"TensorFlow {_release(model)}".strip())


def _release(model: Any) -> str:
    return str(getattr(model, "tensorflow_version", ""))[:20]


def _read(tensorflow: Any, model: Any, output: str) -> Read:
    signature = _signature(model)
    specs = signature.structured_input_signature[1]
    outputs = signature.structured_outputs
    if (len(outputs) > 1 or output) and output not in outputs:
        raise InvalidOptionsError(options=f"--output, one of {', '.join(sorted(outputs))}")
    chosen = output or next(iter(outputs))
    names = sorted(specs)
    axes = tuple(outputs[chosen].shape)[1:] if outputs[chosen].shape.rank else (None,)

    def call(tensors: list[Any]) -> Any:
        return signature(**dict(zip(names, tensors, strict=True)))[chosen]

    return Read(
        entries=tuple(_entry(name, specs[name]) for name in names),
        head=Head(name=chosen, columns=None if any(axis is None for axis in axes) else int(np.prod(axes, dtype=int))),
        rescales=False,
        call=call,
        # In one piece a large picture's activations would not fit.
        ask=lambda arrays: np.concatenate(
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
    found = getattr(model, "signatures", {})
    for name in (*_SIGNATURES, *found):
        if name in found:
            return found[name]
    raise ConversionError(reason="the SavedModel has no serving signature; export it with model.export(folder)")


def _entry(name: str, spec: Any) -> Entry:
    if spec.shape.rank is None or spec.shape.rank < 1:
        raise ConversionError(reason=f"its input '{name}' has no shape")
    if spec.shape[0] is not None:
        raise ConversionError(reason=f"its input '{name}' takes exactly {spec.shape[0]} row(s); export it with a free batch axis")
    return Entry(name=name, shape=tuple(spec.shape)[1:], dtype=spec.dtype.name)
