"""Exports a live Keras model to ONNX in memory with tf2onnx, deterministically.

    model, tensors ─ tf.function(training=False) ─ tf2onnx ─ node order ─ plain names ─ large weights ─► Graph(onnx, libraries)

Large weights bypass tf2onnx (`large_weights`). The batch axis stays free. Packing the same model twice must give the same bytes, but
Keras numbers layers by what was created before them; so nodes are ordered by what they compute (`node_order`), and named in that order.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from relevo.converters.keras.large_weights import LARGE_WEIGHT_BYTES, StrippedGraph, fill_weights, reserve_weights, strip_weights
from relevo.converters.keras.node_order import sort_nodes
from relevo.converters.keras.silent_import import library, silence_stderr
from relevo.converters.sklearn.estimator import one_line
from relevo.errors import ConversionError, RelevoError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: Newest opset that every allowed ONNX Runtime supports and tf2onnx can write.
_OPSET = 17
SCORES = "scores"
_BATCH = "n"


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One input tensor of the model. Lifetime: one conversion."""

    name: str
    dtype: str  # of the ONNX input
    shape: tuple[int | None, ...]  # without the batch axis
    model_dtype: str = "float32"  # of the model's input


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """The model as ONNX bytes with one output called `scores`."""

    onnx: bytes
    libraries: dict[str, str]


def write_graph(call: Callable[[list[Any]], Any], axes: Sequence[TensorSpec], *, large: int = LARGE_WEIGHT_BYTES) -> Graph:
    """Traces `call`, which takes a list of tensors and returns one of shape (n, …), and exports it.

    large: weights of at least this many bytes are inserted after tf2onnx.
    Raises ConversionError, MissingDependencyError, MemoryError.
    """
    tensorflow, tf2onnx = library("tensorflow"), library("tf2onnx")
    signature = [tensorflow.TensorSpec((None, *axis.shape), axis.dtype, name=axis.name) for axis in axes]

    def scores(*tensors: Any) -> dict[str, Any]:
        cast = [tensorflow.cast(tensor, axis.model_dtype) for tensor, axis in zip(tensors, axes, strict=True)]
        result = call(cast)
        return {SCORES: tensorflow.reshape(result, (-1, 1)) if len(result.shape) == 1 else result}

    try:
        with warnings.catch_warnings(), silence_stderr():
            # tf2onnx's own warnings about NumPy and protobuf do not concern the user.
            warnings.simplefilter("ignore")
            traced = tensorflow.function(scores, input_signature=signature, autograph=False)
            stripped = strip_weights(traced.get_concrete_function(), large=large)
            proto = _export(tf2onnx, traced, signature) if stripped is None else _export_stripped(tf2onnx, stripped)
    except (MemoryError, RelevoError):
        raise
    except Exception as cause:
        if isinstance(cause, tensorflow.errors.ResourceExhaustedError):
            raise MemoryError from cause  # noqa: TRY004 - not a type error
        raise ConversionError(reason=f"tf2onnx cannot write this Keras model as ONNX ({one_line(cause)})") from cause
    _reject_unknown(proto)
    slots = {} if stripped is None else reserve_weights(proto.graph, stripped.weights)
    sort_nodes(proto.graph, list(slots))
    names = _plain_names(proto)
    fill_weights(proto.graph, {names[name]: slot for name, slot in slots.items()})
    return Graph(
        onnx=proto.SerializeToString(deterministic=True),
        libraries={"tf2onnx": str(tf2onnx.__version__), "tensorflow": str(tensorflow.__version__), "onnx": version("onnx")},
    )


def _export(tf2onnx: Any, traced: Any, signature: list[Any]) -> Any:
    proto, _ = tf2onnx.convert.from_function(traced, input_signature=signature, opset=_OPSET)
    return proto


def _export_stripped(tf2onnx: Any, stripped: StrippedGraph) -> Any:
    """Exports the graph without the large weights, which are inputs for now."""
    inputs = [*stripped.inputs, *stripped.weights]
    proto, _ = tf2onnx.convert.from_graph_def(
        stripped.graph_def,
        input_names=[f"{name}:0" for name in inputs],
        output_names=[stripped.output],
        opset=_OPSET,
        tensors_to_rename={**{f"{name}:0": name for name in inputs}, stripped.output: SCORES},
    )
    return proto


def _reject_unknown(proto: Any) -> None:
    """Rejects operations that tf2onnx does not know: it keeps them and only logs it. Raises ConversionError."""
    import onnx

    unknown = {node.op_type for node in proto.graph.node if not onnx.defs.has(node.op_type, node.domain)}
    if unknown:
        raise ConversionError(reason=f"the model uses operations that ONNX has not: {', '.join(sorted(unknown))[:200]}")


def _plain_names(proto: Any) -> dict[str, str]:
    """Renames every tensor and node by position, inner graphs included, except inputs and output. Returns old name → new name."""
    fixed_names = {value.name for value in (*proto.graph.input, *proto.graph.output)}
    names = {"": "", **{name: name for name in fixed_names}}
    _rename(proto.graph, names)
    proto.graph.name, proto.graph.doc_string, proto.doc_string = "model", "", ""
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = _BATCH
    del proto.graph.value_info[:]
    return names


def _rename(graph: Any, names: dict[str, str]) -> None:
    for value in (*graph.input, *graph.output):
        value.name = _name(value.name, names)
    for index, node in enumerate(graph.node):
        node.name, node.doc_string = f"{node.op_type}_{index}", ""
        node.input[:] = [_name(name, names) for name in node.input]
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    inner.name = f"{node.name}_{attribute.name}"
                    _rename(inner, names)
        node.output[:] = [_name(name, names) for name in node.output]
    for weight in graph.initializer:
        weight.name, weight.doc_string = _name(weight.name, names), ""
    ordered = sorted(graph.initializer, key=lambda weight: (len(weight.name), weight.name))
    copies = [type(weight).FromString(weight.SerializeToString()) for weight in ordered]
    del graph.initializer[:]
    graph.initializer.extend(copies)


def _name(name: str, names: dict[str, str]) -> str:
    return names.setdefault(name, f"t{len(names)}")
