"""Keras' files and SavedModel's folders through the quarantine, from a path to a package."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from relevo.converters.keras.silent_import import library
from relevo.errors import ConversionError, InvalidOptionsError, UnknownFileFormatError
from relevo.importing.import_model import import_model
from relevo.package.samples import png

if TYPE_CHECKING:
    from relevo.package.package import Package

pytest.importorskip("tensorflow", reason="Keras files need the extra 'keras'")
pytest.importorskip("tf2onnx", reason="Keras files need the extra 'keras'")
#: Keras' own, on the way to the files.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")
keras: Any = library("keras")
layers: Any = keras.layers

DATA = Path(os.environ.get("RELEVO_TEST_DATA", "../shared/data")) / "models"
PICTURES = np.random.default_rng(4).integers(0, 256, (12, 10, 10, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def model() -> Any:
    keras.utils.set_random_seed(9)
    given = keras.Input((10, 10, 3))
    inner = layers.GlobalAveragePooling2D()(layers.Conv2D(5, 3, activation="relu")(given))
    return keras.Model(given, layers.Dense(3, activation="softmax")(inner))


def probabilities(package: Package) -> Any:
    return np.array([answer.probabilities for answer in package.predict_many([png(one) for one in PICTURES])])


def test_a_keras_zip_is_imported_behind_strong_walls(model: Any, tmp_path: Path) -> None:
    """`.keras` with names for the rest answers as the net on the user's pictures, measured against their truth."""
    model.save(tmp_path / "m.keras")
    package = import_model(
        tmp_path / "m.keras",
        name="m",
        samples=PICTURES,
        truth=[number % 3 for number in range(12)],
        labels=["a", "b", "c"],
        preprocess="tf",
        figures=False,
    )
    wanted = model.predict(PICTURES.astype(np.float32) / 127.5 - 1, verbose=0)
    assert np.abs(probabilities(package) - wanted).max() < 1e-6
    lineage = package.manifest.lineage
    assert (lineage.quarantine, lineage.parity.against, lineage.framework) == ("strong", "original", f"Keras {keras.__version__}")
    assert package.metrics["rows"] == 12


def test_a_saved_model_is_one_digest_and_answers_the_same(model: Any, tmp_path: Path) -> None:
    """The folder is read whole; links in it are refused; what it lacks is asked for at once."""
    folder = tmp_path / "saved"
    model.export(folder, verbose=False)
    with pytest.raises(InvalidOptionsError, match=r"--preprocess NAME.*--labels"):
        import_model(folder, name="m")
    package = import_model(folder, name="m", labels=["a", "b", "c"], preprocess="caffe", figures=False)
    caffe = PICTURES[..., ::-1].astype(np.float32) - np.array([103.939, 116.779, 123.68], np.float32)
    assert np.abs(probabilities(package) - model.predict(caffe, verbose=0)).max() < 1e-5
    assert package.manifest.lineage.quarantine == "strong"
    (folder / "assets").mkdir(exist_ok=True)
    (folder / "assets" / "outside").symlink_to("/etc/hostname")
    with pytest.raises(UnknownFileFormatError, match="neither a file nor a folder"):
        import_model(folder, name="m")


def test_a_stranger_without_weights_or_with_a_program_is_refused(model: Any, tmp_path: Path) -> None:
    """An architecture asks for its weights before anything is opened; a Lambda is refused inside."""
    (tmp_path / "m.json").write_text(model.to_json(), encoding="utf-8")
    with pytest.raises(InvalidOptionsError, match="--weights FILE"):
        import_model(tmp_path / "m.json", name="m")
    model.save(tmp_path / "m.h5")
    with pytest.raises(InvalidOptionsError, match="no --weights"):
        import_model(tmp_path / "m.h5", name="m", weights=tmp_path / "m.h5")
    odd = keras.Sequential([keras.Input((3,)), layers.Lambda(abs)])
    odd.save(tmp_path / "odd.keras")
    with pytest.raises(ConversionError, match="a Lambda layer, which is a program"):
        import_model(tmp_path / "odd.keras", name="m")


@pytest.mark.skipif(not DATA.is_dir(), reason="the strangers' models (RELEVO_TEST_DATA) are not here")
def test_a_strangers_network_answers_as_its_twin(tmp_path: Path) -> None:
    """An HDF5 file of 2021 and the ONNX file its author converted then give the same answers to the same pictures."""
    told: dict[str, Any] = {"name": "m", "labels": list("0123456789"), "preprocess": "01", "figures": False}
    ours = import_model(DATA / "n-harish-mnist" / "mnist.h5", out=tmp_path / "ours", **told)
    theirs = import_model(DATA / "n-harish-mnist" / "onnx_mnist.onnx", **told)
    assert ours.manifest.lineage.framework == "Keras 2.3.0"
    grey = [png(one) for one in np.random.default_rng(0).integers(0, 256, (40, 28, 28), dtype=np.uint8)]
    pairs = zip(ours.predict_many(grey), theirs.predict_many(grey), strict=True)
    assert max(np.abs(np.subtract(one.probabilities, other.probabilities)).max() for one, other in pairs) <= 1e-6


@pytest.mark.skipif(not DATA.is_dir(), reason="the strangers' models (RELEVO_TEST_DATA) are not here")
def test_a_strangers_architecture_and_weights_of_2017() -> None:
    """Keras 2.0.4's bare list of layers and its weights apart: two sigmoids, each its own score."""
    folder = DATA / "ardamavi-dogcat"
    package = import_model(
        folder / "model.json", weights=folder / "weights.h5", name="m", labels=["cat", "dog"], preprocess="01", figures=False
    )
    lineage = package.manifest.lineage
    assert lineage.framework == "Keras 2.0.4"
    assert lineage.parity.largest_difference <= 1e-5
    assert package.manifest.output.activation == "none"
