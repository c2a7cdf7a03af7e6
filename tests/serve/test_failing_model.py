"""A model that fails on an input: logged as an ordinary event, without the input."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING

import httpx
import pytest
from tests.support.server import put, settings_of, started

import relevo
from relevo.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path


def _onnx() -> bytes:
    """Looks up two rows of a table by `a`; any other row raises an error of ONNX Runtime."""
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


def test_a_failing_model_is_logged_as_json(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """With log_format json every line on standard error is an object with an aware time; one reports the failure, without the input."""
    samples = [{"a": 0.0, "b": 0.5}, {"a": 1.0, "b": -0.5}]
    package = relevo.pack(
        _onnx(), name="table", samples=samples, features=("a", "b"), labels=["low", "high"], score_type="logits", figures=False
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


def _root() -> bytes:
    """The square root of `a`: NaN below zero."""
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 1]) for name in ("x", "y"))
    graph = helper.make_graph([helper.make_node("Sqrt", ["x"], ["y"])], "root", [x], [y])
    return bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString())


def test_a_failing_row_fails_only_its_own_request_and_is_named(tmp_path: Path) -> None:
    """Requests batched with a failing one are all answered; an array is rejected with the index of its failing row."""
    samples = [{"a": float(number)} for number in range(1, 5)]
    root = relevo.pack(_root(), name="root", samples=samples, features=("a",), score_type="numbers", figures=False)
    table = relevo.pack(
        _onnx(),
        name="table",
        samples=[{"a": 0.0, "b": 0.5}, {"a": 1.0, "b": -0.5}],
        features=("a", "b"),
        labels=["low", "high"],
        score_type="logits",
        figures=False,
    )
    settings = settings_of(tmp_path)
    put(settings, root)
    put(settings, table)
    hostile = {"root": {"a": -1.0}, "table": {"a": 7193.0, "b": 0.0}}
    refusal = {"root": (422, "output_not_finite"), "table": (500, "model_failed")}
    with started(settings) as server, httpx.Client(timeout=30) as client, ThreadPoolExecutor(16) as pool:
        for name, bad in hostile.items():
            address = f"{server.url}/models/{name}/predict"
            good = {**bad, "a": 1.0}
            sent = [bad if place % 4 == 0 else good for place in range(64)]
            answers = list(pool.map(lambda record, to=address: client.post(to, json=record), sent))
            assert [answer.status_code for answer in answers] == [refusal[name][0] if record is bad else 200 for record in sent]
            assert all("row" not in answer.json() for answer in answers)
            for rows, place in (([good, good, bad, good], 2), ([bad], 0)):
                response = client.post(address, json=rows)
                assert (response.status_code, response.json()["code"], response.json()["row"]) == (*refusal[name], place)
            with relevo.Client(server.url) as asking, pytest.raises(ModelError) as caught:
                asking.predict_many(name, [good, good, bad, good])
            assert (list(caught.value.failures), [answer is None for answer in caught.value.results]) == (
                [2],
                [False, False, True, False],
            )
