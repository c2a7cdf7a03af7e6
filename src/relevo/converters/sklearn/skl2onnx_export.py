"""skl2onnx asked for a graph, and its answer put right where ONNX Runtime or double precision needs it.

estimator, tensors ─ skl2onnx ─ imputers mended ─ scores alone ─► Written
"""

from __future__ import annotations

import copy
import warnings
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from relevo.converters.onnx_graph import ExportedGraph, deterministic_bytes, fix_imputers, only_output, with_label
from relevo.converters.sklearn.encoders import custom_converters
from relevo.converters.sklearn.estimator import one_line, parts_of
from relevo.errors import ConversionError, MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relevo.converters.sklearn.estimator import Estimator
    from relevo.converters.sklearn.input_layouts import Layout


def write_onnx(estimator: Estimator, layout: Layout) -> ExportedGraph:
    """The model's graph with its scores alone. Raises MissingDependencyError, ConversionError."""
    reason = "skl2onnx does not know it"
    if estimator.labelled:
        estimator = _counting(estimator)
    for options in _options(estimator):
        try:
            proto = ask(estimator.model, layout, options)
        except NameError as cause:  # this converter has no such option
            reason = one_line(cause)
            continue
        if estimator.labelled:
            name = with_label(proto, len(estimator.classes))
            return ExportedGraph(onnx=deterministic_bytes(proto), output=name, libraries=libraries(), inputs=inputs_of(proto))
        name = only_output(proto, 1 if estimator.classes and len(proto.graph.output) > 1 else 0)
        return ExportedGraph(onnx=deterministic_bytes(proto), output=name, libraries=libraries(), inputs=inputs_of(proto))
    raise ConversionError(reason=reason)


def _counting(estimator: Estimator) -> Estimator:
    """The same with its classes called 0, 1, …, so that the label it answers is a place."""
    final = copy.copy(estimator.final)
    try:
        final.classes_ = np.arange(len(estimator.classes))
    except AttributeError as cause:
        raise ConversionError(
            reason=f"a {type(final).__name__} answers other classes than its scores say, and how cannot be written as ONNX"
        ) from cause
    if estimator.final is estimator.model:
        return replace(estimator, model=final, final=final)
    whole = copy.copy(estimator.model)
    whole.steps = [*whole.steps[:-1], (whole.steps[-1][0], final)]
    return replace(estimator, model=whole, final=final)


def inputs_of(proto: Any) -> tuple[str, ...]:
    """What the graph calls its inputs: skl2onnx makes identifiers of the columns' names."""
    return tuple(str(value.name) for value in proto.graph.input)


def libraries() -> dict[str, str]:
    """Who converted it."""
    return {library: version(library) for library in ("skl2onnx", "onnx")}


def ask(model: Any, layout: Layout, options: dict[int, dict[str, Any]]) -> Any:
    """The graph as skl2onnx writes it, imputers mended. Raises MissingDependencyError, ConversionError, NameError on an unknown option."""
    try:
        from skl2onnx import convert_sklearn as write
        from skl2onnx.common import data_types
    except ImportError as cause:
        raise MissingDependencyError(extra="sklearn") from cause
    types = {
        "float64": data_types.DoubleTensorType,
        "float32": data_types.FloatTensorType,
        "int64": data_types.Int64TensorType,
        "string": data_types.StringTensorType,
    }
    inputs = [(name, types[dtype]([None, width])) for name, dtype, width in layout.tensors]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            proto = write(model, name="model", initial_types=inputs, options=options, **custom_converters(parts_of(model)))
    except NameError:
        raise
    except Exception as cause:
        raise ConversionError(reason=f"skl2onnx cannot write a part of it as ONNX ({one_line(cause)})") from cause
    fix_imputers(proto, [part.statistics_ for part in parts_of(model) if hasattr(part, "statistics_")])
    return proto


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
        if raw:
            yield {final: raw}
    yield {}
