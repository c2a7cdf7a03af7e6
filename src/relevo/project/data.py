"""The examples of a project, from wherever they lie.

    folder/<class>/*.png|jpg|webp ─► pictures          x: bytes of each file         identity: the bytes
    table.csv + target            ─► records           x: dict of each row           identity: a column, or the whole row
    arrays.npz with x and y       ─► matrix or images  x: row or uint8 picture       identity: the row's bytes
    data.py with load()           ─► x, y of any kind above

An example is its input, its truth and its identity; nothing else leaves this file.
"""

from __future__ import annotations

import csv
import json
import runpy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from relevo.errors import ConfigRefused
from relevo.project.running import users_code

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from relevo.project.reading import DataSection, Project

_PICTURES = {".png", ".jpg", ".jpeg", ".webp"}
#: What a cell of a table says when nobody knew.
_UNKNOWN = {"", "na", "nan", "null", "none", "?"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Example:
    """One input with its truth."""

    x: Any  # dict, file bytes, uint8 picture (h, w[, 3]) or row of numbers (features,)
    y: Any  # class or number
    identity: bytes


def load_examples(project: Project) -> list[Example]:
    """Every example of the project. Raises ConfigRefused when there is nothing, or nothing readable."""
    path = project.folder / project.data.path
    if not path.exists():
        raise ConfigRefused(reason=f"[data] path: there is no '{project.data.path}' in the project")
    examples = _loaded(path, project.data)
    if not examples:
        raise ConfigRefused(reason=f"[data] path: '{project.data.path}' holds no examples")
    return examples


def _loaded(path: Path, told: DataSection) -> list[Example]:
    if path.is_dir():
        return _folders(path)
    if path.suffix == ".csv":
        return _table(path, told)
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            return _arrays(arrays, path.name)
    if path.suffix == ".py":
        return _program(path)
    raise ConfigRefused(reason="[data] path must be a folder, a .csv, a .npz or a .py")


def _folders(path: Path) -> list[Example]:
    classes = sorted(one for one in path.iterdir() if one.is_dir() and not one.name.startswith("."))
    files = [(one, file) for one in classes for file in sorted(one.rglob("*")) if file.suffix.lower() in _PICTURES]
    pictures = [(one.name, file.read_bytes()) for one, file in files]
    return [Example(x=content, y=name, identity=content) for name, content in pictures]


def _table(path: Path, told: DataSection) -> list[Example]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    names = list(rows[0]) if rows else []
    for column in (told.target, told.identity, *told.ignore):
        if column and column not in names:
            raise ConfigRefused(reason=f"[data] names the column '{column}', which {path.name} has not")
    if not told.target:
        raise ConfigRefused(reason="[data] needs target = the column that holds the truth")
    hidden = {told.target, told.identity, *told.ignore}
    readers = {name: _reader(row[name] for row in rows) for name in names}
    examples = []
    for row in rows:
        x = {name: readers[name](row[name]) for name in names if name not in hidden}
        identity = row[told.identity] if told.identity else json.dumps(x, sort_keys=True)
        examples.append(Example(x=x, y=readers[told.target](row[told.target]), identity=identity.encode()))
    return examples


def _reader(cells: Iterable[str | None]) -> Any:  # noqa: ANN401 - a function from a cell to its value
    """How a column is read: as whole numbers where all are, else as numbers where all are, else as text."""
    known = [cell for cell in cells if not _unknown(cell)]
    kind = next((kind for kind in (int, float) if known and all(_fits(kind, cell) for cell in known)), str)
    return lambda cell: None if _unknown(cell) else kind(cell)


def _unknown(cell: str | None) -> bool:
    return cell is None or cell.strip().lower() in _UNKNOWN


def _fits(kind: type[int | float], cell: str | None) -> bool:
    try:
        kind(cell)  # type: ignore[arg-type]  # unknown cells are left out before
    except ValueError:
        return False
    return True


def _arrays(arrays: Any, name: str) -> list[Example]:  # noqa: ANN401 - an opened .npz
    if not {"x", "y"} <= set(arrays.files):
        raise ConfigRefused(reason=f"{name} must hold two arrays called x and y; it holds {', '.join(arrays.files) or 'none'}")
    return _pairs(arrays["x"], arrays["y"])


def _program(path: Path) -> list[Example]:
    with users_code(path.parent):
        load = runpy.run_path(str(path)).get("load")
        if not callable(load):
            raise ConfigRefused(reason=f"{path.name} has no function load()")
        x, y = load()
        return _pairs(x, y)


def _pairs(x: Any, y: Any) -> list[Example]:  # noqa: ANN401 - arrays or lists of any kind
    if len(x) != len(y):
        raise ConfigRefused(reason=f"there are {len(x)} inputs but {len(y)} truths")
    truths = y.tolist() if isinstance(y, np.ndarray) else list(y)
    return [Example(x=one, y=truth, identity=_identity(one)) for one, truth in zip(x, truths, strict=True)]


def _identity(x: Any) -> bytes:  # noqa: ANN401 - an input of any kind
    if isinstance(x, bytes):
        return x
    if isinstance(x, np.ndarray | np.generic):
        return x.tobytes()
    return json.dumps(x, sort_keys=True, default=str).encode()
