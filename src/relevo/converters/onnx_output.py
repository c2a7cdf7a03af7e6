"""Finds the function that produces the scores of a graph, by walking back through nodes that keep the values' meaning.

    output ◄─ Identity, Cast, Reshape, × 100, … ◄─ Softmax | Sigmoid | Relu | Gemm | …  ─► OutputHead(kind, scale)

The graph alone proves little: `score_types` also compares it with measured scores.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from relevo.converters.onnx_nodes import read_graph

if TYPE_CHECKING:
    from relevo.converters.onnx_nodes import Graph, Node

Kind = Literal["softmax", "log_softmax", "sigmoid", "bounded", "tanh", "relu", "linear", "other"]

#: Nodes that return the values of their first input: all or some of them, reshaped or averaged.
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
_ACTIVATIONS: dict[str, Kind] = {
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
#: post_transform values of the operators of ai.onnx.ml.
_POST_TRANSFORMS: dict[str, Kind] = {"LOGISTIC": "sigmoid", "SOFTMAX": "softmax", "SOFTMAX_ZERO": "softmax", "PROBIT": "sigmoid"}
_FINAL = frozenset({"softmax", "sigmoid", "bounded"})
_MAX_STEPS = 10_000
_MAX_DEPTH = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputHead:
    """The function that produces the scores, and the factor they are multiplied with after it."""

    kind: Kind
    scale: float = 1.0  # of values that were in 0..1 before

    @property
    def is_final(self) -> bool:
        """Whether the scores always lie in 0..1."""
        return self.kind in _FINAL and math.isclose(self.scale, 1.0, rel_tol=1e-5)

    @property
    def is_percent(self) -> bool:
        """Whether the scores always lie in 0..100: values in 0..1, times 100."""
        return self.kind in _FINAL and math.isclose(self.scale, 100.0, rel_tol=1e-5)


_OTHER = OutputHead(kind="other")


def find_output_head(onnx: bytes, output: str) -> OutputHead:
    """Returns what produces that output of the graph. Raises InvalidOnnxError when the bytes were not audited."""
    graph = read_graph(onnx)
    return _Walk(functions=graph.functions).back(output, _Scope(graph=graph), 0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Scope:
    """A graph, and the call from which the inputs of a function come."""

    graph: Graph
    call: Node | None = None
    outer: _Scope | None = None


class _Walk:
    """One backward walk through a graph. Lifetime: one call of `find_output_head`."""

    def __init__(self, *, functions: dict[tuple[str, str], Graph]) -> None:
        self._functions = functions
        self._known: dict[tuple[int, str], OutputHead] = {}
        self._steps = 0

    def back(self, name: str, scope: _Scope, depth: int) -> OutputHead:
        """Returns what produces the tensor."""
        key = (id(scope), name)
        if key not in self._known:
            self._steps += 1
            if self._steps > _MAX_STEPS or depth > _MAX_DEPTH:
                return _OTHER
            self._known[key] = _OTHER  # stops at a cycle, which no valid graph has
            self._known[key] = self._from_graph(name, scope, depth + 1)
        return self._known[key]

    def _from_graph(self, name: str, scope: _Scope, depth: int) -> OutputHead:
        node = scope.graph.makers.get(name)
        if node is None:
            return self._from_caller(name, scope, depth)
        if (node.domain, node.op) in self._functions:
            inner = self._functions[node.domain, node.op]
            return self.back(inner.outputs[node.outputs.index(name)], _Scope(graph=inner, call=node, outer=scope), depth)
        return self._from_node(node, scope, depth)

    def _from_node(self, node: Node, scope: _Scope, depth: int) -> OutputHead:
        if node.op in _PASSING:
            return self._through_passing(node, scope, depth)
        if node.op == "Clip":
            return self._through_clip(node, scope, depth)
        if node.op in ("Add", "Sub", "Mul", "Div") and len(node.inputs) == 2:
            return self._through_arithmetic(node, scope, depth)
        is_log_softmax = node.op == "Log" and self.back(node.inputs[0], scope, depth).kind == "softmax"
        return OutputHead(kind="log_softmax") if is_log_softmax else _from_operator(node)

    def _from_caller(self, name: str, scope: _Scope, depth: int) -> OutputHead:
        """A function's input comes from its caller; a graph's own input is unknown."""
        if scope.call is None or scope.outer is None or name not in scope.graph.inputs:
            return _OTHER
        position = scope.graph.inputs.index(name)
        if position >= len(scope.call.inputs):
            return _OTHER
        return self.back(scope.call.inputs[position], scope.outer, depth)

    def _through_passing(self, node: Node, scope: _Scope, depth: int) -> OutputHead:
        constants = scope.graph.constants
        if node.op in ("Max", "Min") and any(name in constants for name in node.inputs):
            return _OTHER  # a bound, which shows in the measured scores
        names = node.inputs if node.op in _MERGING else node.inputs[:1]
        sources = [self.back(name, scope, depth) for name in names if name not in constants]
        kinds = {source.kind for source in sources}
        if len(set(sources)) == 1:
            return sources[0]
        if "linear" in kinds:
            return OutputHead(kind="linear")
        return OutputHead(kind="sigmoid") if kinds and all(source.is_final for source in sources) else _OTHER

    def _through_arithmetic(self, node: Node, scope: _Scope, depth: int) -> OutputHead:
        """Keeps a constant factor and treats 1 - p like p; of anything else only linearity is known."""
        constants = scope.graph.constants
        left, right = (_scalar(constants.get(name)) for name in node.inputs)
        sources = [self.back(name, scope, depth) for name in node.inputs if name not in constants]
        if len(sources) != 1:
            linear = node.op in ("Add", "Sub") and any(source.kind == "linear" for source in sources)
            return OutputHead(kind="linear") if linear else _OTHER
        source, scale = sources[0], sources[0].scale
        if node.op == "Mul" and (factor := left or right):
            return replace(source, scale=scale * factor)
        if node.op == "Div" and right:
            return replace(source, scale=scale / right)
        if node.op == "Sub" and left is not None and math.isclose(left, scale, rel_tol=1e-5) and source.kind in _FINAL:
            return replace(source, kind="sigmoid")
        linear = source.kind == "linear" and (node.op != "Div" or node.inputs[0] not in constants)
        return OutputHead(kind="linear") if linear else _OTHER

    def _through_clip(self, node: Node, scope: _Scope, depth: int) -> OutputHead:
        names = [*node.inputs[1:], "", ""]
        low = node.attributes.get("min", _scalar(scope.graph.constants.get(names[0])))
        high = node.attributes.get("max", _scalar(scope.graph.constants.get(names[1])))
        source = self.back(node.inputs[0], scope, depth)
        if source.kind in _FINAL:
            return source
        if low is not None and high is not None and 0 <= low < high:
            return OutputHead(kind="bounded", scale=high)
        if low == 0:
            return OutputHead(kind="relu")
        return _OTHER


def _from_operator(node: Node) -> OutputHead:
    if node.op in _ACTIVATIONS:
        return OutputHead(kind=_ACTIVATIONS[node.op])
    post_transform = node.attributes.get("post_transform", "NONE")
    if post_transform in _POST_TRANSFORMS:
        return OutputHead(kind=_POST_TRANSFORMS[post_transform])
    return OutputHead(kind="linear") if node.op in _LINEAR else _OTHER


def _scalar(array: Any) -> float | None:
    return float(array.reshape(-1)[0]) if array is not None and array.size == 1 else None
