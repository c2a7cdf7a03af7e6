"""A model that fails on an input: told in the log as every event is, without the input."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING

import httpx
from tests.serving_world import put, settings_of, started

import relevo

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def _onnx() -> bytes:
    """Looks two rows of a table up by `a`; any other row is an error of ONNX Runtime."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("Slice", ["x", "zero", "one", "one"], ["a"]),
        helper.make_node("Cast", ["a"], ["whole"], to=TensorProto.INT64),
        helper.make_node("Squeeze", ["whole", "one"], ["index"]),
        helper.make_node("Gather", ["table", "index"], ["y"], axis=0),
    ]
    constants = [
        numpy_helper.from_array(np.array([0]), "zero"),
        numpy_helper.from_array(np.array([1]), "one"),
        numpy_helper.from_array(np.array([[3.0, -3.0], [-3.0, 3.0]], dtype=np.float32), "table"),
    ]
    graph = helper.make_graph(
        nodes,
        "table",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
        constants,
    )
    return bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString())


def test_a_failing_model_is_told_in_the_log_and_every_line_of_it_parses(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """With log_format json every line on standard error is an object with an aware time; the failure is one, without the input."""
    samples = [{"a": 0.0, "b": 0.5}, {"a": 1.0, "b": -0.5}]
    package = relevo.pack(
        _onnx(), name="table", samples=samples, features=("a", "b"), labels=["low", "high"], scores="logits", figures=False
    )
    settings = settings_of(tmp_path, log_format="json")
    put(settings, package)
    capfd.readouterr()
    with started(settings) as server:
        assert httpx.post(f"{server.url}/predict", json={"a": 1.0, "b": 0.0}).status_code == 200
        failed = httpx.post(f"{server.url}/predict", json={"a": 7193.0, "b": 0.0})
        assert (failed.status_code, failed.json()["code"]) == (500, "model_failed")
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [line["rows"] for line in lines if line.get("action") == "model_failed"] == [1]
    assert all(datetime.fromisoformat(line["at"]).tzinfo is not None for line in lines)
    assert "7193" not in str(lines)
    assert "Gather" in str(lines)
