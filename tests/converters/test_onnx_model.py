"""ONNX files are converted unchanged, and options are required for what they do not contain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

import relevo
from relevo.converters.onnx_model import convert_onnx
from relevo.domain.preprocessing import ColumnSteps, ImageSteps, MatrixSteps
from relevo.domain.signature import ImageInput, Output, Task
from relevo.errors import ConversionError, ImportModelError, InvalidLabelsError, InvalidOnnxError, InvalidOptionsError, ParityError
from relevo.i18n import catalog
from relevo.importing.import_model import import_model
from relevo.package.conversion import ConversionHints
from relevo.package.samples import normalize_samples

if TYPE_CHECKING:
    from pathlib import Path


def _model(
    shape: list[Any], nodes: list[Any], constants: dict[str, np.ndarray], columns: int, kind: int = TensorProto.FLOAT
) -> bytes:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, columns])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())


def _pooled(shape: list[Any], axes: tuple[int, ...], *, softmax: bool = True) -> bytes:
    """Mean over the pixels, times three weights: three scores for any image."""
    weights: dict[str, np.ndarray] = {
        "w": np.array([[0.1, 0.2, -0.3]], dtype=np.float32),
        "shape": np.array([-1, 1], dtype=np.int64),
    }
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=list(axes), keepdims=0),
        helper.make_node("Reshape", ["m", "shape"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["s" if softmax else "y"]),
    ]
    if softmax:
        nodes.append(helper.make_node("Softmax", ["s"], ["y"]))
    return _model(shape, nodes, weights, 3)


LABELS = ("a", "b", "c")


@pytest.mark.parametrize(
    ("shape", "axes", "layout", "mode"),
    [
        (["n", 6, 5, 1], (1, 2, 3), "NHWC", "L"),
        (["n", 6, 5, 3], (1, 2, 3), "NHWC", "RGB"),
        (["n", 3, 6, 5], (1, 2, 3), "NCHW", "RGB"),
        (["n", 6, 5], (1, 2), "NHW", "L"),
    ],
)
def test_image_layout_comes_from_the_shape(shape: list[Any], axes: tuple[int, ...], layout: str, mode: str) -> None:
    """Layout, size and channels come from the file; labels and scale from the user."""
    converted = convert_onnx(_pooled(shape, axes), None, ConversionHints(labels=LABELS, scale=1 / 255))
    assert converted.input == ImageInput(width=5, height=6, mode=mode)  # type: ignore[arg-type]  # one of the two
    assert isinstance(converted.steps, ImageSteps)
    assert (converted.steps.layout, converted.steps.scale) == (layout, 1 / 255)
    assert converted.output.activation == "none"


@pytest.mark.parametrize(
    ("shape", "size", "layout", "message"),
    [
        (["n", 3, 6, 5], (6, 6), "NCHW", r"takes N×3×6×5, and .* becomes N×3×6×6;"),
        (["n", 3, 6, 5], (3, 6), "NHWC", r"takes N×3×6×5, and .* becomes N×6×3×3;"),
        (["n", "h", 5, 3], (4, 6), "NHWC", r"takes N×\?×5×3, and .* becomes N×6×4×3;"),
    ],
)
def test_a_contradicting_image_option_is_rejected(shape: list[Any], size: tuple[int, int], layout: Any, message: str) -> None:
    """A size or layout that contradicts the file is reported next to the file's own, before the model runs."""
    hints = ConversionHints(
        labels=LABELS,
        scale=1.0,
        input=ImageInput(width=size[0], height=size[1], mode="RGB"),
        steps=ImageSteps(input="x", layout=layout),
    )
    with pytest.raises(ImportModelError, match=message):
        convert_onnx(_pooled(shape, (1, 2, 3)), None, hints)


