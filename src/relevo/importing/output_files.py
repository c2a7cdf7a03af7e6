"""Reads the original's outputs from a file: a matrix in .npy, JSON, CSV, or numbers separated by spaces, tabs or commas.

path | array ─► float64 (n, columns), one row a sample
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from relevo.errors import ImportModelError
from relevo.util.files import open_regular, read_error_text, read_plain_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SEPARATOR = re.compile(r"[,;\s]+")


def read_outputs(source: Any) -> NDArray[np.float64]:
    """Read the scores of the original, float64 (n, columns). A header line is skipped.

    Raises ImportModelError that names what cannot be read.
    """
    name = Path(source).name if isinstance(source, str | Path) else "given"
    try:
        values = _read_values(Path(source)) if isinstance(source, str | Path) else np.asarray(source, dtype=np.float64)
        table = np.asarray(values, dtype=np.float64)
        table = table.reshape(len(table), -1)
    except (OSError, ValueError, TypeError, RecursionError) as cause:
        raise ImportModelError(reason=f"the outputs '{name}' cannot be read ({read_error_text(cause)})") from cause
    if not table.size or not np.isfinite(table).all():
        raise ImportModelError(reason=f"the outputs '{name}' must be finite numbers, one row a sample")
    return table


def _read_values(path: Path) -> Any:
    if path.suffix == ".npy":
        with open_regular(path) as file:
            return np.load(file, allow_pickle=False)
    text = read_plain_text(path)
    if path.suffix == ".json":
        return json.loads(text)
    lines = [_SEPARATOR.split(line.strip().strip(",;")) for line in text.splitlines() if line.strip()]
    return [[float(cell) for cell in line] for line in (lines[1:] if lines and not _is_number(lines[0][0]) else lines)]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
