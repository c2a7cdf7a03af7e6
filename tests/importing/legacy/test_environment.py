"""Old files are loaded by the libraries that wrote them, in an environment that is removed afterwards."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from tests.support.hostile_files import MODELS, pickle_running, real_model

from relevo.converters.sklearn.versions import advice, time_of
from relevo.errors import ConversionError, InvalidOptionsError, LegacyEnvironmentError
from relevo.importing.import_model import import_model
from relevo.importing.legacy.environment import legacy_environment, read_releases
from relevo.importing.sandbox import protocol
from relevo.importing.sandbox.client import predict_with_legacy
from relevo.importing.sandbox.linux import landlock

CHURN = ("mlbookcamp", "2021-10", "model_C=1.0.bin")
#: A Python 3.7 for the oldest files, where available.
OLD_PYTHON = os.environ.get("RELEVO_TEST_OLD_PYTHON", "")


@pytest.mark.parametrize(
    "requirement", ["scikit-learn", "--index-url=x", "scikit-learn>=1", "a==1 b==2", "pip @ file:///x", "x==1; y", ""]
)
def test_only_a_name_and_a_version_are_taken(requirement: str) -> None:
    """The value of --with is never an option, an address or a range."""
    with pytest.raises(InvalidOptionsError, match="NAME==VERSION"):
        read_releases([requirement])


def test_sklearn_means_scikit_learn() -> None:
    """sklearn, in any spelling, is the package scikit-learn."""
    assert [str(release) for release in read_releases(["sklearn==1.1.3", "Scikit_Learn==1.1.3"])] == ["scikit-learn==1.1.3"] * 2


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("scikit-learn 0.24.2", "--with scikit-learn==0.24.2 --python python3.9"),
        ("scikit-learn 0.19.1", "--with scikit-learn==0.19.2 --python python3.7"),
        ("scikit-learn 1.0.2, 1.0.1", "--with scikit-learn==1.0.2 --python python3.9"),
        ("scikit-learn 0.17", ""),
        ("onnx", ""),
        ("scikit-learn $(reboot)", ""),
        ("", ""),
    ],
)
def test_suggested_flags_follow_from_the_bytes(source: str, line: str) -> None:
    """The suggestion names a release that has wheels, and a Python for it where the current one is too new; else it is empty."""
    assert advice(source) == line


def test_a_release_of_this_python_needs_no_other() -> None:
    """For a release whose wheels fit this Python no other is suggested."""
    if sys.version_info[:2] != (3, 11):
        pytest.skip("1.1.3 has wheels for Python 3.11")
    assert advice("scikit-learn 1.1.3") == "--with scikit-learn==1.1.3"
    assert advice("scikit-learn 1.1.2") == "--with scikit-learn==1.1.2 --python python3.10"
    row = time_of("1.1.3")
    assert row is not None
    assert row.numpy == "<1.25"


@pytest.mark.parametrize(("python", "message"), [("no-such-python", "no program"), ("true", "not a Python")])
def test_invalid_python_is_rejected(python: str, message: str) -> None:
    """An invalid --python stops the import before anything is installed."""
    with pytest.raises(LegacyEnvironmentError, match=message), legacy_environment(read_releases(["scikit-learn==1.1.3"]), python):
        pytest.fail("an environment without a Python")


def test_unreachable_index_is_reported(monkeypatch: pytest.MonkeyPatch, temp_folder: Path) -> None:
    """Without a reachable index the error says so, and nothing is left behind."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with (
        pytest.raises(LegacyEnvironmentError, match="cannot be reached"),
        legacy_environment(read_releases(["scikit-learn==1.1.3"])),
    ):
        pytest.fail("an environment without an index")
    assert list(temp_folder.iterdir()) == []


@pytest.fixture
def temp_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for this test's temporary environments."""
    folder = tmp_path / "place"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.skipif(not landlock.version(), reason="this kernel has no Landlock")
