"""Normalizes what load() or a .npz returns to matching inputs and truths, or explains why that is impossible.

    x, y · {"x": …, "y": …} · (x, y), (x, y) of a test part · a DataFrame with its target ─► inputs, truths, groups, sides

Each input becomes a record, a row of numbers, the pixels of an image, or the bytes of its file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from relevo.errors import ConfigError, ConversionError
from relevo.package.samples import to_image
from relevo.package.targets import from_one_hot
from relevo.util.records import is_record, is_table, plain, record_of, rows_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

#: Names of the parts; each has one entry an example.
_PART_NAMES = {"x", "y", "held_out", "groups"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoadedData:
    """Inputs with their truths, sides and groups; all lists have the same length. Lifetime: the loading of examples."""

    x: Sequence[Any]
    y: list[Any]
    held: list[Any]
    groups: list[Any]


def normalize_loaded(value: Any, name: str, target: str, *, images: bool) -> LoadedData:
    """Normalize the value that `name` returned. target: the truth column of a lone table. Raises ConfigError."""
    parts = _parts_by_name(value, name, target)
    y = _to_truths(parts["y"], name)
    x = _to_inputs(parts["x"], name, len(y), images=images)
    held, groups = (_to_list(parts.get(key, [None] * len(x)), name) for key in ("held_out", "groups"))
    if not len(held) == len(groups) == len(x):
        raise ConfigError(reason=f"there are {len(x)} inputs but {len(held)} held_out and {len(groups)} groups")
    return LoadedData(x=x, y=y, held=held, groups=groups)


def _parts_by_name(value: Any, name: str, target: str) -> Mapping[str, Any]:
    """Return x, y and optional parts by name."""
    if is_table(value):
        return _split_table(value, name, target)
    if isinstance(value, Mapping):
        if not {"x", "y"} <= value.keys() <= _PART_NAMES:
            keys = ", ".join(str(key) for key in value) or "none"
            raise ConfigError(reason=f"{name} must hold x and y, and may hold held_out and groups; it holds {keys}")
        return value
    if isinstance(value, tuple | list) and len(value) == 2:
        first, second = value
        if _is_pair(first) and _is_pair(second):
            return _join_sides(first, second, name)
        return {"x": first, "y": second}
    returned = f"{len(value)} values" if isinstance(value, tuple) else _describe_type(value)
    raise ConfigError(reason=f"load() in {name} must return x, y: the inputs and their truths; it returned {returned}")


def _split_table(table: Any, name: str, target: str) -> dict[str, Any]:
    if not target:
        raise ConfigError(
            reason=f"load() in {name} returned a table alone; return x, y, or name the column of the truth: [data] target"
        )
    rows = _records(table, name)
    if target not in [str(column) for column in table.columns]:
        raise ConfigError(reason=f"[data] names the column '{target}', which {name} has not")
    return {"x": rows, "y": [row.pop(target) for row in rows]}


def _join_sides(training: Any, held: Any, name: str) -> dict[str, Any]:
    """Join what the data sets of frameworks return: (x, y) for training, and (x, y) for testing."""
    sides = [normalize_loaded({"x": x, "y": y}, name, "", images=False) for x, y in (training, held)]
    return {
        "x": [*sides[0].x, *sides[1].x],
        "y": [*sides[0].y, *sides[1].y],
        "held_out": [False] * len(sides[0].y) + [True] * len(sides[1].y),
    }


def _is_pair(value: object) -> bool:
    """Whether it is (x, y), not two examples or two columns."""
    return (
        isinstance(value, tuple)
        and len(value) == 2
        and all(hasattr(part, "__len__") and not isinstance(part, str) for part in value)
    )


def _to_inputs(x: Any, name: str, rows: int, *, images: bool) -> list[Any]:
    """Return one input an example. rows: the number of truths."""
    if is_table(x):
        x = _records(x, name)
    if isinstance(x, Mapping):
        raise ConfigError(reason=f"{name} gives the inputs by name; give one record an example: a list of dicts, or a DataFrame")
    is_list_of_arrays = isinstance(x, tuple | list) and len(x) != rows and len(x) > 1
    if is_list_of_arrays and all(isinstance(item, np.ndarray) and len(item) == rows for item in x):
        raise ConfigError(
            reason=f"{name} gives {len(x)} arrays of inputs; a model of several inputs takes records: one dict an example, with a "
            "value for each"
        )
    items = _to_list(x, name, keep=True)
    if len(items) != rows:
        raise ConfigError(reason=f"there are {len(items)} inputs but {rows} truths")
    return [_to_input(item, index, name, images=images) for index, item in enumerate(items, 1)]


def _to_input(value: Any, index: int, name: str, *, images: bool) -> Any:
    """Return a record, a row of numbers, pixels, a path or bytes. Raises ConfigError that names the example."""
    if is_record(value):
        record = record_of(value)
        bad_field = next(
            (field for field, field_value in record.items() if not isinstance(field_value, str | int | float | None)), None
        )
        if bad_field is not None:
            raise ConfigError(
                reason=f"{name}: the field '{bad_field}' of example {index} is {_describe_type(record[bad_field])}; "
                "a number, a text, true or false is expected"
            )
        return record
    if isinstance(value, bytes | Path):
        return value
    if isinstance(value, str):
        if images:
            return Path(value)
        raise ConfigError(
            reason=f"{name}: example {index} is a text; give a record, such as a dict with the text under a name, or with "
            '[input] kind = "image" the path of a picture'
        )
    if hasattr(value, "getbands") or (isinstance(value, np.ndarray) and value.ndim > 1):
        try:
            return to_image(value)
        except ConversionError as cause:
            raise ConfigError(reason=f"{name}: example {index}: {cause.facts['reason']}") from cause
    row = _to_row(value)
    if row is None:
        raise ConfigError(
            reason=f"{name}: example {index} is {_describe_type(value)}; a dict, a row of numbers, a picture or its path is expected"
        )
    return row


def _to_row(value: Any) -> NDArray[Any] | None:
    """Return it as a row of numbers, or None."""
    if not isinstance(value, np.ndarray | list | tuple):
        return None
    try:
        row = np.asarray(value)
    except ValueError:
        return None
    return row if row.ndim == 1 and row.dtype.kind in "fiub" else None


def _records(table: Any, name: str) -> list[dict[str, Any]]:
    try:
        return rows_of(table)
    except ValueError as cause:
        raise ConfigError(reason=f"{name} has several columns named '{cause}'; rename them, or remove all but one") from cause


def _to_truths(y: Any, name: str) -> list[Any]:
    """Return one class or number an example. Raises ConfigError for a missing value or another type."""
    table = from_one_hot(y) if hasattr(y, "ndim") else y
    truths = [plain(truth) for truth in _to_list(table, name)]
    missing = [index for index, truth in enumerate(truths, 1) if truth is None]
    if missing:
        raise ConfigError(
            reason=f"{name}: {len(missing)} of {len(truths)} examples have no truth, the first is example {missing[0]}; "
            "leave these out"
        )
    bad_index = next((index for index, truth in enumerate(truths, 1) if not isinstance(truth, str | int | float)), None)
    if bad_index is not None:
        raise ConfigError(
            reason=f"{name}: the truth of example {bad_index} is {_describe_type(truths[bad_index - 1])}; a class or a number is expected"
        )
    if len({isinstance(truth, str) for truth in truths}) > 1:
        raise ConfigError(reason=f"{name}: the truths mix texts and numbers; write all of them in one way")
    return truths


def _to_list(values: Any, name: str, *, keep: bool = False) -> list[Any]:
    """Return the entries as a list. keep: keep array rows as arrays. Raises ConfigError when it is not iterable."""
    if hasattr(values, "toarray"):
        values = values.toarray()
    if is_table(values):
        values = values.to_numpy()
    if hasattr(values, "numpy") and not isinstance(values, np.ndarray):
        values = values.numpy()
    if isinstance(values, str | bytes) or not isinstance(values, Iterable) or getattr(values, "ndim", 1) == 0:
        raise ConfigError(reason=f"{name} gives {_describe_type(values)} where a list, one entry an example, is expected")
    return values.tolist() if isinstance(values, np.ndarray) and not keep else list(values)


def _describe_type(value: Any) -> str:
    """Describe the type of a value for an error message."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    return "nothing (None)" if value is None else f"a {type(value).__name__}"
