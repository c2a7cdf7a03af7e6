"""An untrusted model file becomes a package that matches the original, or is rejected with a suggestion."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING, Any

import joblib  # type: ignore[import-untyped]  # it ships no types
import numpy as np
import pytest
from tests.support.hostile_files import DATA, Calls, real_model, vectorizer_and_model

from relevo.converters.limits import Bounds
from relevo.domain.preprocessing import ImageSteps, MatrixSteps
from relevo.domain.signature import ImageInput, RecordInput, Task
from relevo.errors import (
    ConversionError,
    ImportModelError,
    InvalidOnnxError,
    InvalidOptionsError,
    PickleNotTrustedError,
    SandboxError,
    UnknownFileFormatError,
)
from relevo.importing.import_model import import_model
from relevo.package.package import open_package

if TYPE_CHECKING:
    from pathlib import Path

CHURN = ("mlbookcamp", "2021-10", "model_C=1.0.bin")
COEFFICIENTS = """
import json, pickle, sys, warnings
warnings.simplefilter("ignore")
vectorizer, model = pickle.load(open(sys.argv[1], "rb"))
weights = {"names": list(vectorizer.feature_names_), "coef": model.coef_[0].tolist(), "intercept": float(model.intercept_[0])}
print(json.dumps(weights))
"""


def customers(count: int) -> list[dict[str, Any]]:
    """Real customers, prepared like the book's code."""
    path = DATA / "telco" / "WA_Fn-UseC_-Telco-Customer-Churn.csv"
    if not path.exists():
        pytest.skip(f"no telco data under {DATA} (set RELEVO_TEST_DATA)")
    numbers = {"tenure", "monthlycharges", "totalcharges", "seniorcitizen"}
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[:count]
    records = []
    for row in rows:
        lower = {
            name.lower(): value.lower().replace(" ", "_") for name, value in row.items() if name not in ("customerID", "Churn")
        }
        records.append({name: float(value.strip("_") or 0) if name in numbers else value for name, value in lower.items()})
    return records


def test_book_model_matches_its_coefficients(tmp_path: Path) -> None:
    """The pickled pair of scikit-learn 0.24.2 matches, to 1e-9, the probability computed from its coefficients."""
    path = real_model(*CHURN)
    package = import_model(path, name="churn", trust_pickle=True, out=tmp_path / "churn")
    reading = subprocess.run(
        [sys.executable, "-c", COEFFICIENTS, str(path)], capture_output=True, text=True, check=True, timeout=120
    )
    original = json.loads(reading.stdout)
    rows = customers(300)
    answers = open_package(tmp_path / "churn").predict_many(rows)
    for row, answer in zip(rows, answers, strict=True):
        logit = original["intercept"]
        for name, weight in zip(original["names"], original["coef"], strict=True):
            field, equals, value = name.partition("=")
            logit += weight * (float(row[field] == value) if equals else row[field])
        assert answer.probabilities[1] == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-9)
    lineage = package.manifest.lineage
    assert lineage.framework == "scikit-learn 0.24.2"
    assert lineage.source_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (lineage.sandbox, lineage.parity.reference, lineage.parity.samples) == ("strong", "original", "generated")
    assert lineage.parity.largest_difference < 1e-9


@pytest.mark.parametrize("year", ["2021", "2022"])
def test_model_and_vectorizer_in_two_files(year: str) -> None:
    """Two pickles, as in the book's homework, become one package that takes records."""
    folder = f"{year}-homework"
    package = import_model(
        real_model("mlbookcamp", folder, "model1.bin"),
        vectorizer=real_model("mlbookcamp", folder, "dv.bin"),
        name="churn",
        trust_pickle=True,
        figures=False,
    )
    assert isinstance(package.manifest.steps, MatrixSteps)
    assert any(column.equals for column in package.manifest.steps.columns)


def test_vectorizer_only_is_rejected_before_loading(tmp_path: Path) -> None:
    """A pickle with a vectorizer only is rejected by the scan, without loading a library; a complete pair is opened."""
    no_time = Bounds(wall_seconds=0.01)
    vectorizer, model = vectorizer_and_model()
    for content, error in ((vectorizer, ConversionError), ((vectorizer, model), SandboxError)):
        path = tmp_path / "thing.pickle"
        path.write_bytes(pickle.dumps(content))
        with pytest.raises(error):
            import_model(path, name="half", trust_pickle=True, bounds=no_time)


