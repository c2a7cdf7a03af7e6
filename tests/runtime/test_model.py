"""One model version: prepare, run, finish; the same results alone and in batches."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from relevo.errors import InvalidJsonError, InvalidOnnxError, ModelError, UnsupportedImageError, UnsupportedMediaTypeError
from relevo.package.package import load_runnable
from relevo.runtime.session import Session

if TYPE_CHECKING:
    from relevo.package.package import Package

SIZES = (1, 2, 3, 7, 16, 50)


@pytest.mark.parametrize("size", SIZES)
def test_a_batch_of_pictures_equals_single_calls(digits_package: Package, digit_pngs: list[bytes], size: int) -> None:
    """N images in one run get the N answers of single runs: labels equal, numbers within the golden tolerance."""
    same_as_alone(digits_package, digit_pngs, size)


@pytest.mark.parametrize("size", SIZES)
def test_a_batch_of_records_equals_single_calls(churn_package: Package, churn_records: list[Any], size: int) -> None:
    """N records in one run get the N answers of single runs: labels equal, numbers within the golden tolerance."""
    same_as_alone(churn_package, churn_records, size)


@pytest.mark.parametrize("at_once", [1, 3])
def test_rows_in_parts_equal_rows_together(digits_package: Package, digit_pngs: list[bytes], at_once: int) -> None:
    """A session that receives a batch in parts gives the results of the whole batch, in order, including the last part."""
    model = load_runnable(digits_package)
    rows = [model.preprocess(picture) for picture in digit_pngs[:7]]
    whole = model.run(rows)
    model.best_batch_size = at_once
    np.testing.assert_allclose(model.run(rows), whole, rtol=0, atol=digits_package.manifest.golden_tolerance)


def same_as_alone(package: Package, payloads: list[Any], size: int) -> None:
    model = load_runnable(package)
    alone = [model.predict(payload) for payload in payloads]
    for start in range(0, len(payloads) - size + 1, size):
        rows = [model.preprocess(payload) for payload in payloads[start : start + size]]
        for batched, single in zip(model.postprocess(model.run(rows)), alone[start : start + size], strict=True):
            assert (batched.predicted_label, batched.index, batched.uncertain) == (
                single.predicted_label,
                single.index,
                single.uncertain,
            )
            assert np.allclose(batched.probabilities, single.probabilities, rtol=0, atol=package.manifest.golden_tolerance)


def test_each_kind_refuses_the_others_payload(digits_package: Package, churn_package: Package, churn_records: list[Any]) -> None:
    """A record for an image model, a file for a record model, and other values for either are rejected by type."""
    with pytest.raises(UnsupportedMediaTypeError):
        load_runnable(digits_package).preprocess(churn_records[0])
    with pytest.raises(UnsupportedMediaTypeError):
        load_runnable(churn_package).preprocess(b"\x89PNG")
    with pytest.raises(UnsupportedImageError):
        load_runnable(digits_package).preprocess(b"nonsense")
    with pytest.raises(InvalidJsonError):
        load_runnable(churn_package).preprocess([])  # type: ignore[arg-type]  # wrong on purpose


def test_bytes_that_are_no_model_are_refused() -> None:
    """Invalid or empty bytes give no session, and the error message is one line."""
    for onnx in (b"", b"nonsense", bytes(100)):
        with pytest.raises(InvalidOnnxError) as caught:
            Session(onnx, output="y")
        assert "\n" not in str(caught.value)


def test_an_output_that_is_not_there_is_named(digits_package: Package) -> None:
    """An output that the model lacks is rejected with a list of those it has."""
    with pytest.raises(InvalidOnnxError, match="'nope', only"):
        Session(digits_package.onnx, output="nope")


def test_what_the_runtime_raises_is_the_models_failure(digits_package: Package) -> None:
    """A tensor of the wrong shape, or an input with another name, is a failure of the model, with the cause kept."""
    session = Session(digits_package.onnx, output=digits_package.manifest.output.name)
    name = next(iter(session.inputs))
    for feeds in ({name: np.zeros((1, 3), np.float32)}, {"other": np.zeros((1, 64), np.float32)}):
        with pytest.raises(ModelError) as caught:
            session.run(feeds)
        assert caught.value.__cause__ is not None


def test_the_runtime_is_loaded_late_and_without_reports() -> None:
    """Importing the package loads no ONNX Runtime; loading it disables its telemetry first."""
    code = (
        "import os, sys, relevo.runtime.model, relevo.runtime.session as s\n"
        "assert 'onnxruntime' not in sys.modules\n"
        "s.load_onnxruntime()\n"
        "assert os.environ['ORT_DISABLE_TELEMETRY'] == '1'\n"
    )
    environ = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
