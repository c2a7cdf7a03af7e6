"""A live Keras model as ONNX, in memory: TensorFlow traces it, tf2onnx writes it, and its names are made the same every time.

    model, tensors ─ tf.function(training=False) ─ tf2onnx ─ order ─ plain names ─ heavy weights ─► Graph(onnx, libraries)

Heavy weights go past tf2onnx (`keras_weights`).
The batch axis stays free. The same model packed twice must be the same bytes: so its nodes get an order of what they compute
(`keras_order`), and names in that order, since Keras numbers its layers by what was made before them.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from relevo.converters.keras.large_weights import HEAVY, StrippedGraph, fill, lightened, make_places
from relevo.converters.keras.node_order import sort_nodes
from relevo.converters.keras.silent_import import library, silence_stderr
from relevo.converters.sklearn.estimator import one_line
from relevo.errors import ConversionError, RelevoError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: Newest operator set that every ONNX Runtime this release allows can run, and that tf2onnx writes.
_OPSET = 17
SCORES = "scores"
_BATCH = "n"


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One input tensor of the model; lives as long as one conversion."""

    name: str
    dtype: str  # as ONNX is fed
    shape: tuple[int | None, ...]  # without the batch axis
    model_dtype: str = "float32"  # as the model wants it


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """The model as ONNX bytes with one output called `scores`."""

    onnx: bytes
    libraries: dict[str, str]


def write_graph(call: Callable[[list[Any]], Any], axes: Sequence[TensorSpec], *, heavy: int = HEAVY) -> Graph:
    """Trace `call`, which takes a list of tensors and gives one of shape (n, …), and write it.

    heavy: bytes from which a weight is put in after tf2onnx.
    Raises ConversionError, MissingDependencyError, MemoryError.
    """
    tensorflow, tf2onnx = library("tensorflow"), library("tf2onnx")
    signature = [tensorflow.TensorSpec((None, *one.shape), one.dtype, name=one.name) for one in axes]

    def scores(*tensors: Any) -> dict[str, Any]:
        cast = [tensorflow.cast(tensor, one.model_dtype) for tensor, one in zip(tensors, axes, strict=True)]
        found = call(cast)
        return {SCORES: tensorflow.reshape(found, (-1, 1)) if len(found.shape) == 1 else found}

    try:
        with warnings.catch_warnings(), silence_stderr():
            # Its own complaints about NumPy and protobuf are none of the user's.
            warnings.simplefilter("ignore")
            traced = tensorflow.function(scores, input_signature=signature, autograph=False)
            light = lightened(traced.get_concrete_function(), heavy=heavy)
            proto = _written(tf2onnx, traced, signature) if light is None else _written_light(tf2onnx, light)
    except (MemoryError, RelevoError):
        raise
    except Exception as cause:
        if isinstance(cause, tensorflow.errors.ResourceExhaustedError):
            raise MemoryError from cause  # noqa: TRY004 - it is no question of a type
        raise ConversionError(reason=f"tf2onnx cannot write this Keras model as ONNX ({one_line(cause)})") from cause
    _refuse_unknown(proto)
    places = {} if light is None else make_places(proto.graph, light.aside)
    sort_nodes(proto.graph, list(places))
    names = _plain_names(proto)
    fill(proto.graph, {names[name]: place for name, place in places.items()})
    return Graph(
        onnx=proto.SerializeToString(deterministic=True),
        libraries={"tf2onnx": str(tf2onnx.__version__), "tensorflow": str(tensorflow.__version__), "onnx": version("onnx")},
    )


def _written(tf2onnx: Any, traced: Any, signature: list[Any]) -> Any:
    proto, _ = tf2onnx.convert.from_function(traced, input_signature=signature, opset=_OPSET)
    return proto


def _written_light(tf2onnx: Any, light: StrippedGraph) -> Any:
    """The same without the heavy weights, which are inputs for the time being."""
    inputs = [*light.inputs, *light.aside]
    proto, _ = tf2onnx.convert.from_graph_def(
        light.graph_def,
        input_names=[f"{name}:0" for name in inputs],
        output_names=[light.output],
        opset=_OPSET,
        tensors_to_rename={**{f"{name}:0": name for name in inputs}, light.output: SCORES},
    )
    return proto


def _refuse_unknown(proto: Any) -> None:
    """tf2onnx leaves in what it does not know, and only logs it. Raises ConversionError."""
    import onnx

    unknown = {node.op_type for node in proto.graph.node if not onnx.defs.has(node.op_type, node.domain)}
    if unknown:
        raise ConversionError(reason=f"the model uses operations that ONNX has not: {', '.join(sorted(unknown))[:200]}")


def _plain_names(proto: Any) -> dict[str, str]:
    """Rename every tensor and node by its place, inner graphs included; inputs and the output keep theirs. Old names to new."""
    kept = {value.name for value in (*proto.graph.input, *proto.graph.output)}
    names = {"": "", **{name: name for name in kept}}
    _rename(proto.graph, names)
    proto.graph.name, proto.graph.doc_string, proto.doc_string = "model", "", ""
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = _BATCH
    del proto.graph.value_info[:]
    return names


def _rename(graph: Any, names: dict[str, str]) -> None:
    for value in (*graph.input, *graph.output):
        value.name = _name(value.name, names)
    for place, node in enumerate(graph.node):
        node.name, node.doc_string = f"{node.op_type}_{place}", ""
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
