"""How a graph ends: the function that its scores come out of, found by walking back through nodes that change no value's meaning.

    output ◄─ Identity, Cast, Reshape, × 100, … ◄─ Softmax | Sigmoid | Relu | Gemm | …  ─► Ending(kind, scale)

The graph alone proves little: `scores` holds it against what the model was measured to answer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from relevo.converters.onnx_nodes import read_graph

if TYPE_CHECKING:
    from relevo.converters.onnx_nodes import Graph, Node

Kind = Literal["softmax", "log_softmax", "sigmoid", "bounded", "tanh", "relu", "linear", "other"]

#: Nodes whose first input comes out with the same values, some of them left out, in another shape, or averaged.
_PASSING = frozenset(
    {
        *("Identity", "Cast", "CastLike", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Dropout", "Expand", "Tile"),
        *("Slice", "Gather", "GatherElements", "GatherND", "Split", "ArrayFeatureExtractor", "DequantizeLinear", "QuantizeLinear"),
        *("ReduceMean", "ReduceMax", "ReduceMin", "GlobalAveragePool", "GlobalMaxPool", "AveragePool", "MaxPool", "Pad"),
        *("SequenceAt", "Concat", "Max", "Min", "Mean"),
    }
)
_MERGING = frozenset({"Concat", "Max", "Min", "Mean"})
_LINEAR = frozenset(
    {
        *("Gemm", "MatMul", "Conv", "ConvTranspose", "Einsum", "MatMulInteger", "FusedMatMul", "FusedGemm", "QLinearMatMul"),
        *("QLinearConv", "QGemm", "DynamicQuantizeMatMul", "MatMulIntegerToFloat", "BatchNormalization", "LayerNormalization"),
        *("LinearRegressor", "LinearClassifier", "SVMRegressor"),
    }
)
_ENDS: dict[str, Kind] = {
    "Softmax": "softmax",
    "QLinearSoftmax": "softmax",
    "LogSoftmax": "log_softmax",
    "Sigmoid": "sigmoid",
    "QLinearSigmoid": "sigmoid",
    "HardSigmoid": "bounded",
    "Tanh": "tanh",
    "Relu": "relu",
    "LeakyRelu": "linear",
}
#: What the operators of ai.onnx.ml do with their sums at the end.
_POST: dict[str, Kind] = {"LOGISTIC": "sigmoid", "SOFTMAX": "softmax", "SOFTMAX_ZERO": "softmax", "PROBIT": "sigmoid"}
_FINAL = frozenset({"softmax", "sigmoid", "bounded"})
_MOST_STEPS = 10_000
_MOST_DEPTH = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What the scores come out of, and the factor they are multiplied by after it."""

    kind: Kind
    scale: float = 1.0  # of what is bounded by 0 and 1 at first

    @property
    def is_final(self) -> bool:
        """Whether nothing but 0..1 can come out."""
        return self.kind in _FINAL and math.isclose(self.scale, 1.0, rel_tol=1e-5)

    @property
    def is_percent(self) -> bool:
        """Whether nothing but 0..100 can come out, of what was 0..1 before."""
        return self.kind in _FINAL and math.isclose(self.scale, 100.0, rel_tol=1e-5)


_OTHER = Ending(kind="other")


