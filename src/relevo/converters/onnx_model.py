"""An ONNX file as it is: what it tells is read, what it does not tell is asked for.

    bytes ─ audit ─ inputs, outputs (and a ZipMap at the end taken off) ─► picture | matrix | columns ─► Converted

An ONNX file names neither labels nor the scale of its pixels; guessing those would be answering wrongly with confidence.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from relevo.converters.onnx_inputs import Tensor, read_input
from relevo.converters.onnx_labels import refuse_other_answers
from relevo.converters.score_types import output_of
from relevo.converters.zipmap import without_zipmap
from relevo.domain.signature import Output, Task
from relevo.errors import ConversionError, InvalidOptionsError
from relevo.package.conversion import ConversionHints, ConvertedModel
from relevo.package.onnx_validation import audit
from relevo.package.synthetic_samples import generate_samples
from relevo.runtime.session import load_session

if TYPE_CHECKING:
    from relevo.package.samples import Samples

_FLOATS = ("tensor(float)", "tensor(double)", "tensor(float16)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the file tells of itself; lives as long as one conversion."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    producer: str


def convert_onnx(
    data: bytes,
    samples: Samples | None,
    hints: ConversionHints | None = None,
    *,
    outputs: Any = None,
    generated: bool = False,
) -> ConvertedModel:
    """The file with a signature.

    generated: whether the samples were made here.
    outputs: the original's scores (n, columns), where somebody has them.
    Raises InvalidOnnxError, InvalidOptionsError naming every thing only a person can tell, ConversionError.
    """
    told = hints or ConversionHints()
    audit(data)
    onnx, labels = without_zipmap(data)
    facts = read_facts(onnx)
    wanted, steps = read_input(facts.inputs, samples, told)
    scores = _scores_output(facts, told)
    first = ConvertedModel(
        onnx=onnx,
        input=wanted,
        steps=steps,
        output=Output(name=scores.name, task=Task.REGRESSION),
        framework=f"onnx ({facts.producer})" if facts.producer else "onnx",
        converter={} if onnx is data else {"relevo": "ZipMap removed"},
        outputs=None if outputs is None else np.asarray(outputs, dtype=np.float64).reshape(len(outputs), -1),
    )
    given = samples or generate_samples(wanted, rows=8)
    output = output_of(first, given, told, labels=labels, generated=generated or samples is None)
    found = replace(first, output=output, classes=labels if output.labels else ())
    refuse_other_answers(found, facts.outputs, given, labels, output.labels)
    return found


def read_facts(onnx: bytes) -> Facts:
    """Inputs, outputs and producer of an audited file. Raises InvalidOnnxError."""
    # One thread: behind the walls no further one can be started.
    session = load_session(onnx)
    return Facts(
        inputs=tuple(Tensor(name=node.name, kind=node.type, shape=tuple(node.shape)) for node in session.get_inputs()),
        outputs=tuple(Tensor(name=node.name, kind=node.type, shape=tuple(node.shape or ())) for node in session.get_outputs()),
        producer=str(session.get_modelmeta().producer_name)[:40],
    )


def _scores_output(facts: Facts, hints: ConversionHints) -> Tensor:
    names = ", ".join(tensor.name for tensor in facts.outputs)
    if hints.output is not None:
        for tensor in facts.outputs:
            if tensor.name == hints.output.name:
                return tensor
        raise InvalidOptionsError(options=f"an output the file has ({names})")
    floats = [tensor for tensor in facts.outputs if tensor.kind in _FLOATS]
    if not floats:
        raise ConversionError(reason=f"none of its outputs ({names}) is a tensor of scores")
    if len(floats) > 1:
        raise InvalidOptionsError(
            options=f"the output that holds the scores (one of {', '.join(tensor.name for tensor in floats)})"
        )
    return floats[0]
