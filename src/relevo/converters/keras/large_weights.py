"""Heavy weights stand aside while tf2onnx writes a graph, and are put into the finished one.

    traced ─ frozen, but for the heavy ─ a placeholder for each ─► Lightened ─ tf2onnx ─► ModelProto
    the heavy ─ turned as the graph turns them ───────────────────────── initializers ─────────┘

tf2onnx holds every constant many times over: frozen, folded, once more after each of its passes. With VGG19's 548 MiB among them
that took more than 15 GiB. Only weights that go straight into operators which take any tensor for a weight stand aside: where
tf2onnx knows a whole pattern (an LSTM's, a normalisation's) it knows it by its constants.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

#: Bytes from which a weight stands aside; lighter ones are folded into their neighbours by tf2onnx.
HEAVY = 2**22
#: TensorFlow's operators, and at which of their inputs a weight may come as any tensor does.
_TAKERS: dict[str, frozenset[int]] = {
    "Conv2D": frozenset({1}),
    "MatMul": frozenset({0, 1}),
    "BatchMatMulV2": frozenset({0, 1}),
    "GatherV2": frozenset({0}),
}
#: Operators between a variable and who needs its numbers.
_PASSING = ("Identity", "ReadVariableOp")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StrippedGraph:
    """A frozen graph without its heavy weights; lives as long as one conversion."""

    graph_def: Any  # TensorFlow's GraphDef
    inputs: tuple[str, ...]  # names of the model's own inputs
    output: str  # its one output, as a tensor's name
    aside: Mapping[str, Any]  # placeholder → TensorFlow's variable


def lightened(function: Any, *, heavy: int = HEAVY) -> StrippedGraph | None:
    """Freeze a traced function, the heavy weights left out. None when none of its weights can stand aside.

    heavy: bytes from which a weight does.
    """
    weights = {name: variable for name, variable in _weights(function) if _size(variable) >= heavy}
    # Which operators read a weight is seen only after nested functions were written out, and that is done by the freezing.
    while weights:
        graph_def = _frozen(function, weights)
        kept = {name: variable for name, variable in weights.items() if _stands_aside(name, graph_def)}
        if kept == weights:
            return StrippedGraph(
                graph_def=_opened(graph_def, weights),
                inputs=tuple(one.name.split(":")[0] for one in function.inputs if one.dtype.name != "resource"),
                output=function.outputs[0].name,
                aside=weights,
            )
        weights = kept
    return None


def _weights(function: Any) -> Iterator[tuple[str, Any]]:
    """The variables that a function reads, by the names under which its graph knows them."""
    variables = {id(variable.handle): variable for variable in function.graph.variables}
    for outside, inside in function.graph.captures:
        if id(outside) in variables:
            yield inside.name.split(":")[0], variables[id(outside)]


def _size(variable: Any) -> int:
    return int(np.prod(variable.shape.as_list(), dtype=np.int64)) * int(variable.dtype.size)


def _frozen(function: Any, left_out: Mapping[str, Any]) -> Any:
    """What `convert_variables_to_constants_v2` does, but for the variables that are left out."""
    from tensorflow.python.framework import convert_to_constants as freezing  # type: ignore[import-untyped]

    data = freezing._FunctionConverterDataInEager(  # noqa: SLF001 - see above
        func=function, lower_control_flow=False, aggressive_inlining=True, variable_names_denylist=set(left_out)
    )
    graph_def, _ = freezing._replace_variables_by_constants(converter_data=data)  # noqa: SLF001 - see above
    return graph_def


def _stands_aside(name: str, graph_def: Any) -> bool:
    """Whether everything that reads this variable takes any tensor for a weight."""
    waiting = [name]
    while waiting:
        for node, place in _readers(waiting.pop(), graph_def):
            if node.op in _PASSING:
                waiting.append(node.name)
            elif place not in _TAKERS.get(node.op, ()):
                return False
    return True


def _readers(name: str, graph_def: Any) -> list[tuple[Any, int]]:
    """Nodes that read what a node gives, and at which of their inputs; who only waits for it does not read."""
    return [(node, place) for node in graph_def.node for place, given in enumerate(node.input) if given in (name, f"{name}:0")]


def _opened(graph_def: Any, weights: Mapping[str, Any]) -> Any:
    """The graph with an input of its own for each weight that was left out."""
    for node in graph_def.node:
        if node.name in weights:
            variable = weights[node.name]
            node.attr.clear()
            node.attr["dtype"].type = variable.dtype.base_dtype.as_datatype_enum
            node.attr["shape"].shape.CopyFrom(variable.shape.as_proto())
            _pass_on(node, graph_def)
    return graph_def


def _pass_on(weight: Any, graph_def: Any) -> None:
    """What handed on the variable hands on its numbers now, and who read it has them already."""
    waiting = [weight.name]
    while waiting:
        for node, _ in _readers(waiting.pop(), graph_def):
            if node.op == "Identity":
                waiting.append(node.name)
            if node.op in _PASSING:
                node.op = "Identity"
                node.attr.clear()
                node.attr["T"].CopyFrom(weight.attr["dtype"])


# --- in the finished graph ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WeightSlot:
    """Where a weight goes in the finished graph."""

    variable: Any  # TensorFlow's
    order: tuple[int, ...]  # of its axes there

    def values(self) -> NDArray[Any]:
        """The numbers, in that order."""
        return np.ascontiguousarray(np.transpose(self.variable.numpy(), self.order))


def make_places(graph: Any, aside: Mapping[str, Any]) -> dict[str, WeightSlot]:
    """Initializers without numbers in place of the inputs for weights; turned already where the graph only turns them.

    Returns what belongs into each of them, by its name.
    """
    inputs = {value.name: value for value in graph.input}
    places = {}
    for name, variable in aside.items():
        value = inputs.get(name)
        if value is None:  # nothing needs it
            continue
        order = _order(graph, name, len(variable.shape))
        dims = [variable.shape[axis] for axis in order]
        graph.initializer.add(name=name, dims=dims, data_type=value.type.tensor_type.elem_type)
        graph.input.remove(value)
        places[name] = WeightSlot(variable=variable, order=order)
    return places


def _order(graph: Any, name: str, axes: int) -> tuple[int, ...]:
    """The axes' order in which all readers want the weight; the nodes that turned it are gone afterwards."""
    as_it_is = tuple(range(axes))
    readers = [node for node in graph.node if name in node.input]
    turns = {_turn(node) for node in readers}
    outputs = {value.name for value in graph.output}
    if len(turns) != 1 or None in turns or any(node.output[0] in outputs for node in readers):
        return as_it_is
    gone = {node.output[0] for node in readers}
    for node in readers:
        graph.node.remove(node)
    for node in graph.node:
        node.input[:] = [name if given in gone else given for given in node.input]
    return next(turn for turn in turns if turn is not None)


def _turn(node: Any) -> tuple[int, ...] | None:
    told = [tuple(attribute.ints) for attribute in node.attribute if attribute.name == "perm"]
    return told[0] if node.op_type == "Transpose" and told else None


def fill(graph: Any, places: Mapping[str, WeightSlot]) -> None:
    """Put the numbers into their initializers, one weight after the other."""
    for weight in graph.initializer:
        if weight.name in places:
            weight.raw_data = places[weight.name].values().tobytes()
