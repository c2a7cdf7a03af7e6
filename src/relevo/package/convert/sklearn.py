"""A fitted scikit-learn model to ONNX: of the ways to write it, the first that answers as the original does.

    model ─ look_at ─► task, classes          samples ─ layouts ─► double | single precision, matrix | columns | image
                 └──────────── skl2onnx ───────────┘ ─ keep the scores ─ serve the samples ─ compare ─► Converted

Linear models, SVMs and networks are written in double precision, as scikit-learn computes; trees compare in single precision, as
scikit-learn does. What comes out is only a candidate: `relevo.package.parity` decides.
"""

from __future__ import annotations

import warnings
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from relevo.errors import ConversionFailed, ExtraMissing, RelevoError
from relevo.package.convert.converted import Converted, Hints
from relevo.package.convert.estimators import look_at, one_line
from relevo.package.convert.graph import only_output, steady_bytes
from relevo.package.convert.layouts import Layout, layouts, original_input
from relevo.package.parity import default_tolerance, difference, served_scores

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from relevo.package.convert.estimators import Estimator
    from relevo.package.samples import Samples


def convert_sklearn(model: Any, samples: Samples, hints: Hints | None = None) -> Converted:  # noqa: ANN401 - any fitted estimator
    """The model as ONNX, with the outputs the original gave for the samples.

    Raises ExtraMissing without skl2onnx, OptionsMissing when something only a person knows is missing, and ConversionFailed.
    """
    told = hints or Hints()
    estimator = look_at(model)
    best: tuple[float, Converted] | None = None
    complaints: list[str] = []
    for layout in layouts(estimator, samples, told):
        try:
            gap, candidate = _candidate(estimator, layout, samples, told)
        except ConversionFailed as refusal:
            complaints.append(str(refusal.facts["reason"]))
            continue
        if best is None or gap < best[0]:
            best = (gap, candidate)
        if gap <= default_tolerance(candidate):
            break
    if best is None:
        raise ConversionFailed(reason=complaints[0])
    return best[1]


def _candidate(estimator: Estimator, layout: Layout, samples: Samples, hints: Hints) -> tuple[float, Converted]:
    outputs = estimator.ask(original_input(estimator, layout, samples))
    onnx, name = write_onnx(estimator, layout)
    converted = Converted(
        onnx=onnx,
        input=layout.input,
        steps=layout.steps,
        output=estimator.output(name, hints),
        framework=f"scikit-learn {version('scikit-learn')}",
        converter={library: version(library) for library in ("skl2onnx", "onnx")},
        outputs=outputs,
    )
    return _gap(converted, samples, outputs), converted


def _gap(converted: Converted, samples: Samples, outputs: NDArray[np.float64]) -> float:
    try:
        return float(difference(served_scores(converted, samples), outputs).max())
    except RelevoError as cause:
        raise ConversionFailed(reason=f"the converted model does not run ({one_line(cause)})") from cause


def write_onnx(estimator: Estimator, layout: Layout) -> tuple[bytes, str]:
    """ONNX bytes with one output, and its name. Raises ExtraMissing, ConversionFailed."""
    try:
        from skl2onnx import convert_sklearn as write  # noqa: PLC0415 - an extra
        from skl2onnx.common import data_types  # noqa: PLC0415 - an extra
    except ImportError as cause:
        raise ExtraMissing(extra="sklearn") from cause
    types = {
        "float64": data_types.DoubleTensorType,
        "float32": data_types.FloatTensorType,
        "int64": data_types.Int64TensorType,
        "string": data_types.StringTensorType,
    }
    inputs = [(name, types[dtype]([None, width])) for name, dtype, width in layout.tensors]
    reason = "skl2onnx does not know it"
    for options in _options(estimator):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                proto = write(estimator.model, name="model", initial_types=inputs, options=options)
        except NameError as cause:  # this converter has no such option
            reason = one_line(cause)
            continue
        except Exception as cause:
            raise ConversionFailed(reason=one_line(cause)) from cause
        name = only_output(proto, 1 if estimator.classes and len(proto.graph.output) > 1 else 0)
        return steady_bytes(proto), name
    raise ConversionFailed(reason=reason)


def _options(estimator: Estimator) -> Iterator[dict[int, dict[str, Any]]]:
    if not estimator.classes:
        yield {}
        return
    whole, final = id(estimator.model), id(estimator.final)
    raw = {"raw_scores": True} if estimator.method == "decision_function" else {}
    if whole == final:
        yield {whole: {"zipmap": False, **raw}}
        yield {whole: raw}
        yield {whole: {"zipmap": False}}
    else:
        yield {whole: {"zipmap": False}, **({final: raw} if raw else {})}
    yield {}
