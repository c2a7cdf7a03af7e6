"""Exports graphs that match the original bit for bit, or nearly: preceding steps by skl2onnx in double precision, the last step by us.

Pipeline[:-1] ─ skl2onnx ───┐
last step ─ linear | trees ─┴─ concatenated ─► ExportedGraph
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from relevo import __version__
from relevo.converters.boosting.booster import is_booster, model_structure
from relevo.converters.graphs.linear import Linear, read_linear, write_linear
from relevo.converters.graphs.trees import Ensemble, read_ensemble, write_ensemble
from relevo.converters.onnx_graph import ExportedGraph, concat_graphs, deterministic_bytes
from relevo.converters.sklearn.skl2onnx_export import export, input_names, library_versions
from relevo.errors import ConversionError

if TYPE_CHECKING:
    from relevo.converters.sklearn.estimator import Estimator
    from relevo.converters.sklearn.input_layouts import Layout

_OUTPUT = "scores"


def can_be_exact(estimator: Estimator, layout: Layout) -> bool:
    """Whether we can export the last step exactly, and the layout feeds double precision."""
    if estimator.has_label_column or any(dtype == "float32" for _, dtype, _ in layout.tensors):
        return False
    if not hasattr(estimator.model, "steps") and (len(layout.tensors) != 1 or layout.tensors[0][1] != "float64"):
        return False
    if is_booster(estimator.final):
        return True
    return read_linear(estimator.final) is not None or read_ensemble(estimator.final) is not None


def write_exact(estimator: Estimator, layout: Layout) -> ExportedGraph:
    """Exports a model for which `can_be_exact` is true. Raises MissingDependencyError, ConversionError."""
    is_single_step = not hasattr(estimator.model, "steps") or len(estimator.model.steps) == 1
    name, _, width = layout.tensors[0]
    last_step, one_column = _write_last_step(
        estimator, width if is_single_step else _width(estimator.final), name if is_single_step else "joined"
    )
    if is_single_step:
        return ExportedGraph(
            onnx=deterministic_bytes(last_step), output=_OUTPUT, libraries={"relevo": __version__}, one_column=one_column
        )
    first_steps = export(estimator.model[:-1], layout, {})
    proto = concat_graphs(first_steps, last_step)
    inputs = input_names(proto)
    libraries = {"relevo": __version__, **library_versions()}
    return ExportedGraph(
        onnx=deterministic_bytes(proto),
        output=proto.graph.output[0].name,
        libraries=libraries,
        inputs=inputs,
        one_column=one_column,
    )


def _write_last_step(estimator: Estimator, width: int, input_name: str) -> tuple[Any, bool]:
    final = estimator.final
    structure = model_structure(final)
    if estimator.reads_sparse and isinstance(structure, Ensemble):
        structure = replace(structure, absent=0.0)
    linear = structure if isinstance(structure, Linear) else read_linear(final)
    if linear is not None:
        if linear.coef.shape[0] != width:
            raise ConversionError(reason=f"the model takes {linear.coef.shape[0]} numbers, the layout gives {width}")
        one_column = linear.coef.shape[1] == 1 and hasattr(final, "classes_")
        return write_linear(linear, input=input_name, output=_OUTPUT), one_column
    ensemble = structure if isinstance(structure, Ensemble) else read_ensemble(final)
    if ensemble is None:
        raise ConversionError(reason=f"a {type(final).__name__} cannot be written exactly")
    one_column = len(ensemble.base) == 1 and hasattr(final, "classes_")
    return write_ensemble(ensemble, width=width, input=input_name, output=_OUTPUT), one_column


def _width(final: Any) -> int:
    return int(getattr(final, "n_features_in_", 0) or final.coef_.shape[-1])
