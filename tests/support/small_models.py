"""Runnable models of a few bytes that fail in known ways: real ONNX, run by the real runtime.

root    number ─ Sqrt ─► value      answers NaN below zero: OutputNotFiniteError
shelf   number ─ Gather ─► value    ONNX Runtime itself raises for a place beyond 0..9: ModelError
"""

from __future__ import annotations

from typing import Any

from relevo.domain.decision import ArgmaxDecision
from relevo.domain.manifest import FORMAT, Lineage, Manifest, Parity
from relevo.domain.preprocessing import Column, MatrixSteps
from relevo.domain.signature import Field, FieldKind, Output, RecordInput, Task
from relevo.runtime.model import RunnableModel


def _manifest(name: str) -> Manifest:
    return Manifest(
        format=FORMAT,
        name=name,
        input=RecordInput(fields=(Field(name="number", kind=FieldKind.NUMBER),)),
        steps=MatrixSteps(input="x", columns=(Column(field="number"),)),
        output=Output(name="y", task=Task.REGRESSION),
        decision=ArgmaxDecision(),
        lineage=Lineage(framework="none", parity=Parity(reference="none", samples="generated")),
    )


def _model(name: str, nodes: list[Any], initializers: tuple[Any, ...] = ()) -> RunnableModel:
    from onnx import TensorProto, helper

    numbers = [helper.make_tensor_value_info(one, TensorProto.FLOAT, ["n", 1]) for one in ("x", "y")]
    graph = helper.make_graph(nodes, name, numbers[:1], numbers[1:], list(initializers))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return RunnableModel(_manifest(name), model.SerializeToString())


def root() -> RunnableModel:
    """The square root of `number`; NaN below zero."""
    from onnx import helper

    return _model("root", [helper.make_node("Sqrt", ["x"], ["y"])])


def shelf() -> RunnableModel:
    """Ten times `number`, for places 0..9; beyond them the runtime raises."""
    from onnx import TensorProto, helper

    table = helper.make_tensor("table", TensorProto.FLOAT, [10], [10.0 * place for place in range(10)])
    nodes = [
        helper.make_node("Cast", ["x"], ["place"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "place"], ["y"]),
    ]
    return _model("shelf", nodes, (table,))
