"""User-supplied outputs are the reference: matching ones verify the conversion, others stop it."""

from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING

import numpy as np
import pytest

from relevo.errors import ImportModelError, ParityError
from relevo.importing.import_model import import_model
from relevo.importing.output_files import read_outputs

if TYPE_CHECKING:
    from pathlib import Path

TABLE = np.array([[0.25, 0.75], [0.5, 0.5], [1.0, 0.0]])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("o.csv", "no,yes\n0.25,0.75\n0.5,0.5\n1,0\n"),
        ("o.txt", "0.25\t0.75\n0.5\t0.5\n1.0e0 0\n"),
        ("o.json", json.dumps(TABLE.tolist())),
    ],
)
def test_outputs_are_read_from_common_formats(name: str, text: str, tmp_path: Path) -> None:
    """CSV with or without a header, tab-separated columns and JSON give the same numbers."""
    (tmp_path / name).write_text(text, encoding="utf-8")
    np.testing.assert_array_equal(read_outputs(tmp_path / name), TABLE)


def test_an_array_file_and_a_column_are_taken(tmp_path: Path) -> None:
    """A .npy is read without pickles, and a plain list of numbers is one column."""
    np.save(tmp_path / "o.npy", TABLE)
    np.testing.assert_array_equal(read_outputs(tmp_path / "o.npy"), TABLE)
    assert read_outputs([0.1, 0.2]).shape == (2, 1)


@pytest.mark.parametrize("text", ["", "a\nb\n", "0.1\nnan\n", "0.1,0.2\n0.3\n"])
def test_what_is_no_table_of_numbers_is_refused(text: str, tmp_path: Path) -> None:
    """Empty, ragged or non-finite files are rejected with their name."""
    (tmp_path / "o.csv").write_text(text, encoding="utf-8")
    with pytest.raises(ImportModelError, match=r"o\.csv"):
        read_outputs(tmp_path / "o.csv")


def test_supplied_outputs_are_the_reference(tmp_path: Path) -> None:
    """Matching outputs are recorded in the parity section; a changed or missing one stops the import."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    x = np.random.default_rng(0).normal(size=(60, 3))
    model = linear_model.LogisticRegression().fit(x, (x[:, 0] > 0).astype(int))
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(model))
    scores = model.predict_proba(x)
    package = import_model(path, name="m", trust_pickle=True, figures=False, samples=x, outputs=scores)
    assert package.manifest.lineage.parity.reference == "supplied"
    assert package.manifest.lineage.parity.largest_difference < 1e-9
    with pytest.raises(ParityError, match="sample 7"):
        import_model(
            path, name="m", trust_pickle=True, figures=False, samples=x, outputs=scores + (np.arange(60) == 7)[:, None] * 0.01
        )
    with pytest.raises(ImportModelError, match="59 outputs for 60 samples"):
        import_model(path, name="m", trust_pickle=True, figures=False, samples=x, outputs=scores[:59])
