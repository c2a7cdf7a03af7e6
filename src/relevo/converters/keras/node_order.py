"""The nodes of an ONNX graph in an order of what they compute, however the converter walked through them.

    weights, inputs ─ fingerprint ─► nodes: operation, attributes, what flows in ─ fingerprint ─► the smallest that may come next

A converter that walks through sets writes the same model in another order each time it is started, for Python salts its hashes.
Nodes that compute the very same thing may change places; whoever reads them cannot tell either.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Print = bytes


def sort_nodes(graph: Any, places: Sequence[str] = ()) -> None:
    """Reorder the nodes, inner graphs included. places: weights that are not filled in yet, in the model's order."""
    known = {name: _print("place", str(number)) for number, name in enumerate(places)}
    _order(graph, {**{value.name: _print("input", value.name) for value in graph.input}, **known})


def _order(graph: Any, outer: Mapping[str, Print]) -> Print:
    """Reorder one graph; gives the fingerprint of what it computes. outer: fingerprints of what it is given and sees around it."""
    known = {weight.name: _of_weight(weight) for weight in graph.initializer} | dict(outer)
    prints = []
    for node in graph.node:
        prints.append(_of_node(node, known))
        known |= {name: _print(prints[-1], str(number)) for number, name in enumerate(node.output)}
    ordered = [graph.node[at] for at in _in_turn(graph.node, prints)]
    copies = [type(node).FromString(node.SerializeToString()) for node in ordered]
    del graph.node[:]
    graph.node.extend(copies)
    return _print("graph", *(known.get(value.name, b"") for value in graph.output))


def _of_weight(weight: Any) -> Print:
    nameless = type(weight)()
    nameless.CopyFrom(weight)
    nameless.ClearField("name")
    return _print("weight", nameless.SerializeToString(deterministic=True))


def _of_node(node: Any, known: Mapping[str, Print]) -> Print:
    attributes = sorted(_of_attribute(attribute, known) for attribute in node.attribute)
    return _print("node", node.domain, node.op_type, *attributes, *(known.get(name, b"") for name in node.input))


def _of_attribute(attribute: Any, known: Mapping[str, Print]) -> Print:
    inner = [graph for graph in (attribute.g, *attribute.graphs) if graph.node]
    if inner:
        return _print("attribute", attribute.name, *(_of_inner(graph, known) for graph in inner))
    nameless = type(attribute)()
    nameless.CopyFrom(attribute)
    if nameless.HasField("t"):
        nameless.t.ClearField("name")
    return _print("attribute", nameless.SerializeToString(deterministic=True))


def _of_inner(graph: Any, known: Mapping[str, Print]) -> Print:
    given = {value.name: _print("given", str(number)) for number, value in enumerate(graph.input)}
    return _order(graph, {**known, **given})


def _in_turn(nodes: Sequence[Any], prints: Sequence[Print]) -> list[int]:
    """Places of the nodes, each after those it needs; where several may come, the one with the smallest fingerprint."""
    makers = {name: at for at, node in enumerate(nodes) for name in node.output if name}
    readers: defaultdict[int, set[int]] = defaultdict(set)
    for at, node in enumerate(nodes):
        for name in _read_by(node):
            if name in makers:
                readers[makers[name]].add(at)
    wanting = Counter(at for some in readers.values() for at in some)
    ready = [(prints[at], at) for at in range(len(nodes)) if not wanting[at]]
    heapq.heapify(ready)
    turn = []
    while ready:
        _, at = heapq.heappop(ready)
        turn.append(at)
        for reader in readers[at]:
            wanting[reader] -= 1
            if not wanting[reader]:
                heapq.heappush(ready, (prints[reader], reader))
    return turn


def _read_by(node: Any) -> Iterable[str]:
    """What a node reads, from inside its inner graphs too."""
    yield from node.input
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                yield from _read_by(inner)


def _print(*parts: str | bytes) -> Print:
    found = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        found.update(len(data).to_bytes(8, "little") + data)
    return found.digest()
