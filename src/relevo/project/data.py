"""Loads the examples of a project.

    folder/<class>/*              ─► images            x: bytes of each file         identity: the bytes
    table.csv + target            ─► records           x: dict of each row           identity: a column, or the whole row
    arrays.npz with x and y       ─► matrix or images  x: row or uint8 image         identity: the row's bytes
    data.py with load()           ─► x, y of any kind above, or paths of images

An example has an input, its truth, its identity and what determines its side of the split: a `group` keeps related examples (one
patient's images) on one side, and `held` is the test part of a data set that has its own split.
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
from relevo.project.image_folder import read_image, read_images
from relevo.project.loaded_data import normalize_loaded
from relevo.project.user_code import check_signature, run_user_code
from relevo.util.csv_dialect import InvalidCsvError, has_decimal_commas, read_table
from relevo.util.files import refuse_unless_plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from relevo.project.config import DataSection, Project
    from relevo.project.image_folder import Unreadable
    from relevo.util.csv_dialect import Table

#: Maximum size of a file of examples, in bytes.
_MAX_BYTES = 2**36
#: Cells of a table that mean a missing value.
_MISSING_VALUES = {"", "na", "nan", "null", "none", "?"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Example:
    """One input with its truth."""

    x: Any  # dict, file bytes, uint8 image (h, w[, 3]) or row of numbers (features,)
    y: Any  # class or number
    identity: bytes
    #: All examples of one group are on one side of the split. Empty: no group.
    group: bytes = b""
    #: Whether it is held out, where the data set has its own split.
    held: bool | None = None


def load_examples(project: Project, report_progress: Callable[[Unreadable], object] = lambda _: None) -> list[Example]:
    """Load every example of the project. report_progress: called with each image that cannot be read, which is then skipped.

    Raises ConfigError when there are no examples, or none that can be read.
    """
    path = project.folder / project.data.path
    if not path.exists():
        raise ConfigError(reason=f"[data] path: there is no '{project.data.path}' in the project")
    skipped: list[Unreadable] = []

    def skip(file: Unreadable) -> None:
        skipped.append(file)
        report_progress(file)

    examples = _load(path, project, skip)
    if not examples and skipped:
        raise ConfigError(
            reason=f"[data] path: none of the {len(skipped)} files that '{project.data.path}' names can be read as a picture; "
            f"the first is {skipped[0].path}: {skipped[0].reason}"
        )
    if not examples:
        raise ConfigError(reason=f"[data] path: '{project.data.path}' holds no examples")
    return examples


def check_examples(examples: list[Example], project: Project) -> None:
    """Check that the examples fit [input], are of one type and have more than one truth. Raises ConfigError."""
    if len({example.y for example in examples}) == 1:
        raise ConfigError(reason=f"all {len(examples)} examples have the truth '{examples[0].y}'; there is nothing to tell apart")
    expects_images = project.input.kind == "image"
    for index, example in enumerate(examples, 1):
        is_image = isinstance(example.x, bytes) or (isinstance(example.x, np.ndarray) and example.x.ndim > 1)
        if is_image == expects_images:
            continue
        if expects_images:
            actual = "a record" if isinstance(example.x, dict) else "a row of numbers"
            raise ConfigError(
                reason=f"[input] says kind = \"image\", and example {index} of '{project.data.path}' is {actual}; remove the section "
                "[input], or give pictures"
            )
        raise ConfigError(
            reason=f"example {index} of '{project.data.path}' is a picture; [input] needs kind = \"image\" and "
            "size = [height, width]"
        )
    shapes = {example.x.shape if isinstance(example.x, np.ndarray) else type(example.x).__name__ for example in examples}
    if not expects_images and len(shapes) > 1:
        raise ConfigError(
            reason=f"the examples of '{project.data.path}' are not all of one kind: records, or rows of as many numbers"
        )


def _load(path: Path, project: Project, report_progress: Callable[[Unreadable], object]) -> list[Example]:
    section = project.data
    if path.is_dir():
        group = _group_function(section.together)
        images = read_images(path, section.ignore, report_progress)
        return [
            Example(x=image.content, y=image.label, identity=image.content, group=group(image.path.name), held=image.held)
            for image in images
        ]
    _require_regular_file(path)
    if path.suffix == ".csv":
        return _load_table(path, section)
    if path.suffix == ".npz":
        with _open_npz(path) as arrays:
            try:
                loaded = {name: arrays[name] for name in arrays.files}
            except ValueError as cause:
                # An array of objects is a pickle, which is never loaded.
                raise ConfigError(reason=f"[data] path: '{path.name}' holds objects, and no arrays of numbers or texts") from cause
            return _to_examples(loaded, path.name, project, report_progress)
    if path.suffix == ".py":
        return _load_program(path, project, report_progress)
    raise ConfigError(reason="[data] path must be a folder, a .csv, a .npz or a .py")


def _open_npz(path: Path) -> Any:
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as cause:
        raise ConfigError(reason=f"[data] path: '{path.name}' is no .npz that NumPy wrote") from cause


def _require_regular_file(path: Path) -> None:
    try:
        refuse_unless_plain(path, most=_MAX_BYTES)
    except OSError as cause:
        raise ConfigError(reason=f"[data] path: '{path.name}' cannot be read: {cause.strerror or cause}") from cause


def _group_function(pattern: str) -> Callable[[str], bytes]:
    """Return a function from file name to group: the part that the pattern matches; empty without a match."""
    try:
        expression = re.compile(pattern)
    except re.error as cause:
        raise ConfigError(reason=f"[data] together is no regular expression: {cause}") from cause

    def group(name: str) -> bytes:
        match = expression.search(name)
        return b"" if match is None else match[0].encode()

    return group


def _load_table(path: Path, section: DataSection) -> list[Example]:
    table = _read_rows(path)
    names = table.names
    for column in (section.target, section.identity, *section.ignore):
        if column and column not in names:
            raise ConfigError(reason=f"[data] names the column '{column}', which {path.name} has not")
    if not section.target:
        raise ConfigError(reason="[data] needs target = the column that holds the truth")
    if not table.rows:
        raise ConfigError(reason=f"[data] path: '{path.name}' has a head line and no rows")
    hidden = {section.target, section.identity, *section.ignore}
    visible = [name for name in names if name not in hidden or name == section.target]
    columns = {name: table.column(name) for name in visible}
    for name in visible:
        if has_decimal_commas([cell for cell in columns[name] if not _is_missing(cell)], table.separator):
            raise ConfigError(
                reason=f"{path.name} has numbers with a decimal comma in the column '{name}'; save it with decimal points"
            )
    missing_lines = [line for line, cell in zip(table.lines, columns[section.target], strict=True) if _is_missing(cell)]
    if missing_lines:
        raise ConfigError(
            reason=f"{path.name}: {len(missing_lines)} of {len(table.rows)} rows have no truth in the column '{section.target}', the first "
            f"in line {missing_lines[0]}; fill them in, or remove these rows"
        )
    parsers = {name: _column_parser(columns[name]) for name in visible}
    identities = table.column(section.identity) if section.identity else None
    examples = []
    for index in range(len(table.rows)):
        x = {name: parsers[name](columns[name][index]) for name in visible if name != section.target}
        identity = identities[index] if identities else json.dumps(x, sort_keys=True)
        examples.append(Example(x=x, y=parsers[section.target](columns[section.target][index]), identity=identity.encode()))
    return examples


def _read_rows(path: Path) -> Table:
    """Read the table. Raises ConfigError when it is not one, or cannot be read without loss."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return read_table(file, path.name)
    except InvalidCsvError as cause:
        raise ConfigError(reason=f"[data] path: {cause}") from cause
    except (UnicodeDecodeError, csv.Error) as cause:
        explanation = cause if isinstance(cause, csv.Error) else "the file is not UTF-8; save it as CSV UTF-8"
        raise ConfigError(reason=f"[data] path: '{path.name}' cannot be read: {explanation}") from cause


