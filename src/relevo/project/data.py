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
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from relevo.errors import ConfigError
from relevo.project.image_folder import read_pictures, readable
from relevo.project.loaded_data import given_by
from relevo.project.user_code import refuse_other_arguments, users_code
from relevo.util.csv_dialect import InvalidCsvError, has_decimal_commas, read_table
from relevo.util.files import refuse_unless_plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from relevo.project.config import DataSection, Project
    from relevo.project.image_folder import Unreadable
    from relevo.util.csv_dialect import Table

#: Bytes of a file of examples.
_MOST = 2**36
#: What a cell of a table says when nobody knew.
_UNKNOWN = {"", "na", "nan", "null", "none", "?"}


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

    Raises ConfigError when there is nothing, or nothing readable.
    """
    path = project.folder / project.data.path
    if not path.exists():
        raise ConfigError(reason=f"[data] path: there is no '{project.data.path}' in the project")
    left: list[Unreadable] = []

    def count(file: Unreadable) -> None:
        left.append(file)
        tell(file)

    examples = _loaded(path, project, count)
    if not examples and left:
        raise ConfigError(
            reason=f"[data] path: none of the {len(left)} files that '{project.data.path}' names can be read as a picture; "
            f"the first is {left[0].path}: {left[0].reason}"
        )
    if not examples:
        raise ConfigError(reason=f"[data] path: '{project.data.path}' holds no examples")
    return examples


def refuse_unfit(examples: list[Example], project: Project) -> None:
    """Pictures where [input] says records or the other way round, both at once, one truth alone. Raises ConfigError."""
    if len({one.y for one in examples}) == 1:
        raise ConfigError(reason=f"all {len(examples)} examples have the truth '{examples[0].y}'; there is nothing to tell apart")
    wanted = project.input.kind == "image"
    for place, one in enumerate(examples, 1):
        picture = isinstance(one.x, bytes) or (isinstance(one.x, np.ndarray) and one.x.ndim > 1)
        if picture == wanted:
            continue
        if wanted:
            what = "a record" if isinstance(one.x, dict) else "a row of numbers"
            raise ConfigError(
                reason=f"[input] says kind = \"image\", and example {place} of '{project.data.path}' is {what}; remove the section "
                "[input], or give pictures"
            )
        raise ConfigError(
            reason=f"example {place} of '{project.data.path}' is a picture; [input] needs kind = \"image\" and "
            "size = [height, width]"
        )
    shapes = {one.x.shape if isinstance(one.x, np.ndarray) else type(one.x).__name__ for one in examples}
    if not wanted and len(shapes) > 1:
        raise ConfigError(
            reason=f"the examples of '{project.data.path}' are not all of one kind: records, or rows of as many numbers"
        )


def _loaded(path: Path, project: Project, tell: Callable[[Unreadable], object]) -> list[Example]:
    told = project.data
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
        with _archive(path) as arrays:
            try:
                loaded = {name: arrays[name] for name in arrays.files}
            except ValueError as cause:
                # An array of objects is a pickle, which is never loaded.
                raise ConfigError(reason=f"[data] path: '{path.name}' holds objects, and no arrays of numbers or texts") from cause
            return _given(loaded, path.name, project, tell)
    if path.suffix == ".py":
        return _program(path, project, tell)
    raise ConfigError(reason="[data] path must be a folder, a .csv, a .npz or a .py")


def _archive(path: Path) -> Any:
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as cause:
        raise ConfigError(reason=f"[data] path: '{path.name}' is no .npz that NumPy wrote") from cause


def _refuse_unless_plain(path: Path) -> None:
    try:
        refuse_unless_plain(path, most=_MOST)
    except OSError as cause:
        raise ConfigError(reason=f"[data] path: '{path.name}' cannot be read: {cause.strerror or cause}") from cause


def _grouping(pattern: str) -> Callable[[str], bytes]:
    """From a file's name to the group it is in: the part that the pattern matches; none where it matches nothing."""
    try:
        wanted = re.compile(pattern)
    except re.error as cause:
        raise ConfigError(reason=f"[data] together is no regular expression: {cause}") from cause

    def group(name: str) -> bytes:
        match = wanted.search(name)
        return b"" if match is None else match[0].encode()

    return group


def _table(path: Path, told: DataSection) -> list[Example]:
    table = _rows(path)
    names = table.names
    for column in (told.target, told.identity, *told.ignore):
        if column and column not in names:
            raise ConfigError(reason=f"[data] names the column '{column}', which {path.name} has not")
    if not told.target:
        raise ConfigError(reason="[data] needs target = the column that holds the truth")
    if not table.rows:
        raise ConfigError(reason=f"[data] path: '{path.name}' has a head line and no rows")
    hidden = {told.target, told.identity, *told.ignore}
    seen = [name for name in names if name not in hidden or name == told.target]
    columns = {name: table.column(name) for name in seen}
    for name in seen:
        if has_decimal_commas([cell for cell in columns[name] if not _unknown(cell)], table.separator):
            raise ConfigError(
                reason=f"{path.name} has numbers with a decimal comma in the column '{name}'; save it with decimal points"
            )
    lacking = [line for line, cell in zip(table.lines, columns[told.target], strict=True) if _unknown(cell)]
    if lacking:
        raise ConfigError(
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
    """Raises ConfigError for what is no table, or one that cannot be read without losing some of it."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return read_table(file, path.name)
    except InvalidCsvError as cause:
        raise ConfigError(reason=f"[data] path: {cause}") from cause
    except (UnicodeDecodeError, csv.Error) as cause:
        why = cause if isinstance(cause, csv.Error) else "the file is not UTF-8; save it as CSV UTF-8"
        raise ConfigError(reason=f"[data] path: '{path.name}' cannot be read: {why}") from cause


def _reader(cells: Iterable[str | None]) -> Any:
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


def _program(path: Path, project: Project, tell: Callable[[Unreadable], object]) -> list[Example]:
    with users_code(path.parent):
        load = runpy.run_path(str(path)).get("load")
        if not callable(load):
            raise ConfigError(reason=f"{path.name} has no function load()")
        refuse_other_arguments(load, "load()", path.name)
        given = load()
    return _given(given, path.name, project, tell)


def _given(value: Any, name: str, project: Project, tell: Callable[[Unreadable], object]) -> list[Example]:
    """Examples from arrays or lists: x, y and, where it helps the split, held_out and groups."""
    given = given_by(value, name, project.data.target, pictures=project.input.kind == "image")
    contents = (
        readable(one if one.is_absolute() else project.folder / one, tell) if isinstance(one, Path) else one for one in given.x
    )
    return [
        Example(
            x=one,
            y=truth,
            identity=_identity(one),
            group=b"" if group is None else str(group).encode(),
            held=None if side is None else bool(side),
        )
        for one, truth, side, group in zip(contents, given.y, given.held, given.groups, strict=True)
        if one is not None
    ]


def _identity(x: Any) -> bytes:
    if isinstance(x, bytes):
        return x
    if isinstance(x, np.ndarray | np.generic):
        return x.tobytes()
    return json.dumps(x, sort_keys=True, default=str).encode()
