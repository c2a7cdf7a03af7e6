"""A session gives one score per row, and a graph with an endless loop is terminated."""

from __future__ import annotations

import time

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from relevo.errors import ModelError
from relevo.runtime import session
from relevo.runtime.session import Session


def looping(*, rounds: int | None) -> bytes:
    """Adds one to a number in each iteration; endless when `rounds` is None."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Add", ["v", "step"], ["w"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, ["n", 1]),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("w", TensorProto.FLOAT, ["n", 1]),
        ],
    )
    graph = helper.make_graph(
        [helper.make_node("Loop", ["" if rounds is None else "most", "start", "x"], ["y"], body=body)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1])],
        [
            numpy_helper.from_array(np.array(1, bool), "start"),
            numpy_helper.from_array(np.array(rounds or 0), "most"),
            numpy_helper.from_array(np.array([1], np.float32), "step"),
        ],
    )
    opsets = [helper.make_opsetid("", 17)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())


def test_a_loop_without_an_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run fails when its time is over, and the session serves other runs before and after."""
    monkeypatch.setattr(session, "MAX_LOOP_S", 1.0)
    feeds = {"x": np.zeros((2, 1), np.float32)}
    ends = Session(looping(rounds=5), output="y")
    assert ends.run(feeds).tolist() == [[5.0], [5.0]]
    began = time.monotonic()
    with pytest.raises(ModelError):
        Session(looping(rounds=None), output="y").run(feeds)
    assert time.monotonic() - began < 20
    assert ends.run(feeds).tolist() == [[5.0], [5.0]]
