"""Reads samples and their truth from files: JSON, JSON lines, CSV, NumPy archives, a folder of images.

    path ─ suffix ─► rows | matrix | images ─ truth: a column, a second file, or folder names ─► Samples, truth

A `.npz` may hold no pickled objects. The type of a CSV column follows from all its cells.
"""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from relevo.errors import ImportModelError
from relevo.package.samples import ImageSamples, RecordSamples, Samples, from_records, normalize_samples
from relevo.util.csv_dialect import InvalidCsvError, has_decimal_commas, read_table
from relevo.util.files import MOST, open_regular, read_error_text, read_plain, read_plain_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

#: The last four are not supported; the error explains why.
_IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jfif", ".jpe", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".pgm", ".ppm", ".pnm"}
    | {".heic", ".heif", ".avif", ".svg"}
)
_INPUT_KEYS, _TRUTH_KEYS = ("x", "X", "samples", "inputs"), ("y", "Y", "truth", "labels")


def read_samples(
    source: Any,
    truth: str | Path | Sequence[Any] | None = None,
    features: Sequence[str] = (),
) -> tuple[Samples, list[Any] | None]:
    """Read samples and, where available, the truth of each.

    source: a path, or samples in memory as `relevo.pack` takes them.
    truth: the name of a column or array in `source`, a file with one value a line (or a JSON list), or the values themselves.
    Raises ImportModelError that names what cannot be read, InvalidOptionsError when there are none.
    """
    if not isinstance(source, str | Path):
        return normalize_samples(source, features), None if truth is None else _read_truth(truth)
    path = Path(source)
    try:
        if path.is_dir():
            return _read_folder(path, truth)
        if path.suffix in (".npz", ".npy"):
            return _read_arrays(path, truth, features)
        return _read_records(path, truth)
    except (OSError, ValueError, KeyError, EOFError, csv.Error, RecursionError, zipfile.BadZipFile) as cause:
        raise ImportModelError(reason=f"the samples '{path.name}' cannot be read ({read_error_text(cause)})") from cause


def _read_records(path: Path, truth: str | Path | Sequence[Any] | None) -> tuple[Samples, list[Any] | None]:
    """JSON, JSON lines or CSV."""
    records = _read_csv(path) if path.suffix == ".csv" else _read_json(path)
    if not records or not all(isinstance(record, dict) for record in records):
        raise ImportModelError(
            reason=f"'{path.name}' must hold records: a JSON list of objects, one object a line, or CSV with a head line"
        )
    if isinstance(truth, str) and truth in records[0]:
        values = [record.pop(truth, None) for record in records]
        return from_records(records), values
    return from_records(records), None if truth is None else _read_truth(truth)


def _read_json(path: Path) -> list[Any]:
    text = read_plain_text(path)
    if path.suffix in (".jsonl", ".ndjson"):
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    document = json.loads(text)
    return document if isinstance(document, list) else [document]


def _read_csv(path: Path) -> list[dict[str, Any]]:
    text = io.StringIO(read_plain_text(path), newline="")
    try:
        table = read_table(text, path.name)
    except InvalidCsvError as cause:
        raise ImportModelError(reason=str(cause)) from cause
    names, rows = table.names, table.rows
    if not rows:
        raise ImportModelError(reason=f"'{path.name}' has a head line and no rows")
    for position, name in enumerate(names):
        if has_decimal_commas([row[position] for row in rows if row[position].strip()], table.separator):
            raise ImportModelError(
                reason=f"{path.name} has numbers with a decimal comma in the column '{name}'; save it with decimal points"
            )
    columns = [_parse_column([row[position] for row in rows]) for position in range(len(names))]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _parse_column(cells: list[str]) -> list[Any]:
    """Parse as integers, floats, booleans or texts: the narrowest type that fits every cell; an empty cell is None."""
    filled = [cell for cell in cells if cell.strip()]
    for parse in (int, float, _parse_bool):
        try:
            for cell in filled:
                parse(cell)
        except ValueError:
            continue
        return [parse(cell) if cell.strip() else None for cell in cells]
    return [cell or None for cell in cells]


def _parse_bool(cell: str) -> bool:
    text = cell.strip().lower()
    if text not in ("true", "false"):
        raise ValueError(text)
    return text == "true"


def _read_arrays(path: Path, truth: str | Path | Sequence[Any] | None, features: Sequence[str]) -> tuple[Samples, list[Any] | None]:
    """A matrix (n, features) or uint8 images (n, h, w[, 3]); in an archive under x, with the truth under y."""
    with open_regular(path) as file:
        return _arrays_from(np.load(file, allow_pickle=False), truth, features)


def _arrays_from(
    loaded: Any,
    truth: str | Path | Sequence[Any] | None,
    features: Sequence[str],
) -> tuple[Samples, list[Any] | None]:
    if isinstance(loaded, np.ndarray):
        return normalize_samples(loaded, features), None if truth is None else _read_truth(truth)
    with loaded:
        samples = _first_array(loaded, _INPUT_KEYS) if any(name in loaded for name in _INPUT_KEYS) else loaded[loaded.files[0]]
        if isinstance(truth, str) and truth in loaded:
            values = loaded[truth].tolist()
        elif truth is not None:
            values = _read_truth(truth)
        else:
            values = _first_array(loaded, _TRUTH_KEYS).tolist() if any(name in loaded for name in _TRUTH_KEYS) else None
        return normalize_samples(samples, features), values


def _first_array(archive: Any, names: Sequence[str]) -> NDArray[Any]:
    return np.asarray(archive[next(name for name in names if name in archive)])


def _read_folder(path: Path, truth: str | Path | Sequence[Any] | None) -> tuple[Samples, list[Any] | None]:
    """Images; in one folder a class, the folder names are the truth."""
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in _IMAGE_SUFFIXES and file.is_file())
    if not files:
        raise ImportModelError(reason=f"the folder '{path.name}' holds no picture (JPEG, PNG, WebP, GIF, BMP, TIFF, PGM or PPM)")
    samples = ImageSamples(files=tuple(_read_images(files)))
    if truth is not None:
        return samples, _read_truth(truth)
    classes = [file.parent.name for file in files]
    return samples, classes if all(file.parent.parent == path for file in files) else None


def _read_images(files: Sequence[Path]) -> Iterator[bytes]:
    """Read the images; in total no more bytes than one file of samples may have."""
    remaining = MOST
    for file in files:
        content = read_plain(file, max_bytes=remaining)
        remaining -= len(content)
        yield content


def _read_truth(truth: str | Path | Sequence[Any]) -> list[Any]:
    if not isinstance(truth, str | Path):
        return list(truth)
    path = Path(truth)
    if not path.is_file():
        raise ImportModelError(reason=f"the truth '{path.name}' is neither a column of the samples nor a file")
    text = read_plain_text(path)
    if path.suffix == ".json":
        return list(json.loads(text))
    return _parse_column([line.strip() for line in text.splitlines() if line.strip()])


def is_matrix(samples: RecordSamples) -> bool:
    """Whether the samples are one table of numbers."""
    return samples.numeric and isinstance(samples.table, np.ndarray)
