"""Scores are served by their type: no second softmax or sigmoid, no logit as probability, and an error when in doubt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import relevo
from relevo.domain.signature import Output, Task
from relevo.errors import ConversionError, InvalidOptionsError
from relevo.importing.import_model import import_model

if TYPE_CHECKING:
    from pathlib import Path

    from relevo.package.package import Package

DRAW = np.random.default_rng(5)
ROWS = DRAW.normal(size=(40, 4))
WEIGHTS = DRAW.normal(size=(4, 3)) * 2
NAMES = ["a", "b", "c", "d"]
LABELS = ["one", "two", "three"]


def model(*head: Any, weights: Any = WEIGHTS, functions: Any = (), outputs: Any = ("y",), **constants: Any) -> bytes:
    """Four numbers times weights, named `s`; then the head, which produces `y`."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["s"]), *(helper.make_node(*item[:3], **item[3]) for item in head)]
    initializers = {"w": np.asarray(weights, np.float32), **{name: np.asarray(item) for name, item in constants.items()}}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", None]) for name in outputs],
        [numpy_helper.from_array(item, name) for name, item in initializers.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    return bytes(helper.make_model(graph, opset_imports=opsets, functions=functions, ir_version=8).SerializeToString())


def node(op: str, inputs: Any, output: str = "y", **attributes: Any) -> tuple[Any, ...]:
    return op, [inputs] if isinstance(inputs, str) else inputs, [output], attributes


def packed(onnx: bytes, labels: Any = LABELS, **options: Any) -> Package:
    return relevo.pack(onnx, name="m", samples=ROWS, features=NAMES, labels=labels, figures=False, **options)


def served(package: Package) -> Any:
    return np.array([answer.probabilities for answer in package.predict_many([dict(zip(NAMES, row, strict=True)) for row in ROWS])])


LOGITS = ROWS.astype(np.float32) @ WEIGHTS.astype(np.float32)
SIGMOIDS = 1 / (1 + np.exp(-LOGITS))
SOFTMAX = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
HUNDRED = np.float32(100)


def _function() -> Any:
    """A softmax inside a function of the file."""
    inner = [helper.make_node("Softmax", ["in"], ["out"])]
    return helper.make_function("own", "Squash", ["in"], ["out"], inner, [helper.make_opsetid("", 17)])


@pytest.mark.parametrize(
    ("onnx", "expected", "activation", "independent"),
    [
        (model(node("Softmax", "s")), SOFTMAX, "none", False),
        (model(node("Softmax", "s", "p"), node("Identity", "p", "q"), node("Cast", "q", to=1)), SOFTMAX, "none", False),
        (model(node("Squash", "s", domain="own"), functions=[_function()]), SOFTMAX, "none", False),
        (
            model(node("Exp", "s", "e"), node("ReduceSum", ["e", "axis"], "t", keepdims=1), node("Div", ["e", "t"]), axis=[1]),
            SOFTMAX,
            "none",
            False,
        ),
        (model(node("LogSoftmax", "s")), SOFTMAX, "softmax", False),
        (model(node("Identity", "s")), SOFTMAX, "softmax", False),
        (model(node("Sigmoid", "s")), SIGMOIDS, "none", True),
        (model(node("Sigmoid", "s", "p"), node("Reshape", ["p", "k"]), k=[-1, 3]), SIGMOIDS, "none", True),
        (model(node("HardSigmoid", "s")), np.clip(0.2 * LOGITS + 0.5, 0, 1), "none", True),
        (model(node("Softmax", "s", "p"), node("Mul", ["p", "h"]), h=HUNDRED), SOFTMAX, "percent", False),
        (model(node("Sigmoid", "s", "p"), node("Mul", ["h", "p"]), h=HUNDRED), SIGMOIDS, "percent", False),
    ],
    ids=["softmax", "passed on", "function", "spelled out", "log", "logits", "sigmoids", "reshaped", "hard", "percent", "percents"],
)
def test_score_types_are_recognised(onnx: bytes, expected: Any, activation: str, independent: bool) -> None:  # noqa: FBT001 - a case
    """Softmax, sigmoids, logits, logarithms and percentages are distinguished, and served as the probabilities they represent."""
    package = packed(onnx)
    output = package.manifest.output
    assert (output.activation, output.independent) == (activation, independent)
    answers = served(package)
    assert np.abs(answers - expected).max() < 1e-5
    assert (answers.argmax(axis=1) == expected.argmax(axis=1)).all()
    card = package.read("card.md").decode()
    assert ("stands for itself" in card) == independent
    assert ("percentages" in card) == (activation == "percent")


@pytest.mark.parametrize(
    "onnx",
    [
        model(node("Relu", "s")),
        model(node("Tanh", "s")),
        model(node("Mul", ["s", "h"]), weights=WEIGHTS / 100, h=HUNDRED),
        model(node("Add", ["s", "b"]), weights=np.full((4, 3), 1e-4), b=np.array([0.2, 0.3, 0.5], np.float32)),
    ],
    ids=["relu", "tanh", "scaled", "fitted to 0 and 1"],
)
def test_ambiguous_scores_require_the_option(onnx: bytes, request: pytest.FixtureRequest) -> None:
    """An ambiguous head requires `scores`, naming the values and the range; logits are accepted, scaled or not."""
    if request.node.callspec.id == "scaled":
        assert packed(onnx).manifest.output.activation == "softmax"
        return
    with pytest.raises(
        InvalidOptionsError, match=r"score_type \(logits, probabilities or percent; numbers are no classes. They lie between"
    ):
        packed(onnx)
    assert packed(onnx, score_type="logits").manifest.output.activation == "softmax"


ONE = WEIGHTS[:, :1]


def test_a_single_score_with_two_labels() -> None:
    """A sigmoid is a probability; a logit within 0..1 on the samples requires `scores`; one outside is a logit."""
    two = ["no", "yes"]
    assert packed(model(node("Sigmoid", "s"), weights=ONE), two).manifest.output.activation == "none"
    assert packed(model(node("Identity", "s"), weights=ONE), two).manifest.output.activation == "sigmoid"
    small = model(node("Add", ["s", "half"]), weights=ONE / 100, half=np.float32(0.5))
    with pytest.raises(
        InvalidOptionsError, match=r"score_type \(.*numbers without labels.*come out of a linear layer: is a sigmoid"
    ):
        packed(small, two)
    clipped = packed(small, two, score_type="probabilities")
    assert clipped.manifest.output.activation == "clip"
    value = float((ROWS[:1].astype(np.float32) @ (ONE / 100).astype(np.float32))[0, 0] + 0.5)
    assert clipped.predict(dict(zip(NAMES, ROWS[0], strict=True))).probabilities[1] == pytest.approx(value, abs=1e-5)
    assert clipped.predict(dict(zip(NAMES, 1000 * ONE[:, 0], strict=True))).probabilities == (0.0, 1.0)
    assert packed(small, None, score_type="numbers").manifest.output.task is Task.REGRESSION
    assert packed(small, None).manifest.output.task is Task.REGRESSION
    with pytest.raises(InvalidOptionsError, match="labels \\(two of them"):
        packed(model(node("Sigmoid", "s"), weights=ONE), None)
    with pytest.raises(InvalidOptionsError, match="no labels, where the scores are numbers"):
        packed(small, two, score_type="numbers")


def test_contradicting_score_types_are_rejected() -> None:
    """Logits that are probabilities already, probabilities of 6 and -2, and three numbers at once are rejected."""
    with pytest.raises(ConversionError, match="said to be logits, and come out of a softmax: they are probabilities already"):
        packed(model(node("Softmax", "s")), score_type="logits")
    with pytest.raises(ConversionError, match=r"said to be probabilities, and lie between -\d"):
        packed(model(node("Identity", "s")), score_type="probabilities")
    with pytest.raises(ConversionError, match="answers 3 numbers at once; package one model for each"):
        packed(model(node("Identity", "s")), None, score_type="numbers")
    with pytest.raises(InvalidOptionsError, match=r"labels .* of several numbers package each by itself"):
        packed(model(node("Identity", "s")), None)


def test_logits_or_probabilities_may_be_selected(tmp_path: Path) -> None:
    """Of logits and probabilities either may be selected, by flag or by an Output: the same probabilities are served."""
    both = model(node("Softmax", "s", "p"), node("Identity", "s", "logits"), outputs=["p", "logits"])
    (tmp_path / "m.onnx").write_bytes(both)
    with pytest.raises(InvalidOptionsError, match="--output, one of p, logits"):
        import_model(tmp_path / "m.onnx", name="m", labels=LABELS, features=NAMES)
    with pytest.raises(InvalidOptionsError, match="--output, one of p, logits"):
        import_model(tmp_path / "m.onnx", name="m", labels=LABELS, features=NAMES, output="q")
    for chosen in ("p", "logits"):
        package = import_model(tmp_path / "m.onnx", name="m", labels=LABELS, features=NAMES, output=chosen, figures=False)
        assert np.abs(served(package) - SOFTMAX).max() < 1e-5
    package = packed(both, None, output=Output(name="logits", labels=tuple(LABELS)))
    assert np.abs(served(package) - SOFTMAX).max() < 1e-5
    (tmp_path / "m.onnx").write_bytes(model(node("Relu", "s")))
    with pytest.raises(InvalidOptionsError, match=r"add: --score-type \(logits, probabilities or percent"):
        import_model(tmp_path / "m.onnx", name="m", labels=LABELS, features=NAMES)
