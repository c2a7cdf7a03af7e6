"""Small surgery on an ONNX graph: only the scores leave it, and its bytes are the same each time.

skl2onnx graph (label, probabilities) ─ keep one output ─ drop what feeds nothing ─ steady names ─► bytes
one graph ─ joined to another ─► one graph
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

_PREFIX = "last/"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedGraph:
    """A model's graph as bytes; lives as long as one attempt."""

    onnx: bytes
    output: str
    libraries: dict[str, str]  # who wrote it → version
    inputs: tuple[str, ...] = ()  # what the graph calls its inputs, in the order of the layout; () where it calls them the same
    one_column: bool = False  # whether two labels are told by the probability of the second


def only_output(model: Any, position: int) -> str:
    """Leave the output at `position` alone, drop the nodes that then feed nothing, and return its name."""
    graph = model.graph
    kept = graph.output[position]
    name = str(kept.name)
    for index in reversed(range(len(graph.output))):
        if index != position:
            del graph.output[index]
    _drop_unused(graph, {name})
    return name


def with_label(model: Any, columns: int) -> str:
    """Leave one output: the scores (n, columns), then the label (n,), which is a place among them. Returns its name."""
    from onnx import helper, numpy_helper

    graph = model.graph
    label, scores = graph.output[0].name, graph.output[1]
    kind = scores.type.tensor_type.elem_type
    graph.initializer.append(numpy_helper.from_array(np.array([-1, 1], dtype=np.int64), "label/shape"))
    graph.node.extend(
        [
            helper.make_node("Reshape", [label, "label/shape"], ["label/column"]),
            helper.make_node("Cast", ["label/column"], ["label/place"], to=kind),
            helper.make_node("Concat", [scores.name, "label/place"], ["scores/label"], axis=1),
        ]
    )
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("scores/label", kind, [None, columns + 1]))
    return "scores/label"


def _drop_unused(graph: Any, needed: set[str]) -> None:
    for index in reversed(range(len(graph.node))):
        node = graph.node[index]
        if needed.isdisjoint(node.output):
            del graph.node[index]
            continue
        needed |= names_read(node)
    for index in reversed(range(len(graph.initializer))):
        if graph.initializer[index].name not in needed:
            del graph.initializer[index]


def names_read(node: Any) -> set[str]:
    """Every name a node reads, those its subgraphs take from outside included."""
    names = set(node.input)
    for attribute in node.attribute:
        for inner in attribute.g, *attribute.graphs:
            for other in inner.node:
                names |= names_read(other)
            names |= {output.name for output in inner.output}
    return names


def inputs_read(data: bytes) -> set[str]:
    """The inputs of the graph that one of its nodes, or an output, reads."""
    import onnx

    graph = onnx.load_model_from_string(data).graph
    read = {one.name for one in graph.output}.union(*(names_read(node) for node in graph.node))
    return {one.name for one in graph.input if one.name in read}


def deterministic_bytes(model: Any) -> bytes:
    """Serialised with names of our own counting for everything but inputs and outputs, so that one model has one digest."""
    kept = {value.name: value.name for value in (*model.graph.input, *model.graph.output)}
    _name_steadily(model.graph, kept, "model")
    return bytes(model.SerializeToString(deterministic=True))


def _name_steadily(graph: Any, outer: dict[str, str], name: str) -> None:
    """Rename what the graph itself makes; names of the graphs around it are known inside."""
    names = dict(outer)
    made = [value.name for value in graph.input] + [constant.name for constant in graph.initializer]
    made += [output for node in graph.node for output in node.output]
    for place, old in enumerate(dict.fromkeys(made)):
        if old and (name != "model" or old not in outer):
            names[old] = f"{name}/{place}"
    graph.name = name
    del graph.value_info[:]
    for value in (*graph.input, *graph.output, *graph.initializer):
        value.name = names.get(value.name, value.name)
    for place, node in enumerate(graph.node):
        node.name = f"{name}/node{place}"
        node.input[:] = [names.get(old, old) for old in node.input]
        node.output[:] = [names.get(old, old) for old in node.output]
        for attribute in node.attribute:
            inner = [attribute.g] if attribute.HasField("g") else list(attribute.graphs)
            for number, part in enumerate(inner):
                _name_steadily(part, names, f"{name}/node{place}.{number}")


def concat_graphs(before: Any, last: Any) -> Any:
    """One model of two: the first output of `before`, cast to double, is the one input of `last`."""
    from onnx import TensorProto, helper

    entry = last.graph.input[0].name
    cast = helper.make_node("Cast", [before.graph.output[0].name], [_PREFIX + entry], to=TensorProto.DOUBLE)
    before.graph.node.append(cast)
    for node in last.graph.node:
        node.input[:] = [_PREFIX + name for name in node.input]
        node.output[:] = [_PREFIX + name for name in node.output]
        before.graph.node.append(node)
    for constant in last.graph.initializer:
        constant.name = _PREFIX + constant.name
        before.graph.initializer.append(constant)
    del before.graph.output[:]
    last.graph.output[0].name = _PREFIX + last.graph.output[0].name
    before.graph.output.append(last.graph.output[0])
    _raise_versions(before, last)
    return before


def _raise_versions(model: Any, other: Any) -> None:
    versions = {opset.domain: opset.version for opset in model.opset_import}
    for opset in other.opset_import:
        versions[opset.domain] = max(opset.version, versions.get(opset.domain, 0))
    del model.opset_import[:]
    for domain, number in sorted(versions.items()):
        model.opset_import.add(domain=domain, version=number)
    model.ir_version = max(model.ir_version, other.ir_version)


def fix_imputers(model: Any, statistics: Sequence[Any]) -> None:
    """Write imputers of doubles as Where(IsNaN): ONNX Runtime has none for doubles, and the operator keeps single precision only.

    statistics: what each fitted imputer fills in, in double precision.
    """
    from onnx import helper, numpy_helper

    for place, node in enumerate(list(model.graph.node)):
        filled = _doubles_of(node, statistics)
        if filled is None:
            continue
        name = f"{node.output[0]}/filled"
        model.graph.initializer.append(numpy_helper.from_array(filled, name))
        position = list(model.graph.node).index(node)
        asked = helper.make_node("IsNaN", [node.input[0]], [f"{node.output[0]}/absent"], name=f"absent/{place}")
        chosen = helper.make_node(
            "Where", [f"{node.output[0]}/absent", name, node.input[0]], list(node.output), name=f"filled/{place}"
        )
        model.graph.node.remove(node)
        model.graph.node.insert(position, chosen)
        model.graph.node.insert(position, asked)


def _doubles_of(node: Any, statistics: Sequence[Any]) -> Any:
    if node.op_type != "Imputer":
        return None
    told = {attribute.name: attribute for attribute in node.attribute}
    if not np.isnan(told["replaced_value_float"].f if "replaced_value_float" in told else 0.0):
        return None
    single = np.array(told["imputed_value_floats"].floats, dtype=np.float32)
    for doubles in statistics:
        if np.asarray(doubles).dtype.kind == "f" and np.array_equal(np.asarray(doubles, dtype=np.float32), single):
            return np.asarray(doubles, dtype=np.float64)
    return None
