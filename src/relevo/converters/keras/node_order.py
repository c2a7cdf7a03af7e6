"""Orders the nodes of an ONNX graph by what they compute, independent of the order in which the converter visited them.

    weights, inputs ─ fingerprint ─► nodes: operation, attributes, inputs ─ fingerprint ─► smallest fingerprint among ready nodes

A converter that iterates over sets writes the same model in another order in each process, because Python salts its hashes.
Nodes that compute the same may be swapped; that makes no difference to their readers.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Fingerprint = bytes


def sort_nodes(graph: Any, late_weights: Sequence[str] = ()) -> None:
    """Reorders the nodes, inner graphs included. late_weights: weights that are inserted later, in the model's order."""
    digests = {name: _digest("place", str(number)) for number, name in enumerate(late_weights)}
    _order(graph, {**{value.name: _digest("input", value.name) for value in graph.input}, **digests})


def _order(graph: Any, outer: Mapping[str, Fingerprint]) -> Fingerprint:
    """Reorders one graph and returns the fingerprint of what it computes. outer: fingerprints of its inputs and of enclosing graphs."""
    by_name = {weight.name: _weight_digest(weight) for weight in graph.initializer} | dict(outer)
    digests = []
    for node in graph.node:
        digests.append(_node_digest(node, by_name))
        by_name |= {name: _digest(digests[-1], str(number)) for number, name in enumerate(node.output)}
    ordered = [graph.node[index] for index in _topological_order(graph.node, digests)]
    copies = [type(node).FromString(node.SerializeToString()) for node in ordered]
    del graph.node[:]
    graph.node.extend(copies)
    return _digest("graph", *(by_name.get(value.name, b"") for value in graph.output))


def _weight_digest(weight: Any) -> Fingerprint:
    nameless = type(weight)()
    nameless.CopyFrom(weight)
    nameless.ClearField("name")
    return _digest("weight", nameless.SerializeToString(deterministic=True))


def _node_digest(node: Any, by_name: Mapping[str, Fingerprint]) -> Fingerprint:
    attributes = sorted(_attribute_digest(attribute, by_name) for attribute in node.attribute)
    return _digest("node", node.domain, node.op_type, *attributes, *(by_name.get(name, b"") for name in node.input))


def _attribute_digest(attribute: Any, by_name: Mapping[str, Fingerprint]) -> Fingerprint:
    inner = [graph for graph in (attribute.g, *attribute.graphs) if graph.node]
    if inner:
        return _digest("attribute", attribute.name, *(_inner_digest(graph, by_name) for graph in inner))
    nameless = type(attribute)()
    nameless.CopyFrom(attribute)
    if nameless.HasField("t"):
        nameless.t.ClearField("name")
    return _digest("attribute", nameless.SerializeToString(deterministic=True))


def _inner_digest(graph: Any, by_name: Mapping[str, Fingerprint]) -> Fingerprint:
    inner_inputs = {value.name: _digest("given", str(number)) for number, value in enumerate(graph.input)}
    return _order(graph, {**by_name, **inner_inputs})


def _topological_order(nodes: Sequence[Any], digests: Sequence[Fingerprint]) -> list[int]:
    """Node indices in topological order; among several ready nodes the one with the smallest fingerprint comes first."""
    makers = {name: index for index, node in enumerate(nodes) for name in node.output if name}
    readers: defaultdict[int, set[int]] = defaultdict(set)
    for index, node in enumerate(nodes):
        for name in _names_read(node):
            if name in makers:
                readers[makers[name]].add(index)
    unmet = Counter(index for indices in readers.values() for index in indices)
    ready = [(digests[index], index) for index in range(len(nodes)) if not unmet[index]]
    heapq.heapify(ready)
    order = []
    while ready:
        _, index = heapq.heappop(ready)
        order.append(index)
        for reader in readers[index]:
            unmet[reader] -= 1
            if not unmet[reader]:
                heapq.heappush(ready, (digests[reader], reader))
    return order


def _names_read(node: Any) -> Iterable[str]:
    """Names that a node reads, including those read by its inner graphs."""
    yield from node.input
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                yield from _names_read(inner)


def _digest(*parts: str | bytes) -> Fingerprint:
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.digest()
