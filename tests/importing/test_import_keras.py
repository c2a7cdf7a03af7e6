"""Keras files and SavedModel folders are imported through the sandbox."""

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
#: A warning of Keras while it writes the files.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")
keras: Any = library("keras")
layers: Any = keras.layers

DATA = Path(os.environ.get("RELEVO_TEST_DATA", "../shared/data")) / "models"
IMAGES = np.random.default_rng(4).integers(0, 256, (12, 10, 10, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def model() -> Any:
    keras.utils.set_random_seed(9)
    image_input = keras.Input((10, 10, 3))
    features = layers.GlobalAveragePooling2D()(layers.Conv2D(5, 3, activation="relu")(image_input))
    return keras.Model(image_input, layers.Dense(3, activation="softmax")(features))


def probabilities(package: Package) -> Any:
    return np.array([answer.probabilities for answer in package.predict_many([png(image) for image in IMAGES])])


def test_keras_zip_is_imported_in_strong_sandbox(model: Any, tmp_path: Path) -> None:
    """A `.keras` file matches the network on the user's images, measured against their truth, in a strong sandbox."""
    model.save(tmp_path / "m.keras")
    package = import_model(
        tmp_path / "m.keras",
        name="m",
        samples=IMAGES,
        truth=[number % 3 for number in range(12)],
        labels=["a", "b", "c"],
        preprocess="tf",
        figures=False,
    )
    expected = model.predict(IMAGES.astype(np.float32) / 127.5 - 1, verbose=0)
    assert np.abs(probabilities(package) - expected).max() < 1e-6
    lineage = package.manifest.lineage
    assert (lineage.sandbox, lineage.parity.reference, lineage.framework) == ("strong", "original", f"Keras {keras.__version__}")
    assert package.metrics["rows"] == 12


def test_a_saved_model_is_one_digest_and_answers_the_same(model: Any, tmp_path: Path) -> None:
    """The folder is imported; links in it are rejected; missing options are reported at once."""
    folder = tmp_path / "saved"
    model.export(folder, verbose=False)
    with pytest.raises(InvalidOptionsError, match=r"--preprocess NAME.*--labels"):
        import_model(folder, name="m")
    package = import_model(folder, name="m", labels=["a", "b", "c"], preprocess="caffe", figures=False)
    caffe = IMAGES[..., ::-1].astype(np.float32) - np.array([103.939, 116.779, 123.68], np.float32)
    assert np.abs(probabilities(package) - model.predict(caffe, verbose=0)).max() < 1e-5
    assert package.manifest.lineage.sandbox == "strong"
    (folder / "assets").mkdir(exist_ok=True)
    (folder / "assets" / "outside").symlink_to("/etc/hostname")
    with pytest.raises(UnknownFileFormatError, match="neither a file nor a folder"):
        import_model(folder, name="m")


def test_missing_weights_and_lambda_layers_are_rejected(model: Any, tmp_path: Path) -> None:
    """An architecture needs its weights before anything is opened; a Lambda layer is rejected in the sandbox."""
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


@pytest.mark.skipif(not DATA.is_dir(), reason="the real models (RELEVO_TEST_DATA) are not available")
def test_real_network_matches_its_onnx_conversion(tmp_path: Path) -> None:
    """An HDF5 file of 2021 and its author's ONNX conversion give the same predictions for the same images."""
    options: dict[str, Any] = {"name": "m", "labels": list("0123456789"), "preprocess": "01", "figures": False}
    from_keras = import_model(DATA / "n-harish-mnist" / "mnist.h5", out=tmp_path / "ours", **options)
    from_onnx = import_model(DATA / "n-harish-mnist" / "onnx_mnist.onnx", **options)
    assert from_keras.manifest.lineage.framework == "Keras 2.3.0"
    grey = [png(image) for image in np.random.default_rng(0).integers(0, 256, (40, 28, 28), dtype=np.uint8)]
    pairs = zip(from_keras.predict_many(grey), from_onnx.predict_many(grey), strict=True)
    assert max(np.abs(np.subtract(answer.probabilities, other.probabilities)).max() for answer, other in pairs) <= 1e-6


@pytest.mark.skipif(not DATA.is_dir(), reason="the real models (RELEVO_TEST_DATA) are not available")
def test_real_architecture_and_weights_of_2017() -> None:
    """Keras 2.0.4's bare list of layers with separate weights: two sigmoids, each a score of its own."""
    folder = DATA / "ardamavi-dogcat"
    package = import_model(
        folder / "model.json", weights=folder / "weights.h5", name="m", labels=["cat", "dog"], preprocess="01", figures=False
    )
    lineage = package.manifest.lineage
    assert lineage.framework == "Keras 2.0.4"
    assert lineage.parity.largest_difference <= 1e-5
    assert package.manifest.output.activation == "none"