def test_a_vectorizer_alone_is_no_model() -> None:
    """A lone DictVectorizer is rejected with the flag to use it."""
    with pytest.raises(ConversionError, match="--vectorizer"):
        import_model(real_model("mlbookcamp", "2021-homework", "dv.bin"), name="dv", trust_pickle=True)


KSERVE = [
    ("joblib", "2021-12-09_0abb606_model.joblib", "0.20.3"),
    ("joblib", "2023-04-09_1aa2667_model.joblib", "1.0.1"),
    ("joblib", "2024-09-29_a6585f6_model.joblib", "1.3.2"),
    ("pickle", "2020-11-14_6b3b7c2_model.pickle", "0.20.3"),
    ("pkl", "2024-09-29_42a8219_model.pkl", "1.3.2"),
]


@pytest.mark.parametrize(("folder", "file", "written_by"), KSERVE)
def test_support_vector_machines_of_many_releases_come_in(folder: str, file: str, written_by: str) -> None:
    """Iris classifiers pickled by scikit-learn 0.20 to 1.3 are imported and classify three typical flowers."""
    path = real_model("kserve", "sklearnserver", folder, "model", file)
    package = import_model(path, name="iris", trust_pickle=True, figures=False)
    assert package.manifest.lineage.framework == f"scikit-learn {written_by}"
    measures = {"0": [5.1, 3.5, 1.4, 0.2], "1": [6.0, 2.7, 4.2, 1.3], "2": [6.9, 3.1, 5.7, 2.3]}
    for label, values in measures.items():
        assert package.predict({f"f{index}": value for index, value in enumerate(values)}).predicted_label == label


def test_unloadable_model_names_both_versions() -> None:
    """A model too old for the installed scikit-learn is rejected, naming both versions."""
    import sklearn

    with pytest.raises(ConversionError, match=rf"0\.19\.1.*{sklearn.__version__}.*--with scikit-learn==0\.19\.2"):
        import_model(real_model("leaves", "sk_iris.model"), name="iris", trust_pickle=True)


@pytest.mark.parametrize("data", ["pickle", "joblib"])
def test_without_trust_nothing_is_loaded(data: str, tmp_path: Path) -> None:
    """An untrusted pickle is rejected before any process starts, and its imports are named."""
    canary = tmp_path / "canary"
    path = tmp_path / "model.onnx"
    hostile = Calls(f"touch {canary}")
    if data == "joblib":
        joblib.dump(hostile, path, compress=3)
    else:
        path.write_bytes(pickle.dumps(hostile))
    with pytest.raises(PickleNotTrustedError, match=r"system, which is unusual.*--trust-pickle"):
        import_model(path, name="evil")
    assert not canary.exists()


def test_a_trusted_hostile_pickle_still_does_no_harm(tmp_path: Path) -> None:
    """With trust given by mistake, the payload does not run outside the sandbox."""
    canary = tmp_path / "canary"
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(Calls(f"touch {canary}")))
    with pytest.raises(ConversionError):
        import_model(path, name="evil", trust_pickle=True, out=tmp_path / "out")
    assert not canary.exists()
    assert not (tmp_path / "out").exists()


def in_a_zip(data: bytes, *, broken: bool = False) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("inner/model.pkl", data)
    content = bytearray(buffer.getvalue())
    if broken:
        content[60] ^= 0xFF
    return bytes(content)


HOSTILE = pickle.dumps(Calls("true"))


@pytest.mark.parametrize(
    "data",
    [in_a_zip(HOSTILE), in_a_zip(in_a_zip(HOSTILE)), in_a_zip(HOSTILE, broken=True), HOSTILE + b"x", b"", b"\x80", HOSTILE[:1]],
    ids=["zip", "zip in zip", "bad CRC", "tail", "empty", "one byte", "cut"],
)
def test_wrapped_and_broken_files_are_refused_unopened(data: bytes, tmp_path: Path) -> None:
    """Nested, damaged and truncated files are rejected by their bytes, even when trusted."""
    path = tmp_path / "model.pkl"
    path.write_bytes(data)
    with pytest.raises(UnknownFileFormatError):
        import_model(path, name="evil", trust_pickle=True)


def test_a_truncated_pickle_fails_inside(tmp_path: Path) -> None:
    """A truncated pickle is rejected."""
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(vectorizer_and_model())[:-50])
    with pytest.raises(ConversionError, match="cannot be loaded"):
        import_model(path, name="cut", trust_pickle=True)


