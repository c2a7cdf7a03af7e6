"""Samples and their truth are read from common file formats."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from relevo.errors import ImportModelError
from relevo.i18n import catalog
from relevo.importing.sample_files import read_samples
from relevo.package.samples import ImageSamples, RecordSamples

if TYPE_CHECKING:
    from pathlib import Path

ROWS = [{"age": 41, "plan": "a", "paid": 1.5, "y": "no"}, {"age": 7, "plan": "b", "paid": None, "y": "yes"}]


@pytest.mark.parametrize("ending", ["json", "jsonl", "csv"])
def test_records_come_from_json_lines_and_csv(ending: str, tmp_path: Path) -> None:
    """The same rows read alike from JSON, JSON lines and CSV, and the truth is taken out of them."""
    path = tmp_path / f"rows.{ending}"
    texts = {
        "json": json.dumps(ROWS),
        "jsonl": "\n".join(json.dumps(row) for row in ROWS),
        "csv": "age,plan,paid,y\n41,a,1.5,no\n7,b,,yes\n",
    }
    path.write_text(texts[ending], encoding="utf-8-sig")
    samples, truth = read_samples(path, "y")
    assert isinstance(samples, RecordSamples)
    assert samples.records == ({"age": 41, "plan": "a", "paid": 1.5}, {"age": 7, "plan": "b", "paid": None})
    assert truth == ["no", "yes"]


@pytest.mark.parametrize("separator", [";", "\t"])
def test_csv_separators_and_decimal_commas(separator: str, tmp_path: Path) -> None:
    """Semicolons and tabs separate, as in the header line; a number with a decimal comma is rejected, not read as text."""
    path = tmp_path / "rows.csv"
    path.write_text("age,plan,paid,y\n41,a,1.5,no\n7,b,,yes\n".replace(",", separator), encoding="utf-8-sig")
    samples, truth = read_samples(path, "y")
    assert isinstance(samples, RecordSamples)
    assert samples.records == ({"age": 41, "plan": "a", "paid": 1.5}, {"age": 7, "plan": "b", "paid": None})
    assert truth == ["no", "yes"]
    path.write_text(path.read_text(encoding="utf-8").replace(".", ","), encoding="utf-8")
    with pytest.raises(ImportModelError, match="decimal comma in the column 'paid'"):
        read_samples(path, "y")


def test_a_csv_column_is_of_one_kind(tmp_path: Path) -> None:
    """One text among numbers makes the column text; true and false are booleans."""
    path = tmp_path / "rows.csv"
    path.write_text("a,b,c\n1,true,1\n2,false,x\n")
    samples, _ = read_samples(path)
    assert isinstance(samples, RecordSamples)
    assert samples.records == ({"a": 1, "b": True, "c": "1"}, {"a": 2, "b": False, "c": "x"})


def test_arrays_come_from_archives(tmp_path: Path) -> None:
    """A matrix under x comes with the truth under y, named by the features."""
    path = tmp_path / "held.npz"
    np.savez(path, x=np.eye(3), y=np.array([0, 1, 2]))
    samples, truth = read_samples(path, features=["a", "b", "c"])
    assert isinstance(samples, RecordSamples)
    assert samples.names == ("a", "b", "c")
    assert truth == [0, 1, 2]


def test_pickled_arrays_are_refused(tmp_path: Path) -> None:
    """An archive with pickled objects is not loaded."""
    path = tmp_path / "held.npz"
    np.savez(path, x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ImportModelError):
        read_samples(path)


def test_pictures_come_from_folders(tmp_path: Path) -> None:
    """Images in one folder a class have the folder's name as truth."""
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        Image.new("RGB", (4, 4)).save(tmp_path / label / "1.png")
    samples, truth = read_samples(tmp_path)
    assert isinstance(samples, ImageSamples)
    assert len(samples) == 2
    assert truth == ["cat", "dog"]


def test_truth_comes_from_a_file_of_its_own(tmp_path: Path) -> None:
    """One value a line, in the order of the samples."""
    (tmp_path / "rows.json").write_text(json.dumps([{"a": 1}, {"a": 2}]))
    (tmp_path / "truth.txt").write_text("3\n4\n")
    assert read_samples(tmp_path / "rows.json", tmp_path / "truth.txt")[1] == [3, 4]


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.json", "{"), ("a.json", "[1, 2]"), ("a.csv", ""), ("a.csv", "a,b\n1\n"), ("a.npz", "no archive"), ("a.jsonl", "x")],
)
def test_unreadable_samples_are_refused(name: str, text: str, tmp_path: Path) -> None:
    """Broken files give an error that names the file."""
    (tmp_path / name).write_text(text)
    with pytest.raises(ImportModelError, match="a\\."):
        read_samples(tmp_path / name)


@pytest.mark.parametrize(("text", "message"), [("a,b\n", "'a.csv' has a head line and no rows"), ("", "'a.csv' is empty")])
def test_csv_without_rows_is_rejected(text: str, message: str, tmp_path: Path) -> None:
    """A header without rows, and an empty file, have their own errors."""
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ImportModelError, match=message):
        read_samples(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no existe el archivo o la carpeta"),
        (b"[1,", "falta un valor: línea 1, columna 4 (carácter 3)"),
        (b"\xff", "no es UTF-8"),
    ],
)
def test_read_errors_are_translated(content: bytes | None, message: str, tmp_path: Path) -> None:
    """A missing file, broken JSON and a wrong encoding are reported in the user's language, without Python's names."""
    file = tmp_path / "held_out.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ImportModelError) as caught:
        read_samples(file)
    assert f"las muestras 'held_out.json' no se pueden leer ({message})" in catalog.sentence(caught.value, "es")


def test_missing_files_are_refused(tmp_path: Path) -> None:
    """A missing file and an empty folder are rejected."""
    with pytest.raises(ImportModelError):
        read_samples(tmp_path / "none.json")
    with pytest.raises(ImportModelError, match="holds no"):
        read_samples(tmp_path)