def ending_of(onnx: bytes, output: str) -> Ending:
    """How the graph ends before that output. Raises InvalidOnnxError when the bytes are not as audited."""
    graph = read_graph(onnx)
    return _Walk(functions=graph.functions).back(output, _Scope(graph=graph), 0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Scope:
    """A graph, and where the inputs of a function come from."""

    graph: Graph
    call: Node | None = None
    outer: _Scope | None = None


class _Walk:
    """One walk back; lives as long as the call of `ending_of`."""

    def __init__(self, *, functions: dict[tuple[str, str], Graph]) -> None:
        self._functions = functions
        self._known: dict[tuple[int, str], Ending] = {}
        self._steps = 0

    def back(self, name: str, scope: _Scope, depth: int) -> Ending:
        """What the tensor comes out of."""
        key = (id(scope), name)
        if key not in self._known:
            self._steps += 1
            if self._steps > _MOST_STEPS or depth > _MOST_DEPTH:
                return _OTHER
            self._known[key] = _OTHER  # a circle would be no graph; it ends here
            self._known[key] = self._found(name, scope, depth + 1)
        return self._known[key]

    def _found(self, name: str, scope: _Scope, depth: int) -> Ending:
        node = scope.graph.makers.get(name)
        if node is None:
            return self._from_caller(name, scope, depth)
        if (node.domain, node.op) in self._functions:
            inner = self._functions[node.domain, node.op]
            return self.back(inner.outputs[node.outputs.index(name)], _Scope(graph=inner, call=node, outer=scope), depth)
        return self._of_node(node, scope, depth)

    def _of_node(self, node: Node, scope: _Scope, depth: int) -> Ending:
        if node.op in _PASSING:
            return self._passed(node, scope, depth)
        if node.op == "Clip":
            return self._clipped(node, scope, depth)
        if node.op in ("Add", "Sub", "Mul", "Div") and len(node.inputs) == 2:
            return self._arithmetic(node, scope, depth)
        of_softmax = node.op == "Log" and self.back(node.inputs[0], scope, depth).kind == "softmax"
        return Ending(kind="log_softmax") if of_softmax else _end(node)

    def _from_caller(self, name: str, scope: _Scope, depth: int) -> Ending:
        """A function's input is what its caller gives; a graph's own input comes as it is."""
        if scope.call is None or scope.outer is None or name not in scope.graph.inputs:
            return _OTHER
        place = scope.graph.inputs.index(name)
        if place >= len(scope.call.inputs):
            return _OTHER
        return self.back(scope.call.inputs[place], scope.outer, depth)

    def _passed(self, node: Node, scope: _Scope, depth: int) -> Ending:
        constants = scope.graph.constants
        if node.op in ("Max", "Min") and any(name in constants for name in node.inputs):
            return _OTHER  # a bound, which measuring sees
        taken = node.inputs if node.op in _MERGING else node.inputs[:1]
        found = [self.back(name, scope, depth) for name in taken if name not in constants]
        kinds = {one.kind for one in found}
        if len(set(found)) == 1:
            return found[0]
        if "linear" in kinds:
            return Ending(kind="linear")
        return Ending(kind="sigmoid") if kinds and all(one.is_final for one in found) else _OTHER

    def _arithmetic(self, node: Node, scope: _Scope, depth: int) -> Ending:
        """A factor is kept, 1 - p is as p; of anything else only that it is linear."""
        known = scope.graph.constants
        left, right = (_scalar(known.get(name)) for name in node.inputs)
        sides = [self.back(name, scope, depth) for name in node.inputs if name not in known]
        if len(sides) != 1:
            linear = node.op in ("Add", "Sub") and any(side.kind == "linear" for side in sides)
            return Ending(kind="linear") if linear else _OTHER
        side, scale = sides[0], sides[0].scale
        if node.op == "Mul" and (factor := left or right):
            return replace(side, scale=scale * factor)
        if node.op == "Div" and right:
            return replace(side, scale=scale / right)
        if node.op == "Sub" and left is not None and math.isclose(left, scale, rel_tol=1e-5) and side.kind in _FINAL:
            return replace(side, kind="sigmoid")
        linear = side.kind == "linear" and (node.op != "Div" or node.inputs[0] not in known)
        return Ending(kind="linear") if linear else _OTHER

    def _clipped(self, node: Node, scope: _Scope, depth: int) -> Ending:
        names = [*node.inputs[1:], "", ""]
        low = node.attributes.get("min", _scalar(scope.graph.constants.get(names[0])))
        high = node.attributes.get("max", _scalar(scope.graph.constants.get(names[1])))
        before = self.back(node.inputs[0], scope, depth)
        if before.kind in _FINAL:
            return before
        if low is not None and high is not None and 0 <= low < high:
            return Ending(kind="bounded", scale=high)
        if low == 0:
            return Ending(kind="relu")
        return _OTHER


def _end(node: Node) -> Ending:
    if node.op in _ENDS:
        return Ending(kind=_ENDS[node.op])
    told = node.attributes.get("post_transform", "NONE")
    if told in _POST:
        return Ending(kind=_POST[told])
    return Ending(kind="linear") if node.op in _LINEAR else _OTHER


def _scalar(array: Any) -> float | None:
    return float(array.reshape(-1)[0]) if array is not None and array.size == 1 else None