def test_other_formats_are_named_and_refused() -> None:
    """A PMML file is rejected by its name, with a suggestion."""
    folder = ("kserve", "pmmlserver", "example_model", "model")
    with pytest.raises(ImportModelError, match=r"PMML 4\.2.*cannot be imported by this release.*ONNX"):
        import_model(real_model(*folder, "2020-11-10_19ad1ae_model.pmml"), name="tree")


def test_one_thread_is_enough_for_a_forest(tmp_path: Path) -> None:
    """A forest with n_jobs=-1 is imported on one thread and predicts the same."""
    from sklearn.ensemble import RandomForestClassifier

    rng = np.random.default_rng(0)
    table = rng.normal(size=(200, 4))
    forest = RandomForestClassifier(20, n_jobs=-1, random_state=0).fit(table, np.where(table[:, 0] > 0, "up", "down"))
    path = tmp_path / "forest.joblib"
    joblib.dump(forest, path, compress=("xz", 3))
    package = import_model(path, name="forest", trust_pickle=True, features=list("abcd"), samples=table, figures=False)
    assert package.manifest.output.labels == ("down", "up")
    assert package.manifest.lineage.parity.samples == "user"
    assert package.manifest.lineage.parity.rows == 200
    row = dict(zip("abcd", table[0].tolist(), strict=True))
    assert package.predict(row).probabilities == pytest.approx(tuple(forest.predict_proba(table[:1])[0]), abs=1e-4)


def test_ignored_one_vs_rest_option_is_rejected(tmp_path: Path) -> None:
    """An old LogisticRegression with an option that the current library ignores is rejected, since its predictions would differ."""
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    model = LogisticRegression().fit(rng.normal(size=(90, 2)), np.repeat([0, 1, 2], 30))
    model.__dict__["multi_class"] = "ovr"
    path = tmp_path / "old.pkl"
    path.write_bytes(pickle.dumps(model))
    with pytest.raises(ConversionError, match="multi_class='ovr'"):
        import_model(path, name="old", trust_pickle=True)


def test_a_row_of_pixels_becomes_a_picture(tmp_path: Path) -> None:
    """A scikit-learn model over pixels is imported for images when scale and mode are given."""
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression

    digits = load_digits()
    model = LogisticRegression(max_iter=200).fit(digits.data[:600], digits.target[:600])
    path = tmp_path / "digits.pkl"
    path.write_bytes(pickle.dumps(model))
    with pytest.raises(InvalidOptionsError, match=r"--mode.*--scale"):
        import_model(path, name="digits", trust_pickle=True, kind="image")
    images = np.round(digits.images[600:700] * 255 / 16).astype(np.uint8)
    package = import_model(
        path, name="digits", trust_pickle=True, kind="image", mode="L", scale=16 / 255, samples=images, figures=False,
        truth=digits.target[600:700],
    )  # fmt: skip
    assert isinstance(package.manifest.input, ImageInput)
    assert (package.manifest.input.width, package.manifest.input.height) == (8, 8)
    assert package.manifest.lineage.parity.labels_agreeing == 1.0


def small_onnx(shape: list[Any], columns: int) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    width = int(np.prod([side for side in shape if isinstance(side, int)]))
    weights = numpy_helper.from_array(np.random.default_rng(0).normal(size=(width, columns)).astype(np.float32) / width, "w")
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["m"])]
    nodes.append(helper.make_node("Softmax" if columns > 1 else "Identity", ["m"], ["y"]))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, columns])],
        [weights],
    )
    return bytes(helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString())


def test_a_row_of_pixels_is_asked_about(tmp_path: Path) -> None:
    """A pickle that takes 784 numbers needs an explicit --kind; image samples need a scale."""
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    model = LogisticRegression(max_iter=1000).fit(rng.random((40, 784)), np.arange(40) % 2)
    path = tmp_path / "clf.pickle"
    path.write_bytes(pickle.dumps(model))
    with pytest.raises(InvalidOptionsError, match="--kind record, or --kind image with --mode and --preprocess, or --samples"):
        import_model(path, name="digits", trust_pickle=True)
    images = rng.integers(0, 256, (12, 28, 28), dtype=np.uint8)
    with pytest.raises(InvalidOptionsError, match="--preprocess NAME or --scale NUMBER"):
        import_model(path, name="digits", trust_pickle=True, samples=images)
    package = import_model(
        path, name="digits", trust_pickle=True, samples=images, preprocess="01", background="black", orientation="ignore"
    )
    steps = package.manifest.steps
    assert isinstance(steps, ImageSteps)
    assert (steps.scale, steps.orientation, steps.background) == (1 / 255, "ignore", "black")
    record = import_model(path, name="digits", trust_pickle=True, kind="record")
    assert isinstance(record.manifest.input, RecordInput)