def test_errors_of_an_onnx_file_are_import_errors(tmp_path: Path) -> None:
    """A wrong layout, or a model that fails, is reported in one sentence with one full stop, in Spanish too."""
    file = tmp_path / "net.onnx"
    file.write_bytes(_pooled(["n", 3, 6, 5], (1, 2, 3)))
    with pytest.raises(ImportModelError, match=r"imported: its input takes N×3×6×5, and .* becomes N×3×6×1;"):
        import_model(file, name="net", labels=LABELS, scale=1.0, layout="NHWC")
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["y"])]
    file.write_bytes(_model(["n", 6, 5, 1], nodes, {"shape": np.array([-1, 7], dtype=np.int64)}, 7))
    with pytest.raises(ImportModelError) as refused:
        import_model(file, name="net", labels=tuple("abcdefg"), scale=1.0)
    assert str(refused.value) == "The file cannot be imported: The model failed on this input."
    assert catalog.sentence(refused.value, "es") == "El archivo no se puede importar: El modelo ha fallado con esta entrada."


def test_missing_options_are_named_as_flags(tmp_path: Path) -> None:
    """Missing options are worded as command-line flags, in Spanish too."""
    (tmp_path / "net.onnx").write_bytes(_pooled(["n", 6, 5, 1], (1, 2, 3)))
    with pytest.raises(InvalidOptionsError, match="add: --labels \\(3 of them") as refused:
        import_model(tmp_path / "net.onnx", name="net", labels=("a",), scale=1.0)
    assert "--labels (3, en el orden de" in catalog.sentence(refused.value, "es")
    refusal = InvalidOptionsError(options="--labels (2 of them, for no, yes)")
    assert "--labels (2, para no, yes)" in catalog.sentence(refusal, "es")


def test_raw_scores_get_a_softmax() -> None:
    """Scores that are no probabilities get a softmax."""
    logits = _pooled(["n", 6, 5, 1], (1, 2, 3), softmax=False)
    assert convert_onnx(logits, None, ConversionHints(labels=LABELS, scale=1.0)).output.activation == "softmax"


def test_missing_options_are_required() -> None:
    """Scale, labels, features and sizes are each required by name."""
    picture = _pooled(["n", 6, 5, 1], (1, 2, 3))
    with pytest.raises(InvalidOptionsError, match="scale"):
        convert_onnx(picture, None, ConversionHints(labels=LABELS))
    with pytest.raises(InvalidOptionsError, match="labels"):
        convert_onnx(picture, None, ConversionHints(scale=1.0))
    with pytest.raises(InvalidOptionsError, match="width and height"):
        convert_onnx(_pooled(["n", "h", "w", 3], (1, 2, 3)), None, ConversionHints(labels=LABELS, scale=1.0))
    with pytest.raises(InvalidOptionsError, match="features"):
        convert_onnx(_pooled(["n", "k"], (1,)), None, ConversionHints(labels=LABELS))


def test_a_fixed_batch_is_rejected() -> None:
    """A file for exactly one row cannot serve batches."""
    with pytest.raises(ConversionError, match="free batch axis"):
        convert_onnx(_pooled([1, 6, 5, 1], (1, 2, 3)), None, ConversionHints(labels=LABELS, scale=1.0))


def test_random_bytes_are_rejected() -> None:
    """Random bytes are rejected."""
    with pytest.raises(InvalidOnnxError):
        convert_onnx(b"nonsense", None)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_zipmap_is_removed_and_gives_the_labels() -> None:
    """skl2onnx' default export of a classifier is packed with its own labels and unchanged probabilities."""
    data = load_iris()
    names = np.array(["setosa", "versicolor", "virginica"])[data.target]
    model = LogisticRegression(max_iter=1000).fit(data.data, names)
    onnx = to_onnx(model, data.data[:1].astype(np.float32)).SerializeToString()
    package = relevo.pack(onnx, name="iris", samples=data.data, features=data.feature_names, outputs=model.predict_proba(data.data))
    assert package.manifest.output.labels == ("setosa", "versicolor", "virginica")
    parity = package.manifest.lineage.parity
    assert (parity.reference, parity.rows, parity.labels_agreeing) == ("supplied", 150, 1.0)
    assert isinstance(package.manifest.steps, MatrixSteps)


