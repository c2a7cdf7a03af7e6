"""Converts an ONNX file: reads its signature, and requires the rest as options.

    bytes ─ audit ─ inputs, outputs (a final ZipMap is removed) ─► image | matrix | columns ─► ConvertedModel

An ONNX file contains neither the labels nor the scale of its pixels. They are never guessed: a wrong guess gives wrong predictions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from relevo.converters.onnx_inputs import Tensor, read_input
from relevo.converters.onnx_labels import check_label_output
from relevo.converters.score_types import infer_output
from relevo.converters.zipmap import remove_zipmap
from relevo.domain.signature import Output, Task
from relevo.errors import ConversionError, InvalidOptionsError
from relevo.package.conversion import ConversionOptions, ConvertedModel
from relevo.package.onnx_validation import audit
from relevo.package.synthetic_samples import generate_samples
from relevo.runtime.session import load_session

if TYPE_CHECKING:
    from relevo.package.samples import Samples

_FLOATS = ("tensor(float)", "tensor(double)", "tensor(float16)")


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxModelInfo:
    """Inputs, outputs and producer of the file. Lifetime: one conversion."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    producer: str


def convert_onnx(
    data: bytes,
    samples: Samples | None,
    options: ConversionOptions | None = None,
    *,
    outputs: Any = None,
    generated: bool = False,
) -> ConvertedModel:
    """Returns the file with a signature.

    generated: whether the samples are synthetic.
    outputs: the original's scores (n, columns), if available.
    Raises InvalidOnnxError, InvalidOptionsError naming every missing option, ConversionError.
    """
    options = options or ConversionOptions()
    audit(data)
    onnx, labels = remove_zipmap(data)
    info = read_model_info(onnx)
    model_input, steps = read_input(info.inputs, samples, options)
    scores = _scores_output(info, options)
    candidate = ConvertedModel(
        onnx=onnx,
        input=model_input,
        steps=steps,
        output=Output(name=scores.name, task=Task.REGRESSION),
        framework=f"onnx ({info.producer})" if info.producer else "onnx",
        converter={} if onnx is data else {"relevo": "ZipMap removed"},
        outputs=None if outputs is None else np.asarray(outputs, dtype=np.float64).reshape(len(outputs), -1),
    )
    test_samples = samples or generate_samples(model_input, rows=8)
    output = infer_output(candidate, test_samples, options, labels=labels, generated=generated or samples is None)
    converted = replace(candidate, output=output, classes=labels if output.labels else ())
    check_label_output(converted, info.outputs, test_samples, labels, output.labels)
    return converted


def read_model_info(onnx: bytes) -> OnnxModelInfo:
    """Reads the inputs, outputs and producer of an audited file. Raises InvalidOnnxError."""
    # One thread: the sandbox does not allow more.
    session = load_session(onnx)
    return OnnxModelInfo(
        inputs=tuple(Tensor(name=node.name, kind=node.type, shape=tuple(node.shape)) for node in session.get_inputs()),
        outputs=tuple(Tensor(name=node.name, kind=node.type, shape=tuple(node.shape or ())) for node in session.get_outputs()),
        producer=str(session.get_modelmeta().producer_name)[:40],
    )


def _scores_output(info: OnnxModelInfo, options: ConversionOptions) -> Tensor:
    names = ", ".join(tensor.name for tensor in info.outputs)
    requested_name = options.output_name if options.output is None else options.output.name
    if requested_name:
        for tensor in info.outputs:
            if tensor.name == requested_name:
                return tensor
        raise InvalidOptionsError(options=f"an output the file has ({names})")
    floats = [tensor for tensor in info.outputs if tensor.kind in _FLOATS]
    if not floats:
        raise ConversionError(reason=f"none of its outputs ({names}) is a tensor of scores")
    if len(floats) > 1:
        raise InvalidOptionsError(
            options=f"the output that holds the scores (one of {', '.join(tensor.name for tensor in floats)})"
        )
    return floats[0]