def test_legacy_worker_is_sandboxed(tmp_path: Path) -> None:
    """A hostile pickle cannot read or write in the legacy worker either."""
    secret = tmp_path / "secret"
    secret.write_text("secret", encoding="utf-8")
    canary = tmp_path / "canary"
    for act in (f"open({str(secret)!r}).read()", f"open({str(canary)!r}, 'w')", "__import__('socket').socket()"):
        with pytest.raises(ConversionError, match=r"PermissionError|Errno 1\b|Errno 13"):
            predict_with_legacy(
                protocol.LegacyRequest(), [pickle_running(act), b"", b""], python=Path(sys.executable), need_strong=True
            )
    assert not canary.exists()


def test_incomplete_option_combinations_are_rejected() -> None:
    """--python without --with, and --outputs without --samples, are rejected."""
    path = real_model(*CHURN)
    with pytest.raises(InvalidOptionsError, match="--with"):
        import_model(path, name="churn", trust_pickle=True, python="python3.9")
    with pytest.raises(InvalidOptionsError, match="--samples"):
        import_model(path, name="churn", trust_pickle=True, outputs=[[0.5]])


def test_with_goes_with_pickles_only(digits_onnx: Path) -> None:
    """--with is rejected for a file that needs no old library."""
    with pytest.raises(InvalidOptionsError, match="pickles"):
        import_model(digits_onnx, name="digits", releases=["scikit-learn==1.1.3"])


@pytest.fixture
def digits_onnx(tmp_path: Path) -> Path:
    onnx = pytest.importorskip("onnx", reason="writing ONNX needs the extra sklearn")
    helper = onnx.helper
    value = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", value[:1], value[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="1.1.3 has wheels for Python 3.11")
def test_legacy_library_is_the_reference(temp_folder: Path) -> None:
    """The book's model of 2021 is verified against scikit-learn 1.1.3, really installed, and the environment is removed afterwards."""
    path = real_model(*CHURN)
    try:
        package = import_model(path, name="churn", trust_pickle=True, figures=False, releases=["scikit-learn==1.1.3"])
    except LegacyEnvironmentError as refusal:
        if "reached" not in str(refusal):
            raise
        pytest.skip(f"no package index is reachable ({refusal})")
    lineage = package.manifest.lineage
    assert lineage.framework == "scikit-learn 0.24.2"
    assert lineage.parity.reference == "original in scikit-learn 1.1.3"
    assert lineage.parity.largest_difference < 1e-9
    assert list(temp_folder.glob("relevo-environment-*")) == []
    assert "read by scikit-learn 1.1.3 in an environment of its own time" in package.read("card.md").decode()


@pytest.mark.skipif(not OLD_PYTHON, reason="no Python 3.7 is named (set RELEVO_TEST_OLD_PYTHON)")
def test_unloadable_model_is_serialized_by_legacy_library() -> None:
    """A boosting of 0.19 that the current library cannot load matches, to 1e-9, its author's own predictions."""
    rows = [line.split()[1:] for line in (MODELS / "leaves" / "iris_test.libsvm").read_text(encoding="utf-8").splitlines()]
    table = np.array([[float(cell.partition(":")[2]) for cell in row] for row in rows])
    try:
        package = import_model(
            real_model("leaves", "sk_iris.model"),
            name="iris",
            trust_pickle=True,
            figures=False,
            samples=table,
            releases=["scikit-learn==0.19.2"],
            python=OLD_PYTHON,
        )
    except LegacyEnvironmentError as refusal:
        if "reached" not in str(refusal):
            raise
        pytest.skip(f"no package index is reachable ({refusal})")
    margins = np.loadtxt(MODELS / "leaves" / "sk_iris_true_predictions.txt", delimiter="\t")
    shares = np.exp(margins) / np.exp(margins).sum(axis=1, keepdims=True)
    names = [f"f{column}" for column in range(4)]
    answers = package.predict_many([dict(zip(names, row, strict=True)) for row in table.tolist()])
    np.testing.assert_allclose([answer.probabilities for answer in answers], shares, rtol=1e-9)
    assert package.manifest.lineage.parity.reference == "original in scikit-learn 0.19.2"
