"""A model that takes its time: some hundred milliseconds of arithmetic a row, as a large network would.

x (n, 4) ─ sum ─ × C (512, 512) ─ · W ─ · W ─ … ─ mean ─► logits (n, 2)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from relevo.package.package import Package

FIELDS = ("a", "b", "c", "d")
_SIDE = 512
#: Multiplications of 512 × 512 matrices a row; one takes a core some milliseconds.
_MULTIPLICATIONS = 160


def slow_package() -> Package:
    """Model `slow`: records of four numbers, two labels; holds the interpreter's lock only between rows."""
    import relevo

    samples = [dict.fromkeys(FIELDS, 0.5), dict.fromkeys(FIELDS, -0.5)]
    return relevo.pack(_onnx(), name="slow", samples=samples, features=FIELDS, labels=["low", "high"], figures=False)


def _onnx() -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    draw = np.random.default_rng(3)
    turn, _ = np.linalg.qr(draw.normal(size=(_SIDE, _SIDE)))

    def constant(name: str, values: Any, kind: Any = np.float32) -> Any:
        return numpy_helper.from_array(np.asarray(values, dtype=kind), name)

    nodes = [
        helper.make_node("ReduceSum", ["x", "one"], ["sum"], keepdims=1),
        helper.make_node("Unsqueeze", ["sum", "two"], ["cube"]),
        helper.make_node("Mul", ["cube", "plane"], ["t0"]),
        *(helper.make_node("MatMul", [f"t{i}", "turn"], [f"t{i + 1}"]) for i in range(_MULTIPLICATIONS)),
        helper.make_node("Mul", [f"t{_MULTIPLICATIONS}", f"t{_MULTIPLICATIONS}"], ["square"]),
        helper.make_node("ReduceMean", ["square"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "one"], ["column"]),
        helper.make_node("MatMul", ["column", "out"], ["y"]),
    ]
    constants = [
        constant("one", [1], np.int64),
        constant("two", [2], np.int64),
        constant("plane", draw.normal(size=(_SIDE, _SIDE))),
        constant("turn", turn),
        constant("out", [[-1.0, 1.0]]),
    ]
    graph = helper.make_graph(
        nodes,
        "slow",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", len(FIELDS)])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())
