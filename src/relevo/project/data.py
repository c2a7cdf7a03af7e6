"""The examples of a project, from wherever they lie.

    folder/<class>/*              ─► pictures          x: bytes of each file         identity: the bytes
    table.csv + target            ─► records           x: dict of each row           identity: a column, or the whole row
    arrays.npz with x and y       ─► matrix or images  x: row or uint8 picture       identity: the row's bytes
    data.py with load()           ─► x, y of any kind above, or paths of pictures

An example is its input, its truth, its identity and what decides its side of the split: `groups` keep what belongs together (one
patient's pictures) on one side, and `held_out` names the test part of a data set that has one of its own.
"""

from __future__ import annotations

import csv
import json
import re
import runpy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from relevo.errors import ConfigRefused
from relevo.plain_files import refuse_unless_plain
from relevo.project.pictures import read_pictures, readable
from relevo.project.running import users_code
from relevo.tables import BadTable, has_decimal_commas, read_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from relevo.project.pictures import Unreadable
    from relevo.project.reading import DataSection, Project
    from relevo.tables import Table

#: Bytes of a file of examples.
_MOST = 2**36
#: What a cell of a table says when nobody knew.
_UNKNOWN = {"", "na", "nan", "null", "none", "?"}
#: What a .npz or a load() may give, one entry an example each.
_GIVEN = {"x", "y", "held_out", "groups"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Example:
    """One input with its truth."""

    x: Any  # dict, file bytes, uint8 picture (h, w[, 3]) or row of numbers (features,)
    y: Any  # class or number
    identity: bytes
    #: What it belongs to; all of one group are on one side of the split. Empty: it is alone.
    group: bytes = b""
    #: Whether it is held out, where the data set says so itself.
    held: bool | None = None


def load_examples(project: Project, tell: Callable[[Unreadable], object] = lambda _: None) -> list[Example]:
    """Every example of the project. tell: is given each picture that cannot be read, which is then left out.

    Raises ConfigRefused when there is nothing, or nothing readable.
    """
    path = project.folder / project.data.path
    if not path.exists():
        raise ConfigRefused(reason=f"[data] path: there is no '{project.data.path}' in the project")
    examples = _loaded(path, project.data, tell)
    if not examples:
        raise ConfigRefused(reason=f"[data] path: '{project.data.path}' holds no examples")
    return examples


def _loaded(path: Path, told: DataSection, tell: Callable[[Unreadable], object]) -> list[Example]:
    if path.is_dir():
        group = _grouping(told.together)
        found = read_pictures(path, told.ignore, tell)
        return [
            Example(x=one.content, y=one.label, identity=one.content, group=group(one.path.name), held=one.held) for one in found
        ]
    _refuse_unless_plain(path)
    if path.suffix == ".csv":
        return _table(path, told)
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            return _given({name: arrays[name] for name in arrays.files}, path.name, tell)
    if path.suffix == ".py":
        return _program(path, tell)
    raise ConfigRefused(reason="[data] path must be a folder, a .csv, a .npz or a .py")


def _refuse_unless_plain(path: Path) -> None:
    try:
        refuse_unless_plain(path, most=_MOST)
    except OSError as cause:
        raise ConfigRefused(reason=f"[data] path: '{path.name}' cannot be read: {cause.strerror or cause}") from cause


def _grouping(pattern: str) -> Callable[[str], bytes]:
    """From a file's name to the group it is in: the part that the pattern matches; none where it matches nothing."""
    try:
        wanted = re.compile(pattern)
    except re.error as cause:
        raise ConfigRefused(reason=f"[data] together is no regular expression: {cause}") from cause

    def group(name: str) -> bytes:
        match = wanted.search(name)
        return b"" if match is None else match[0].encode()

    return group


def _table(path: Path, told: DataSection) -> list[Example]:
    table = _rows(path)
    names = table.names
    for column in (told.target, told.identity, *told.ignore):
        if column and column not in names:
            raise ConfigRefused(reason=f"[data] names the column '{column}', which {path.name} has not")
    if not told.target:
        raise ConfigRefused(reason="[data] needs target = the column that holds the truth")
    if not table.rows:
        raise ConfigRefused(reason=f"[data] path: '{path.name}' has a head line and no rows")
    hidden = {told.target, told.identity, *told.ignore}
    seen = [name for name in names if name not in hidden or name == told.target]
    columns = {name: table.column(name) for name in seen}
    for name in seen:
        if has_decimal_commas([cell for cell in columns[name] if not _unknown(cell)], table.separator):
            raise ConfigRefused(
                reason=f"{path.name} has numbers with a decimal comma in the column '{name}'; save it with decimal points"
            )
    lacking = [line for line, cell in zip(table.lines, columns[told.target], strict=True) if _unknown(cell)]
    if lacking:
        raise ConfigRefused(
            reason=f"{path.name}: {len(lacking)} of {len(table.rows)} rows have no truth in the column '{told.target}', the first "
            f"in line {lacking[0]}; fill them in, or remove these rows"
        )
    readers = {name: _reader(columns[name]) for name in seen}
    identities = table.column(told.identity) if told.identity else None
    examples = []
    for place in range(len(table.rows)):
        x = {name: readers[name](columns[name][place]) for name in seen if name != told.target}
        identity = identities[place] if identities else json.dumps(x, sort_keys=True)
        examples.append(Example(x=x, y=readers[told.target](columns[told.target][place]), identity=identity.encode()))
    return examples


def _rows(path: Path) -> Table:
    """Raises ConfigRefused for what is no table, or one that cannot be read without losing some of it."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return read_table(file, path.name)
    except BadTable as cause:
        raise ConfigRefused(reason=f"[data] path: {cause}") from cause
    except (UnicodeDecodeError, csv.Error) as cause:
        why = cause if isinstance(cause, csv.Error) else "the file is not UTF-8; save it as CSV UTF-8"
        raise ConfigRefused(reason=f"[data] path: '{path.name}' cannot be read: {why}") from cause


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


def _program(path: Path, tell: Callable[[Unreadable], object]) -> list[Example]:
    with users_code(path.parent):
        load = runpy.run_path(str(path)).get("load")
        if not callable(load):
            raise ConfigRefused(reason=f"{path.name} has no function load()")
        given = load()
        if isinstance(given, Mapping):
            return _given(given, path.name, tell)
        x, y = given
        return _given({"x": x, "y": y}, path.name, tell)


def _given(given: Mapping[str, Any], name: str, tell: Callable[[Unreadable], object]) -> list[Example]:
    """Examples from arrays or lists by name: x, y and, where it helps the split, held_out and groups."""
    if not {"x", "y"} <= given.keys() <= _GIVEN:
        told = ", ".join(given) or "none"
        raise ConfigRefused(reason=f"{name} must hold x and y, and may hold held_out and groups; it holds {told}")
    x, y = given["x"], _listed(given["y"])
    held, groups = (_listed(given.get(key, [None] * len(x))) for key in ("held_out", "groups"))
    if len(x) != len(y):
        raise ConfigRefused(reason=f"there are {len(x)} inputs but {len(y)} truths")
    if not len(held) == len(groups) == len(x):
        raise ConfigRefused(reason=f"there are {len(x)} inputs but {len(held)} held_out and {len(groups)} groups")
    contents = (readable(one, tell) if isinstance(one, Path) else one for one in x)
    return [
        Example(
            x=one,
            y=truth,
            identity=_identity(one),
            group=b"" if group is None else str(group).encode(),
            held=None if side is None else bool(side),
        )
        for one, truth, side, group in zip(contents, y, held, groups, strict=True)
        if one is not None
    ]


def _listed(values: Any) -> list[Any]:  # noqa: ANN401 - an array or anything that can be listed
    return values.tolist() if isinstance(values, np.ndarray) else list(values)


def _identity(x: Any) -> bytes:  # noqa: ANN401 - an input of any kind
    if isinstance(x, bytes):
        return x
    if isinstance(x, np.ndarray | np.generic):
        return x.tobytes()
    return json.dumps(x, sort_keys=True, default=str).encode()
