"""Exports an estimator with skl2onnx, and fixes its graph where ONNX Runtime or double precision needs it.

estimator, tensors ─ skl2onnx ─ imputers fixed ─ only the scores ─► ExportedGraph
"""

from __future__ import annotations

import copy
import warnings
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from relevo.converters.onnx_graph import ExportedGraph, append_label_column, deterministic_bytes, fix_imputers, keep_output
from relevo.converters.sklearn.encoders import custom_converters
from relevo.converters.sklearn.estimator import one_line, parts_of
from relevo.errors import ConversionError, MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relevo.converters.sklearn.estimator import Estimator
    from relevo.converters.sklearn.input_layouts import Layout


def write_onnx(estimator: Estimator, layout: Layout) -> ExportedGraph:
    """Exports the model with its scores as the only output. Raises MissingDependencyError, ConversionError."""
    reason = "skl2onnx does not know it"
    if estimator.has_label_column:
        estimator = _with_numbered_classes(estimator)
    for options in _options(estimator):
        try:
            proto = export(estimator.model, layout, options)
        except NameError as cause:  # this converter has no such option
            reason = one_line(cause)
            continue
        if estimator.has_label_column:
            name = append_label_column(proto, len(estimator.classes))
            return ExportedGraph(
                onnx=deterministic_bytes(proto), output=name, libraries=library_versions(), inputs=input_names(proto)
            )
        name = keep_output(proto, 1 if estimator.classes and len(proto.graph.output) > 1 else 0)
        return ExportedGraph(onnx=deterministic_bytes(proto), output=name, libraries=library_versions(), inputs=input_names(proto))
    raise ConversionError(reason=reason)


def _with_numbered_classes(estimator: Estimator) -> Estimator:
    """Renames the classes to 0, 1, …, so that the label output is a class index. Raises ConversionError."""
    final = copy.copy(estimator.final)
    try:
        final.classes_ = np.arange(len(estimator.classes))
    except AttributeError as cause:
        raise ConversionError(
            reason=f"a {type(final).__name__} answers other classes than its scores say, and how cannot be written as ONNX"
        ) from cause
    if estimator.final is estimator.model:
        return replace(estimator, model=final, final=final)
    pipeline = copy.copy(estimator.model)
    pipeline.steps = [*pipeline.steps[:-1], (pipeline.steps[-1][0], final)]
    return replace(estimator, model=pipeline, final=final)


def input_names(proto: Any) -> tuple[str, ...]:
    """The graph's input names: skl2onnx turns column names into identifiers."""
    return tuple(str(value.name) for value in proto.graph.input)


def library_versions() -> dict[str, str]:
    """The exporting libraries and their versions."""
    return {library: version(library) for library in ("skl2onnx", "onnx")}


def export(model: Any, layout: Layout, options: dict[int, dict[str, Any]]) -> Any:
    """Returns skl2onnx's graph with imputers fixed. Raises MissingDependencyError, ConversionError, NameError on an unknown option."""
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
    model_id, final_id = id(estimator.model), id(estimator.final)
    raw = {"raw_scores": True} if estimator.method == "decision_function" else {}
    if model_id == final_id:
        yield {model_id: {"zipmap": False, **raw}}
        yield {model_id: raw}
        yield {model_id: {"zipmap": False}}
    else:
        yield {model_id: {"zipmap": False}, **({final_id: raw} if raw else {})}
        if raw:
            yield {final_id: raw}
    yield {}
