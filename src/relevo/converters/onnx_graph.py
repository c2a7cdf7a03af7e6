"""Edits ONNX graphs: keeps only the scores as output, joins two graphs, and makes the bytes deterministic.

skl2onnx graph (label, probabilities) ─ keep one output ─ drop unused nodes ─ deterministic names ─► bytes
graph ─ concatenated with another ─► one graph
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
    """A model's graph as bytes. Lifetime: one conversion attempt."""

    onnx: bytes
    output: str
    libraries: dict[str, str]  # library that exported it → version
    inputs: tuple[str, ...] = ()  # the graph's input names, in the order of the layout; () when they equal the layout's
    one_column: bool = False  # whether the probability of the second class stands for both


def keep_output(model: Any, position: int) -> str:
    """Keeps only the output at `position`, drops the nodes that then feed nothing, and returns the output's name."""
    graph = model.graph
    scores = graph.output[position]
    name = str(scores.name)
    for index in reversed(range(len(graph.output))):
        if index != position:
            del graph.output[index]
    _drop_unused(graph, {name})
    return name


def append_label_column(model: Any, columns: int) -> str:
    """Replaces the outputs by one: the scores (n, columns) followed by the label's class index (n,). Returns its name."""
    from onnx import helper, numpy_helper

    graph = model.graph
    label, scores = graph.output[0].name, graph.output[1]
    element_type = scores.type.tensor_type.elem_type
    graph.initializer.append(numpy_helper.from_array(np.array([-1, 1], dtype=np.int64), "label/shape"))
    graph.node.extend(
        [
            helper.make_node("Reshape", [label, "label/shape"], ["label/column"]),
            helper.make_node("Cast", ["label/column"], ["label/place"], to=element_type),
            helper.make_node("Concat", [scores.name, "label/place"], ["scores/label"], axis=1),
        ]
    )
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("scores/label", element_type, [None, columns + 1]))
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
    """Names that a node reads, including those that its subgraphs read from the enclosing graph."""
    names = set(node.input)
    for attribute in node.attribute:
        for inner in attribute.g, *attribute.graphs:
            for other in inner.node:
                names |= names_read(other)
            names |= {output.name for output in inner.output}
    return names


def inputs_read(data: bytes) -> set[str]:
    """Inputs of the graph that at least one node or output reads."""
    import onnx

    graph = onnx.load_model_from_string(data).graph
    used_names = {value.name for value in graph.output}.union(*(names_read(node) for node in graph.node))
    return {value.name for value in graph.input if value.name in used_names}


def deterministic_bytes(model: Any) -> bytes:
    """Serialises the model with numbered names for everything except inputs and outputs, so that one model has one digest."""
    fixed_names = {value.name: value.name for value in (*model.graph.input, *model.graph.output)}
    _rename_tensors(model.graph, fixed_names, "model")
    return bytes(model.SerializeToString(deterministic=True))


def _rename_tensors(graph: Any, outer: dict[str, str], name: str) -> None:
    """Renames the tensors that this graph defines; `outer` has the new names of the enclosing graphs."""
    names = dict(outer)
    defined = [value.name for value in graph.input] + [constant.name for constant in graph.initializer]
    defined += [output for node in graph.node for output in node.output]
    for index, old in enumerate(dict.fromkeys(defined)):
        if old and (name != "model" or old not in outer):
            names[old] = f"{name}/{index}"
    graph.name = name
    del graph.value_info[:]
    for value in (*graph.input, *graph.output, *graph.initializer):
        value.name = names.get(value.name, value.name)
    for index, node in enumerate(graph.node):
        node.name = f"{name}/node{index}"
        node.input[:] = [names.get(old, old) for old in node.input]
        node.output[:] = [names.get(old, old) for old in node.output]
        for attribute in node.attribute:
            inner = [attribute.g] if attribute.HasField("g") else list(attribute.graphs)
            for number, subgraph in enumerate(inner):
                _rename_tensors(subgraph, names, f"{name}/node{index}.{number}")


def concat_graphs(before: Any, last: Any) -> Any:
    """Appends `last` to `before`: the first output of `before`, cast to double, becomes the only input of `last`."""
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
    _merge_opsets(before, last)
    return before


def _merge_opsets(model: Any, other: Any) -> None:
    versions = {opset.domain: opset.version for opset in model.opset_import}
    for opset in other.opset_import:
        versions[opset.domain] = max(opset.version, versions.get(opset.domain, 0))
    del model.opset_import[:]
    for domain, number in sorted(versions.items()):
        model.opset_import.add(domain=domain, version=number)
    model.ir_version = max(model.ir_version, other.ir_version)


def fix_imputers(model: Any, statistics: Sequence[Any]) -> None:
    """Replaces imputers of doubles by Where(IsNaN): ONNX Runtime has no kernel for doubles, and the operator stores single precision.

    statistics: the fill values of each fitted imputer, in double precision.
    """
    from onnx import helper, numpy_helper

    for index, node in enumerate(list(model.graph.node)):
        fill_values = _fill_values(node, statistics)
        if fill_values is None:
            continue
        name = f"{node.output[0]}/filled"
        model.graph.initializer.append(numpy_helper.from_array(fill_values, name))
        position = list(model.graph.node).index(node)
        is_nan = helper.make_node("IsNaN", [node.input[0]], [f"{node.output[0]}/absent"], name=f"absent/{index}")
        where = helper.make_node(
            "Where", [f"{node.output[0]}/absent", name, node.input[0]], list(node.output), name=f"filled/{index}"
        )
        model.graph.node.remove(node)
        model.graph.node.insert(position, where)
        model.graph.node.insert(position, is_nan)


def _fill_values(node: Any, statistics: Sequence[Any]) -> Any:
    if node.op_type != "Imputer":
        return None
    attributes = {attribute.name: attribute for attribute in node.attribute}
    if not np.isnan(attributes["replaced_value_float"].f if "replaced_value_float" in attributes else 0.0):
        return None
    single = np.array(attributes["imputed_value_floats"].floats, dtype=np.float32)
    for doubles in statistics:
        if np.asarray(doubles).dtype.kind == "f" and np.array_equal(np.asarray(doubles, dtype=np.float32), single):
            return np.asarray(doubles, dtype=np.float64)
    return None