def _column_parser(cells: Iterable[str | None]) -> Any:
    """Return the parser of a column: integers where all cells are, else numbers where all are, else text."""
    filled = [cell for cell in cells if not _is_missing(cell)]
    parse = next((parse for parse in (int, float) if filled and all(_fits(parse, cell) for cell in filled)), str)
    return lambda cell: None if _is_missing(cell) else parse(cell)


def _is_missing(cell: str | None) -> bool:
    return cell is None or cell.strip().lower() in _MISSING_VALUES


def _fits(parse: type[int | float], cell: str | None) -> bool:
    try:
        parse(cell)  # type: ignore[arg-type]  # missing cells are filtered before
    except ValueError:
        return False
    return True


def _load_program(path: Path, project: Project, report_progress: Callable[[Unreadable], object]) -> list[Example]:
    with run_user_code(path.parent):
        load = runpy.run_path(str(path)).get("load")
        if not callable(load):
            raise ConfigError(reason=f"{path.name} has no function load()")
        check_signature(load, "load()", path.name)
        loaded = load()
    return _to_examples(loaded, path.name, project, report_progress)


def _to_examples(value: Any, name: str, project: Project, report_progress: Callable[[Unreadable], object]) -> list[Example]:
    """Make examples of arrays or lists: x, y and, optionally, held_out and groups."""
    loaded = normalize_loaded(value, name, project.data.target, images=project.input.kind == "image")
    contents = (
        read_image(item if item.is_absolute() else project.folder / item, report_progress) if isinstance(item, Path) else item
        for item in loaded.x
    )
    return [
        Example(
            x=x,
            y=truth,
            identity=_identity(x),
            group=b"" if group is None else str(group).encode(),
            held=None if side is None else bool(side),
        )
        for x, truth, side, group in zip(contents, loaded.y, loaded.held, loaded.groups, strict=True)
        if x is not None
    ]


def _identity(x: Any) -> bytes:
    if isinstance(x, bytes):
        return x
    if isinstance(x, np.ndarray | np.generic):
        return x.tobytes()
    return json.dumps(x, sort_keys=True, default=str).encode()