def test_wrong_supplied_outputs_are_rejected() -> None:
    """Outputs that the user supplies are compared with the file."""
    pictures = np.random.default_rng(0).integers(0, 256, (4, 6, 5), dtype=np.uint8)
    with pytest.raises(ParityError):
        relevo.pack(
            _pooled(["n", 6, 5, 1], (1, 2, 3)), name="p", samples=pictures, labels=LABELS, scale=1.0, outputs=np.full((4, 3), 1 / 3)
        )


def test_several_inputs_are_one_field_each() -> None:
    """Inputs of shape (n, 1) become fields with their names and types."""
    nodes = [
        helper.make_node("Cast", ["count"], ["c"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["c", "price"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [
            helper.make_tensor_value_info("count", TensorProto.INT64, [None, 1]),
            helper.make_tensor_value_info("price", TensorProto.FLOAT, [None, 1]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
    )
    onnx = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    package = relevo.pack(onnx, name="sum", samples=[{"count": 1, "price": 2.5}, {"count": 2, "price": 0.5}])
    assert isinstance(package.manifest.steps, ColumnSteps)
    assert package.manifest.output.task is Task.REGRESSION
    assert package.predict({"count": 3, "price": 0.25}).value == 3.25
    assert package.manifest.lineage.parity.reference == "none"


def test_an_output_may_be_given() -> None:
    """The user's output, labels and activation are used."""
    output = Output(name="y", labels=LABELS, activation="softmax")
    samples = normalize_samples(np.zeros((2, 6, 5), dtype=np.uint8))
    assert convert_onnx(_pooled(["n", 6, 5, 1], (1, 2, 3)), samples, ConversionHints(output=output, scale=1.0)).output == output
    with pytest.raises(InvalidOptionsError, match="an output the file has"):
        convert_onnx(_pooled(["n", 6, 5, 1], (1, 2, 3)), samples, ConversionHints(output=Output(name="z"), scale=1.0))


def _classifier(classes: Any) -> tuple[bytes, Any]:
    """A classifier with a label output and scores, as ONNX without a ZipMap."""
    draw = np.random.default_rng(0)
    rows = draw.normal(size=(60, 3)).astype(np.float32)
    truth = np.asarray(classes)[(rows[:, 0] + draw.normal(size=60) > 0.2).astype(int)]
    model = LogisticRegression().fit(rows, truth)
    return to_onnx(model, rows[:1], options={"zipmap": False}).SerializeToString(), rows


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_the_label_output_is_compared_with_the_scores() -> None:
    """A label output that agrees defines the order of the classes; one that differs is rejected with the number of samples."""
    onnx, rows = _classifier(["no", "yes"])
    assert relevo.pack(onnx, name="m", samples=rows, labels=["no", "yes"], figures=False).manifest.output.labels == ("no", "yes")
    assert relevo.pack(onnx, name="m", samples=rows, labels=["bleibt", "geht"], figures=False)
    with pytest.raises(InvalidLabelsError, match="in another: every answer would be swapped"):
        relevo.pack(onnx, name="m", samples=rows, labels=["yes", "no"])
    nodes = [
        helper.make_node("Softmax", ["x"], ["y"]),
        helper.make_node("Slice", ["x", "zero", "one", "one"], ["first"]),
        helper.make_node("Greater", ["first", "bound"], ["above"]),
        helper.make_node("Cast", ["above"], ["label"], to=TensorProto.INT64),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, [None, 1]),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 3]),
        ],
        [
            numpy_helper.from_array(np.array([0]), "zero"),
            numpy_helper.from_array(np.array([1]), "one"),
            numpy_helper.from_array(np.array(0.3, np.float32), "bound"),
        ],
    )
    other = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    with pytest.raises(ConversionError, match=r"its own output 'label' names another class .* for \d+ of 60 samples"):
        relevo.pack(other, name="m", samples=rows, labels=LABELS)
