"""A fitted scikit-learn model to ONNX: of the ways to write it, the first that answers as the original does.

    model ─ look_at ─► task, classes          samples ─ layouts ─► double | single precision, matrix | columns | image
                 └──────────── skl2onnx ───────────┘ ─ keep the scores ─ serve the samples ─ compare ─► Converted

Linear models, SVMs and networks are written in double precision, as scikit-learn computes; trees compare in single precision, as
scikit-learn does. What comes out is only a candidate: `relevo.package.parity` decides.
"""

from __future__ import annotations

import warnings
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from relevo.errors import ConversionFailed, ExtraMissing, InputRefused, RelevoError
from relevo.package.convert.converted import Converted, Hints
from relevo.package.convert.estimators import look_at, one_line
from relevo.package.convert.graph import only_output, steady_bytes
from relevo.package.convert.layouts import Layout, layouts, original_input
from relevo.package.parity import default_tolerance, difference, served_scores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from relevo.package.convert.estimators import Estimator
    from relevo.package.samples import Samples


def convert_sklearn(model: Any, samples: Samples, hints: Hints | None = None) -> Converted:  # noqa: ANN401 - any fitted estimator
    """The model as ONNX, with the outputs the original gave for the samples.

    Raises ExtraMissing without skl2onnx, OptionsMissing when something only a person knows is missing, and ConversionFailed.
    """
    told = hints or Hints()
    estimator = look_at(model)
    return closest((partial(_candidate, estimator, layout, samples, told) for layout in layouts(estimator, samples, told)), samples)


def closest(attempts: Iterable[Callable[[], Converted]], samples: Samples) -> Converted:
    """The first that answers the samples within its tolerance, else the nearest. Raises ConversionFailed when none runs."""
    best: tuple[float, Converted] | None = None
    refusals: list[ConversionFailed] = []
    for attempt in attempts:
        try:
            candidate = attempt()
            gap = _gap(candidate, samples)
        except ConversionFailed as refusal:
            refusals.append(refusal)
            continue
        if best is None or gap < best[0]:
            best = (gap, candidate)
        if gap <= default_tolerance(candidate):
            break
    if best is None:
        raise refusals[0]
    return best[1]


def _candidate(estimator: Estimator, layout: Layout, samples: Samples, hints: Hints) -> Converted:
    outputs = estimator.ask(original_input(estimator, layout, samples))
    onnx, name = write_onnx(estimator, layout)
    return Converted(
        onnx=onnx,
        input=layout.input,
        steps=layout.steps,
        output=estimator.output(name, hints),
        framework=f"scikit-learn {version('scikit-learn')}",
        converter={library: version(library) for library in ("skl2onnx", "onnx")},
        outputs=outputs,
        classes=estimator.classes,
    )


def _gap(converted: Converted, samples: Samples) -> float:
    assert converted.outputs is not None  # noqa: S101 - every candidate has asked the original
    try:
        return float(difference(served_scores(converted, samples), converted.outputs).max())
    except InputRefused:
        raise
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
