"""PyTorch models are converted, live or exported, and predict as the module; files without a model are rejected with advice."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import relevo
from relevo.errors import CodeNotTrustedError, ConversionError, ImportModelError, InvalidOptionsError
from relevo.importing.import_model import import_model

if TYPE_CHECKING:
    from pathlib import Path

torch = pytest.importorskip("torch", reason="PyTorch is large and in no lock file")
pytest.importorskip("onnxscript", reason="it goes with PyTorch")

LABELS = tuple("0123456789")
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)


def network(*, last: Any = None) -> Any:
    """A small network with layers that behave differently in training: dropout and a trained batch norm."""
    torch.manual_seed(0)
    layers = [
        torch.nn.Conv2d(1, 4, 3),
        torch.nn.BatchNorm2d(4),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Dropout(),
        torch.nn.Linear(4 * 6 * 6, 10),
    ]
    module = torch.nn.Sequential(*layers, *([last] if last else []))
    module(torch.rand(16, 1, 8, 8) * 3)
    return module


def outputs(module: Any) -> Any:
    """The module's output in eval mode, as probabilities."""
    module.eval()
    with torch.no_grad():
        scores = module(torch.from_numpy(PIXELS[:, None].astype(np.float32) / np.float32(255)))
    return torch.softmax(scores, 1).numpy()


def exported(module: Any, *, free: bool = True) -> bytes:
    out = io.BytesIO()
    axes = ({0: torch.export.Dim.DYNAMIC},) if free else None
    torch.export.save(torch.export.export(module.eval(), (torch.rand(2, 1, 8, 8),), dynamic_shapes=axes), out)
    return out.getvalue()


def test_a_live_module_is_packed_in_eval_mode() -> None:
    """A module in training mode is packed in eval mode and returned in training mode, and logits become probabilities."""
    module = network()
    assert module.training
    package = relevo.pack(
        module, name="digits", samples=PIXELS, labels=LABELS, scale=1 / 255, truth=np.arange(40) % 10, figures=False
    )
    assert module.training
    parity = package.manifest.lineage.parity
    assert (parity.reference, parity.rows) == ("original", 40)
    assert parity.largest_difference < 1e-5
    assert package.manifest.output.activation == "softmax"
    assert package.manifest.lineage.framework.startswith("PyTorch ")
    expected = outputs(module)[0]
    from relevo.package.samples import png

    np.testing.assert_allclose(package.predict(png(PIXELS[0])).probabilities, expected, atol=1e-5)


def test_the_same_module_is_the_same_package() -> None:
    """The package contains no time, path or exporter metadata: packing twice gives one digest."""
    module = network()
    first, second = (
        relevo.pack(module, name="digits", samples=PIXELS, labels=LABELS, scale=1 / 255, figures=False) for _ in range(2)
    )
    assert first.digest == second.digest
    assert b"site-packages" not in first.read("model.onnx")


def test_probabilities_are_unchanged_and_scores_can_be_declared() -> None:
    """The output of a softmax is probabilities and cannot be declared logits; a linear layer's scores are what the user says."""
    module = network(last=torch.nn.Softmax(dim=1))
    arguments: dict[str, Any] = {"name": "digits", "samples": PIXELS, "labels": LABELS, "scale": 1 / 255, "figures": False}
    assert relevo.pack(module, **arguments).manifest.output.activation == "none"
    assert relevo.pack(module, scores="probabilities", **arguments).manifest.output.activation == "none"
    with pytest.raises(ConversionError, match="logits, and come out of a softmax: they are probabilities already"):
        relevo.pack(module, scores="logits", **arguments)
    assert relevo.pack(network(), scores="logits", **arguments).manifest.output.activation == "softmax"
    with pytest.raises(ConversionError, match="said to be probabilities, and lie between"):
        relevo.pack(network(), scores="probabilities", **arguments)


def test_a_module_over_records_gives_a_value() -> None:
    """A row of numbers in, one number out: a regression over named fields."""
    torch.manual_seed(0)
    table = np.random.default_rng(0).normal(size=(50, 3))
    package = relevo.pack(torch.nn.Linear(3, 1), name="price", samples=table, features=["a", "b", "c"], figures=False)
    assert package.manifest.output.task == "regression"
    assert package.manifest.lineage.parity.largest_difference < 1e-6


def test_missing_options_are_required() -> None:
    """Pixels without a scale, and scores without labels, are rejected."""
    with pytest.raises(InvalidOptionsError, match="scale"):
        relevo.pack(network(), name="digits", samples=PIXELS, labels=LABELS)
    with pytest.raises(InvalidOptionsError, match="labels"):
        relevo.pack(network(), name="digits", samples=PIXELS, scale=1 / 255)


def test_an_exported_program_is_imported_through_the_sandbox(tmp_path: Path) -> None:
    """A .pt2 is opened only with the trust flag, reports all missing options at once, and predicts as the module."""
    module = network()
    path = tmp_path / "model.pt2"
    path.write_bytes(exported(module))
    with pytest.raises(CodeNotTrustedError, match="--trust-pickle"):
        import_model(path, name="digits")
    with pytest.raises(InvalidOptionsError, match=r"--scale.*--labels"):
        import_model(path, name="digits", trust_pickle=True)
    package = import_model(path, name="digits", trust_pickle=True, labels=LABELS, scale=1 / 255, samples=PIXELS, figures=False)
    lineage = package.manifest.lineage
    assert (lineage.sandbox, lineage.parity.reference, lineage.parity.samples) == ("strong", "original", "user")
    assert lineage.parity.largest_difference < 1e-5
    from relevo.package.samples import png

    np.testing.assert_allclose(package.predict(png(PIXELS[3])).probabilities, outputs(module)[3], atol=1e-5)


def test_a_fixed_batch_size_is_rejected(tmp_path: Path) -> None:
    """An export with a fixed batch size is rejected with the line that frees it."""
    path = tmp_path / "model.pt2"
    path.write_bytes(exported(network(), free=False))
    with pytest.raises(ConversionError, match=r"exactly 2 row.*Dim\.DYNAMIC"):
        import_model(path, name="digits", trust_pickle=True, labels=LABELS, scale=1 / 255)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_torchscript_is_imported_with_its_input(tmp_path: Path) -> None:
    """TorchScript does not contain its input shape; with the options it predicts as the module."""
    path = tmp_path / "model.pt"
    torch.jit.save(torch.jit.trace(network().eval(), torch.rand(2, 1, 8, 8)), path)
    with pytest.raises(InvalidOptionsError, match="--kind image"):
        import_model(path, name="digits", trust_pickle=True)
    package = import_model(
        path, name="digits", trust_pickle=True, labels=LABELS, scale=1 / 255, samples=PIXELS, kind="image", figures=False
    )
    assert package.manifest.lineage.parity.largest_difference < 1e-5
    assert package.manifest.lineage.framework.startswith("TorchScript")


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("whole", [False, True])
def test_weights_without_a_model_are_rejected(tmp_path: Path, *, whole: bool, old: bool) -> None:
    """A state_dict, or a pickled module, in either format of torch.save, is rejected without being loaded."""
    path = tmp_path / "model.pt"
    module = network()
    torch.save(module if whole else module.state_dict(), path, _use_new_zipfile_serialization=not old)
    with pytest.raises(ImportModelError, match=r"relevo\.pack\(module"):
        import_model(path, name="digits", trust_pickle=True)
