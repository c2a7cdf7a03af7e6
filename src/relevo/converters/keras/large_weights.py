"""Keeps large weights out of the tf2onnx export and inserts them into the finished graph.

    traced ─ frozen without the large weights ─ a placeholder for each ─► StrippedGraph ─ tf2onnx ─► ModelProto
    large weights ─ transposed as in the graph ─────────────────────────────── initializers ──────────┘

tf2onnx holds every constant in memory many times: frozen, folded, and again after each of its passes. With VGG19's 548 MiB that
took more than 15 GiB. Only weights that feed operators which accept any tensor as weight are kept out: tf2onnx recognises some
patterns (LSTM, normalisation) by their constants.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

#: Smallest size in bytes of a weight that is kept out; tf2onnx folds smaller ones into neighbouring nodes.
LARGE_WEIGHT_BYTES = 2**22
#: TensorFlow operators, and the indices of their inputs at which a weight may be any tensor.
_WEIGHT_INPUTS: dict[str, frozenset[int]] = {
    "Conv2D": frozenset({1}),
    "MatMul": frozenset({0, 1}),
    "BatchMatMulV2": frozenset({0, 1}),
    "GatherV2": frozenset({0}),
}
#: Operators that may stand between a variable and its readers.
_PASSING = ("Identity", "ReadVariableOp")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StrippedGraph:
    """A frozen graph without its large weights. Lifetime: one conversion."""

    graph_def: Any  # TensorFlow's GraphDef
    inputs: tuple[str, ...]  # names of the model's own inputs
    output: str  # its one output, as a tensor's name
    weights: Mapping[str, Any]  # placeholder → TensorFlow's variable


def strip_weights(function: Any, *, large: int = LARGE_WEIGHT_BYTES) -> StrippedGraph | None:
    """Freezes a traced function without its large weights. Returns None when no weight can be kept out.

    large: smallest size in bytes of a weight to keep out.
    """
    weights = {name: variable for name, variable in _weights(function) if _size(variable) >= large}
    # Which operators read a weight is known only after freezing, which inlines nested functions.
    while weights:
        graph_def = _freeze(function, weights)
        strippable = {name: variable for name, variable in weights.items() if _can_strip(name, graph_def)}
        if strippable == weights:
            return StrippedGraph(
                graph_def=_add_inputs(graph_def, weights),
                inputs=tuple(tensor.name.split(":")[0] for tensor in function.inputs if tensor.dtype.name != "resource"),
                output=function.outputs[0].name,
                weights=weights,
            )
        weights = strippable
    return None


def _weights(function: Any) -> Iterator[tuple[str, Any]]:
    """Yields the variables that a function reads, with their names in its graph."""
    variables = {id(variable.handle): variable for variable in function.graph.variables}
    for captured, placeholder in function.graph.captures:
        if id(captured) in variables:
            yield placeholder.name.split(":")[0], variables[id(captured)]


def _size(variable: Any) -> int:
    return int(np.prod(variable.shape.as_list(), dtype=np.int64)) * int(variable.dtype.size)


def _freeze(function: Any, excluded: Mapping[str, Any]) -> Any:
    """Like `convert_variables_to_constants_v2`, without the variables that are left out."""
    from tensorflow.python.framework import convert_to_constants as freezing  # type: ignore[import-untyped]

    data = freezing._FunctionConverterDataInEager(  # noqa: SLF001 - see above
        func=function, lower_control_flow=False, aggressive_inlining=True, variable_names_denylist=set(excluded)
    )
    graph_def, _ = freezing._replace_variables_by_constants(converter_data=data)  # noqa: SLF001 - see above
    return graph_def


def _can_strip(name: str, graph_def: Any) -> bool:
    """Whether every reader of this variable accepts any tensor as weight."""
    pending = [name]
    while pending:
        for node, index in _readers(pending.pop(), graph_def):
            if node.op in _PASSING:
                pending.append(node.name)
            elif index not in _WEIGHT_INPUTS.get(node.op, ()):
                return False
    return True


def _readers(name: str, graph_def: Any) -> list[tuple[Any, int]]:
    """Nodes that read a node's output, and the index of that input; control inputs do not count."""
    return [
        (node, index) for node in graph_def.node for index, input_name in enumerate(node.input) if input_name in (name, f"{name}:0")
    ]


def _add_inputs(graph_def: Any, weights: Mapping[str, Any]) -> Any:
    """Turns each weight that was left out into an input of the graph."""
    for node in graph_def.node:
        if node.name in weights:
            variable = weights[node.name]
            node.attr.clear()
            node.attr["dtype"].type = variable.dtype.base_dtype.as_datatype_enum
            node.attr["shape"].shape.CopyFrom(variable.shape.as_proto())
            _forward_value(node, graph_def)
    return graph_def


def _forward_value(weight: Any, graph_def: Any) -> None:
    """Makes nodes that forwarded the variable forward its value instead."""
    pending = [weight.name]
    while pending:
        for node, _ in _readers(pending.pop(), graph_def):
            if node.op == "Identity":
                pending.append(node.name)
            if node.op in _PASSING:
                node.op = "Identity"
                node.attr.clear()
                node.attr["T"].CopyFrom(weight.attr["dtype"])


# --- in the finished graph ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WeightSlot:
    """Where a weight belongs in the finished graph."""

    variable: Any  # TensorFlow's
    order: tuple[int, ...]  # of its axes there

    def values(self) -> NDArray[Any]:
        """Returns the numbers, transposed to that order."""
        return np.ascontiguousarray(np.transpose(self.variable.numpy(), self.order))


def reserve_weights(graph: Any, weights: Mapping[str, Any]) -> dict[str, WeightSlot]:
    """Replaces the inputs for weights by initializers without data; transposed already where the graph only transposes them.

    Returns the slot of each initializer, by name.
    """
    inputs = {value.name: value for value in graph.input}
    slots = {}
    for name, variable in weights.items():
        value = inputs.get(name)
        if value is None:  # unused
            continue
        order = _order(graph, name, len(variable.shape))
        dims = [variable.shape[axis] for axis in order]
        graph.initializer.add(name=name, dims=dims, data_type=value.type.tensor_type.elem_type)
        graph.input.remove(value)
        slots[name] = WeightSlot(variable=variable, order=order)
    return slots


def _order(graph: Any, name: str, axes: int) -> tuple[int, ...]:
    """The order of axes in which all readers use the weight; removes the nodes that transposed it."""
    unchanged = tuple(range(axes))
    readers = [node for node in graph.node if name in node.input]
    permutations = {_permutation(node) for node in readers}
    outputs = {value.name for value in graph.output}
    if len(permutations) != 1 or None in permutations or any(node.output[0] in outputs for node in readers):
        return unchanged
    removed = {node.output[0] for node in readers}
    for node in readers:
        graph.node.remove(node)
    for node in graph.node:
        node.input[:] = [name if input_name in removed else input_name for input_name in node.input]
    return next(permutation for permutation in permutations if permutation is not None)


def _permutation(node: Any) -> tuple[int, ...] | None:
    permutations = [tuple(attribute.ints) for attribute in node.attribute if attribute.name == "perm"]
    return permutations[0] if node.op_type == "Transpose" and permutations else None


def fill_weights(graph: Any, slots: Mapping[str, WeightSlot]) -> None:
    """Writes the data into the initializers, one weight after another."""
    for weight in graph.initializer:
        if weight.name in slots:
            weight.raw_data = slots[weight.name].values().tobytes()
