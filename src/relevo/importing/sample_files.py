"""Samples as people keep them in files: JSON, JSON lines, CSV, NumPy archives, a folder of pictures; and the truth beside them.

    path ─ ending ─► rows | matrix | pictures ─ truth: a column, a second file, the folders' names ─► Samples, truth

A `.npz` may hold no pickled objects. What one CSV column is, all its cells decide together.
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

#: Of the last four is said why they are not read.
_PICTURES = frozenset(
    {".png", ".jpg", ".jpeg", ".jfif", ".jpe", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".pgm", ".ppm", ".pnm"}
    | {".heic", ".heif", ".avif", ".svg"}
)
_INPUT_NAMES, _TRUTH_NAMES = ("x", "X", "samples", "inputs"), ("y", "Y", "truth", "labels")


def read_samples(
    source: Any,
    truth: str | Path | Sequence[Any] | None = None,
    features: Sequence[str] = (),
) -> tuple[Samples, list[Any] | None]:
    """Samples and, where it is known, the truth of each.

    source: a path, or samples in memory as `relevo.pack` takes them.
    truth: the name of a column or array in `source`, a file with one value a line (or a JSON list), or the values themselves.
    Raises ImportModelError naming what cannot be read, InvalidOptionsError when there are none.
    """
    if not isinstance(source, str | Path):
        return normalize_samples(source, features), None if truth is None else _given_truth(truth)
    path = Path(source)
    try:
        if path.is_dir():
            return _folder(path, truth)
        if path.suffix in (".npz", ".npy"):
            return _arrays(path, truth, features)
        return _rows(path, truth)
    except (OSError, ValueError, KeyError, EOFError, csv.Error, RecursionError, zipfile.BadZipFile) as cause:
        raise ImportModelError(reason=f"the samples '{path.name}' cannot be read ({read_error_text(cause)})") from cause


def _rows(path: Path, truth: str | Path | Sequence[Any] | None) -> tuple[Samples, list[Any] | None]:
    """JSON, JSON lines or CSV."""
    records = _csv(path) if path.suffix == ".csv" else _json(path)
    if not records or not all(isinstance(record, dict) for record in records):
        raise ImportModelError(
            reason=f"'{path.name}' must hold records: a JSON list of objects, one object a line, or CSV with a head line"
        )
    if isinstance(truth, str) and truth in records[0]:
        values = [record.pop(truth, None) for record in records]
        return from_records(records), values
    return from_records(records), None if truth is None else _given_truth(truth)


def _json(path: Path) -> list[Any]:
    text = read_plain_text(path)
    if path.suffix in (".jsonl", ".ndjson"):
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    plain = json.loads(text)
    return plain if isinstance(plain, list) else [plain]


def _csv(path: Path) -> list[dict[str, Any]]:
    text = io.StringIO(read_plain_text(path), newline="")
    try:
        table = read_table(text, path.name)
    except InvalidCsvError as cause:
        raise ImportModelError(reason=str(cause)) from cause
    head, lines = table.names, table.rows
    if not lines:
        raise ImportModelError(reason=f"'{path.name}' has a head line and no rows")
    for position, name in enumerate(head):
        if has_decimal_commas([line[position] for line in lines if line[position].strip()], table.separator):
            raise ImportModelError(
                reason=f"{path.name} has numbers with a decimal comma in the column '{name}'; save it with decimal points"
            )
    columns = [_column([line[position] for line in lines]) for position in range(len(head))]
    return [dict(zip(head, row, strict=True)) for row in zip(*columns, strict=True)]


def _column(cells: list[str]) -> list[Any]:
    """Whole numbers, numbers, true and false, or texts: the narrowest that fits every cell; an empty cell is absent."""
    known = [cell for cell in cells if cell.strip()]
    for kind in (int, float, _truth_word):
        try:
            for cell in known:
                kind(cell)
        except ValueError:
            continue
        return [kind(cell) if cell.strip() else None for cell in cells]
    return [cell or None for cell in cells]


def _truth_word(cell: str) -> bool:
    word = cell.strip().lower()
    if word not in ("true", "false"):
        raise ValueError(word)
    return word == "true"


def _arrays(path: Path, truth: str | Path | Sequence[Any] | None, features: Sequence[str]) -> tuple[Samples, list[Any] | None]:
    """A matrix (n, features) or uint8 pictures (n, h, w[, 3]); in an archive under x, with the truth under y."""
    with open_regular(path) as file:
        return _arrays_in(np.load(file, allow_pickle=False), truth, features)


def _arrays_in(
    loaded: Any,
    truth: str | Path | Sequence[Any] | None,
    features: Sequence[str],
) -> tuple[Samples, list[Any] | None]:
    if isinstance(loaded, np.ndarray):
        return normalize_samples(loaded, features), None if truth is None else _given_truth(truth)
    with loaded:
        samples = _named(loaded, _INPUT_NAMES) if any(name in loaded for name in _INPUT_NAMES) else loaded[loaded.files[0]]
        if isinstance(truth, str) and truth in loaded:
            values = loaded[truth].tolist()
        elif truth is not None:
            values = _given_truth(truth)
        else:
            values = _named(loaded, _TRUTH_NAMES).tolist() if any(name in loaded for name in _TRUTH_NAMES) else None
        return normalize_samples(samples, features), values


def _named(archive: Any, names: Sequence[str]) -> NDArray[Any]:
    return np.asarray(archive[next(name for name in names if name in archive)])


def _folder(path: Path, truth: str | Path | Sequence[Any] | None) -> tuple[Samples, list[Any] | None]:
    """Pictures; where they lie in folders of their own, the folders' names are the truth."""
    found = sorted(file for file in path.rglob("*") if file.suffix.lower() in _PICTURES and file.is_file())
    if not found:
        raise ImportModelError(reason=f"the folder '{path.name}' holds no picture (JPEG, PNG, WebP, GIF, BMP, TIFF, PGM or PPM)")
    samples = ImageSamples(files=tuple(_pictures(found)))
    if truth is not None:
        return samples, _given_truth(truth)
    classes = [file.parent.name for file in found]
    return samples, classes if all(file.parent.parent == path for file in found) else None


def _pictures(found: Sequence[Path]) -> Iterator[bytes]:
    """Their bytes, all together no more than one file of samples may have."""
    left = MOST
    for file in found:
        content = read_plain(file, most=left)
        left -= len(content)
        yield content


def _given_truth(truth: str | Path | Sequence[Any]) -> list[Any]:
    if not isinstance(truth, str | Path):
        return list(truth)
    path = Path(truth)
    if not path.is_file():
        raise ImportModelError(reason=f"the truth '{path.name}' is neither a column of the samples nor a file")
    text = read_plain_text(path)
    if path.suffix == ".json":
        return list(json.loads(text))
    return _column([line.strip() for line in text.splitlines() if line.strip()])


def is_matrix(samples: RecordSamples) -> bool:
    """Whether the samples are one table of plain numbers."""
    return samples.numeric and isinstance(samples.table, np.ndarray)
