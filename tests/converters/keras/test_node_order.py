"""Graph nodes get the same order independent of their previous order."""

from __future__ import annotations

import random
from typing import Any

import pytest

onnx = pytest.importorskip("onnx", reason="the extra keras is not installed")
from onnx import helper  # noqa: E402 - follows the question whether it is there

from relevo.converters.keras.node_order import sort_nodes  # noqa: E402 - as above

_FLOAT = onnx.TensorProto.FLOAT


def _graph(draw: random.Random) -> Any:
    """Branches that join again, one with inner graphs; the nodes in a random topological order."""
    node = helper.make_node
    weights = [helper.make_tensor(name, _FLOAT, [2], values) for name, values in (("w", [1, 2]), ("v", [3, 4]))]
    layers = [
        [node("Mul", ["x", "w"], ["a"]), node("Mul", ["x", "v"], ["b"]), node("Relu", ["x"], ["c"]), node("Neg", ["x"], ["d"])],
        [node("Add", ["a", "b"], ["e"]), node("Sub", ["c", "d"], ["f"]), node("Exp", ["d"], ["g"])],
        [node("If", ["yes"], ["h"], then_branch=_inner(draw, "Add"), else_branch=_inner(draw, "Mul")), node("Tanh", ["f"], ["i"])],
        [node("Sum", ["e", "g", "h", "i"], ["y"])],
    ]
    for layer in layers:
        draw.shuffle(layer)
    draw.shuffle(weights)
    inputs = [helper.make_tensor_value_info("x", _FLOAT, [2]), helper.make_tensor_value_info("yes", onnx.TensorProto.BOOL, [])]
    nodes = [one for layer in layers for one in layer]
    return helper.make_graph(nodes, "g", inputs, [helper.make_tensor_value_info("y", _FLOAT, [2])], weights)


def _inner(draw: random.Random, last: str) -> Any:
    nodes = [helper.make_node("Abs", ["e"], ["l"]), helper.make_node("Exp", ["f"], ["m"])]
    draw.shuffle(nodes)
    out = [helper.make_tensor_value_info("n", _FLOAT, [2])]
    return helper.make_graph([*nodes, helper.make_node(last, ["l", "m"], ["n"])], "inner", [], out)


def _ordered(seed: int) -> Any:
    graph = _graph(random.Random(seed))  # noqa: S311 - an order, no secret
    sort_nodes(graph)
    return graph


def test_equal_graphs_get_equal_order() -> None:
    """Twenty shuffles of one graph, inner graphs included, get the same order, and each can be run."""
    graphs = [_ordered(seed) for seed in range(20)]
    assert len({b"".join(node.SerializeToString(deterministic=True) for node in graph.node) for graph in graphs}) == 1
    made = {"x", "yes", "w", "v"}
    for node in graphs[0].node:
        assert made >= {*node.input}
        made |= {*node.output}
    assert len(graphs[0].node) == 10
    onnx.checker.check_graph(graphs[0])


def test_no_node_is_lost() -> None:
    """Weights that are inserted later are distinguished by position; no node and no edge is lost."""
    graph = _graph(random.Random(1))  # noqa: S311 - an order, no secret
    edges = {(node.op_type, tuple(node.input), tuple(node.output)) for node in graph.node}
    sort_nodes(graph, ["w", "v"])
    assert {(node.op_type, tuple(node.input), tuple(node.output)) for node in graph.node} == edges