@pytest.mark.parametrize(
    ("shape", "columns", "flags"),
    [
        ([None, 8, 8, 1], 3, ["--scale", "--labels"]),
        ([None, 3, "h", "w"], 2, ["--scale", "--size", "--labels"]),
        ([None, 5, 5, 5], 2, ["--scale", "--layout", "--labels"]),
        ([None, 784], 10, ["--kind", "--labels"]),
        ([None, 4], 3, ["--labels"]),
    ],
)
def test_all_missing_options_are_reported_at_once(shape: list[Any], columns: int, flags: list[str], tmp_path: Path) -> None:
    """All options that an ONNX file leaves open are reported in one error, as command line flags."""
    path = tmp_path / "model.onnx"
    path.write_bytes(small_onnx(shape, columns))
    with pytest.raises(InvalidOptionsError) as caught:
        import_model(path, name="open")
    known = ("--kind", "--scale", "--layout", "--size", "--mode", "--labels")
    assert {flag for flag in known if flag in str(caught.value)} == set(flags)


def test_a_regression_needs_no_answers(tmp_path: Path) -> None:
    """An ONNX file with one output over named numbers is imported without further options."""
    path = tmp_path / "model.onnx"
    path.write_bytes(small_onnx([None, 4], 1))
    package = import_model(path, name="price", features=["a", "b", "c", "d"], unit="€", out=tmp_path / "price.zip")
    assert package.manifest.output.task is Task.REGRESSION
    assert open_package(tmp_path / "price.zip").predict({"a": 1, "b": 2, "c": 3, "d": 4}).value is not None


@pytest.mark.parametrize("options", [{"kind": "image", "mode": "L"}, {"kind": "image", "mode": "RGB", "size": (7, 37)}])
def test_flat_image_needs_kind(options: dict[str, Any], tmp_path: Path) -> None:
    """A row of numbers becomes an image when the user says so, square or of a given size."""
    width = 64 if options["mode"] == "L" else 7 * 37 * 3
    path = tmp_path / "model.onnx"
    path.write_bytes(small_onnx([None, width], 2))
    package = import_model(path, name="flat", labels=["no", "yes"], scale=1 / 255, **options)
    assert isinstance(package.manifest.steps, ImageSteps)
    assert package.manifest.steps.layout == "flat"
    assert isinstance(package.manifest.input, ImageInput)
    assert package.manifest.input.width == options.get("size", (8, 8))[0]


def test_a_hostile_onnx_is_refused_before_anything_opens_it(tmp_path: Path) -> None:
    """An ONNX file that references another file is rejected by the audit."""
    import onnx

    proto = onnx.ModelProto.FromString(small_onnx([None, 4], 1))
    proto.graph.initializer[0].ClearField("raw_data")
    proto.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    proto.graph.initializer[0].external_data.add(key="location", value="../secret")
    path = tmp_path / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(InvalidOnnxError, match="one file"):
        import_model(path, name="evil")


def test_real_mnist_network_is_imported() -> None:
    """A real convolutional network, converted to ONNX by its author, is imported for images."""
    path = real_model("n-harish-mnist", "onnx_mnist.onnx")
    package = import_model(path, name="mnist", scale=1 / 255, labels=[str(digit) for digit in range(10)], figures=False)
    assert isinstance(package.manifest.input, ImageInput)
    assert package.manifest.lineage.framework.startswith("onnx")
    assert package.manifest.lineage.sandbox == "strong"


def test_the_same_import_is_the_same_package(tmp_path: Path) -> None:
    """Importing a file twice gives the same digest: no time, path or randomness enters."""
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(vectorizer_and_model()))
    first = import_model(path, name="same", trust_pickle=True, figures=False)
    os.utime(path, (1, 1))
    second = import_model(path, name="same", trust_pickle=True, figures=False)
    assert first.digest == second.digest
