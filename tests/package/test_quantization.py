"""Quantization: accepted within the maximum loss, else rejected with the measured loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import relevo
from relevo.errors import InvalidManifestError, InvalidOptionsError, QuantizationLossError
from relevo.importing.import_model import import_model
from relevo.package.samples import png

pytest.importorskip("onnx", reason="smaller numbers need ONNX' own library")

DRAW = np.random.default_rng(3)
PICTURES = DRAW.integers(0, 256, (120, 16, 16, 3), dtype=np.uint8)


def network(spread: float) -> bytes:
    """A convolution, the mean of its maps, and three scores; spread: how far apart they are."""
    from onnx import TensorProto, helper, numpy_helper

    draw = np.random.default_rng(0)
    weights: dict[str, Any] = {
        "k": draw.normal(size=(64, 3, 5, 5)).astype(np.float32) / 8,
        "w": (draw.normal(size=(64, 3)) * spread).astype(np.float32),
    }
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["t", "k"], ["c"], strides=[2, 2]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["z"]),
        helper.make_node("Softmax", ["z"], ["y"]),
    ]
    shape = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 16, 16, 3])
    scores = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])
    graph = helper.make_graph(nodes, "net", [shape], [scores], [numpy_helper.from_array(a, n) for n, a in weights.items()])
    return bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())


def packed(**overrides: Any) -> Any:
    options: dict[str, Any] = {"name": "n", "samples": PICTURES, "labels": ["a", "b", "c"], "scale": 1 / 255, "figures": False}
    return relevo.pack(network(20.0), **(options | overrides))


def truth() -> list[str]:
    """The network's own predictions, so that the accuracy is 1 before quantization."""
    return [str(answer.predicted_label) for answer in packed().predict_many([png(pixels) for pixels in PICTURES])]


@pytest.mark.parametrize(("precision", "smaller"), [("int8", 0.6), ("float16", 0.6)])
def test_within_the_loss_it_is_smaller_and_told(precision: Any, smaller: float) -> None:
    """Lineage and card have precision, agreement and sizes; the golden tests pass."""
    package = packed(truth=truth(), precision=precision, max_accuracy_drop=0.2)
    report = package.manifest.lineage.precision
    assert report.dtype == precision
    assert report.bytes_after < smaller * report.bytes_before
    assert report.labels_agreeing >= 0.8
    assert (report.metric, report.before) == ("accuracy", 1.0)
    assert report.after == package.metrics["accuracy"]["value"]
    assert f"computes in **{precision}**" in package.files()["card.md"].decode()
    assert packed().manifest.lineage.precision is None


def test_beyond_the_loss_it_is_refused_with_figures() -> None:
    """No package is written when more labels change than allowed."""
    with pytest.raises(
        QuantizationLossError, match=r"In int8 the model loses too much: .* % of 120 samples are answered otherwise"
    ):
        relevo.pack(
            network(0.0001),
            name="n",
            samples=PICTURES,
            labels=["a", "b", "c"],
            scale=1 / 255,
            precision="int8",
            max_accuracy_drop=0.0,
        )


def test_it_is_judged_on_real_samples_only(tmp_path: Any) -> None:
    """An import without samples cannot be quantized."""
    (tmp_path / "n.onnx").write_bytes(network(20.0))
    with pytest.raises(InvalidOptionsError, match="real inputs, to see what smaller numbers cost"):
        import_model(tmp_path / "n.onnx", name="n", labels=["a", "b", "c"], scale=1, precision="int8")
    with pytest.raises(InvalidManifestError, match=r"option precision .* one of float32, float16, int8"):
        packed(precision="int4")
