"""Small surgery on an ONNX graph: only the scores leave it, and its bytes are the same each time.

skl2onnx graph (label, probabilities) ─ keep one output ─ drop what feeds nothing ─ steady names ─► bytes
"""

from __future__ import annotations

from typing import Any


def only_output(model: Any, position: int) -> str:  # noqa: ANN401 - an onnx.ModelProto
    """Leave the output at `position` alone, drop the nodes that then feed nothing, and return its name."""
    graph = model.graph
    kept = graph.output[position]
    name = str(kept.name)
    for index in reversed(range(len(graph.output))):
        if index != position:
            del graph.output[index]
    _drop_unused(graph, {name})
    return name


def _drop_unused(graph: Any, needed: set[str]) -> None:  # noqa: ANN401 - an onnx.GraphProto
    for index in reversed(range(len(graph.node))):
        node = graph.node[index]
        if needed.isdisjoint(node.output):
            del graph.node[index]
            continue
        needed |= names_read(node)
    for index in reversed(range(len(graph.initializer))):
        if graph.initializer[index].name not in needed:
            del graph.initializer[index]


def names_read(node: Any) -> set[str]:  # noqa: ANN401 - an onnx.NodeProto
    """Every name a node reads, those its subgraphs take from outside included."""
    names = set(node.input)
    for attribute in node.attribute:
        for inner in attribute.g, *attribute.graphs:
            for other in inner.node:
                names |= names_read(other)
            names |= {output.name for output in inner.output}
    return names


def steady_bytes(model: Any) -> bytes:  # noqa: ANN401 - an onnx.ModelProto
    """Serialised with fixed names for graphs and nodes, so that one model has one digest."""
    _name_steadily(model.graph, "model")
    return bytes(model.SerializeToString(deterministic=True))


def _name_steadily(graph: Any, name: str) -> None:  # noqa: ANN401 - an onnx.GraphProto
    graph.name = name
    for index, node in enumerate(graph.node):
        node.name = f"{name}/{index}"
        for attribute in node.attribute:
            for number, inner in enumerate([attribute.g] if attribute.HasField("g") else attribute.graphs):
                _name_steadily(inner, f"{name}/{index}/{number}")
