"""What a program's load(), or a .npz, gives, brought to inputs and truths that belong together; or a sentence that says why not.

    x, y · {"x": …, "y": …} · (x, y), (x, y) of a test part · a DataFrame with its target ─► inputs, truths, groups, sides

Each input becomes what an example is: a record, a row of numbers, a picture's pixels, or the bytes of its file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from relevo.errors import ConfigError, ConversionError
from relevo.package.samples import one_picture
from relevo.package.targets import from_one_hot
from relevo.util.records import is_record, is_table, plain, record_of, rows_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

#: What may be given by name, one entry an example each.
_NAMES = {"x", "y", "held_out", "groups"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Given:
    """Inputs and what is told of each; lives as long as examples are loaded. All lists are of one length."""

    x: Sequence[Any]
    y: list[Any]
    held: list[Any]
    groups: list[Any]


def given_by(value: Any, name: str, target: str, *, pictures: bool) -> Given:
    """The examples in what `name` gave. target: of a table alone, the column with the truth. Raises ConfigError."""
    parts = _named(value, name, target)
    y = _truths(parts["y"], name)
    x = _inputs(parts["x"], name, len(y), pictures=pictures)
    held, groups = (_listed(parts.get(key, [None] * len(x)), name) for key in ("held_out", "groups"))
    if not len(held) == len(groups) == len(x):
        raise ConfigError(reason=f"there are {len(x)} inputs but {len(held)} held_out and {len(groups)} groups")
    return Given(x=x, y=y, held=held, groups=groups)


def _named(value: Any, name: str, target: str) -> Mapping[str, Any]:
    """X, y and what else is given by its name."""
    if is_table(value):
        return _split_table(value, name, target)
    if isinstance(value, Mapping):
        if not {"x", "y"} <= value.keys() <= _NAMES:
            told = ", ".join(str(key) for key in value) or "none"
            raise ConfigError(reason=f"{name} must hold x and y, and may hold held_out and groups; it holds {told}")
        return value
    if isinstance(value, tuple | list) and len(value) == 2:
        first, second = value
        if _is_pair(first) and _is_pair(second):
            return _joined(first, second, name)
        return {"x": first, "y": second}
    many = f"{len(value)} values" if isinstance(value, tuple) else _kind(value)
    raise ConfigError(reason=f"load() in {name} must return x, y: the inputs and their truths; it returned {many}")


def _split_table(table: Any, name: str, target: str) -> dict[str, Any]:
    if not target:
        raise ConfigError(
            reason=f"load() in {name} returned a table alone; return x, y, or name the column of the truth: [data] target"
        )
    rows = _records(table, name)
    if target not in [str(column) for column in table.columns]:
        raise ConfigError(reason=f"[data] names the column '{target}', which {name} has not")
    return {"x": rows, "y": [row.pop(target) for row in rows]}


def _joined(learn: Any, held: Any, name: str) -> dict[str, Any]:
    """What the data sets of frameworks give: (x, y) to learn from, and (x, y) to test with."""
    sides = [given_by({"x": x, "y": y}, name, "", pictures=False) for x, y in (learn, held)]
    return {
        "x": [*sides[0].x, *sides[1].x],
        "y": [*sides[0].y, *sides[1].y],
        "held_out": [False] * len(sides[0].y) + [True] * len(sides[1].y),
    }


def _is_pair(value: object) -> bool:
    """Whether it is (x, y) and neither two examples nor two columns of them."""
    return (
        isinstance(value, tuple) and len(value) == 2 and all(hasattr(one, "__len__") and not isinstance(one, str) for one in value)
    )


def _inputs(x: Any, name: str, rows: int, *, pictures: bool) -> list[Any]:
    """One input an example. rows: how many truths there are."""
    if is_table(x):
        x = _records(x, name)
    if isinstance(x, Mapping):
        raise ConfigError(reason=f"{name} gives the inputs by name; give one record an example: a list of dicts, or a DataFrame")
    several = isinstance(x, tuple | list) and len(x) != rows and len(x) > 1
    if several and all(isinstance(one, np.ndarray) and len(one) == rows for one in x):
        raise ConfigError(
            reason=f"{name} gives {len(x)} arrays of inputs; a model of several inputs takes records: one dict an example, with a "
            "value for each"
        )
    each = _listed(x, name, keep=True)
    if len(each) != rows:
        raise ConfigError(reason=f"there are {len(each)} inputs but {rows} truths")
    return [_input(one, place, name, pictures=pictures) for place, one in enumerate(each, 1)]


def _input(one: Any, place: int, name: str, *, pictures: bool) -> Any:
    """A record, a row of numbers, pixels, a path or bytes. Raises ConfigError naming the example."""
    if is_record(one):
        record = record_of(one)
        odd = next((field for field, value in record.items() if not isinstance(value, str | int | float | None)), None)
        if odd is not None:
            raise ConfigError(
                reason=f"{name}: the field '{odd}' of example {place} is {_kind(record[odd])}; a number, a text, true or false is "
                "expected"
            )
        return record
    if isinstance(one, bytes | Path):
        return one
    if isinstance(one, str):
        if pictures:
            return Path(one)
        raise ConfigError(
            reason=f"{name}: example {place} is a text; give a record, such as a dict with the text under a name, or with "
            '[input] kind = "image" the path of a picture'
        )
    if hasattr(one, "getbands") or (isinstance(one, np.ndarray) and one.ndim > 1):
        try:
            return one_picture(one)
        except ConversionError as cause:
            raise ConfigError(reason=f"{name}: example {place}: {cause.facts['reason']}") from cause
    row = _row(one)
    if row is None:
        raise ConfigError(
            reason=f"{name}: example {place} is {_kind(one)}; a dict, a row of numbers, a picture or its path is expected"
        )
    return row


def _row(one: Any) -> NDArray[Any] | None:
    """A row of numbers, or None."""
    if not isinstance(one, np.ndarray | list | tuple):
        return None
    try:
        row = np.asarray(one)
    except ValueError:
        return None
    return row if row.ndim == 1 and row.dtype.kind in "fiub" else None


def _records(table: Any, name: str) -> list[dict[str, Any]]:
    try:
        return rows_of(table)
    except ValueError as cause:
        raise ConfigError(reason=f"{name} has several columns named '{cause}'; rename them, or remove all but one") from cause


def _truths(y: Any, name: str) -> list[Any]:
    """One class or number an example. Raises ConfigError for a missing one, or what is neither."""
    table = from_one_hot(y) if hasattr(y, "ndim") else y
    truths = [plain(one) for one in _listed(table, name)]
    lacking = [place for place, one in enumerate(truths, 1) if one is None]
    if lacking:
        raise ConfigError(
            reason=f"{name}: {len(lacking)} of {len(truths)} examples have no truth, the first is example {lacking[0]}; "
            "leave these out"
        )
    odd = next((place for place, one in enumerate(truths, 1) if not isinstance(one, str | int | float)), None)
    if odd is not None:
        raise ConfigError(reason=f"{name}: the truth of example {odd} is {_kind(truths[odd - 1])}; a class or a number is expected")
    if len({isinstance(one, str) for one in truths}) > 1:
        raise ConfigError(reason=f"{name}: the truths mix texts and numbers; write all of them in one way")
    return truths


def _listed(values: Any, name: str, *, keep: bool = False) -> list[Any]:
    """A list of the entries. keep: rows of an array stay arrays. Raises ConfigError for what has none."""
    if hasattr(values, "toarray"):
        values = values.toarray()
    if is_table(values):
        values = values.to_numpy()
    if hasattr(values, "numpy") and not isinstance(values, np.ndarray):
        values = values.numpy()
    if isinstance(values, str | bytes) or not isinstance(values, Iterable) or getattr(values, "ndim", 1) == 0:
        raise ConfigError(reason=f"{name} gives {_kind(values)} where a list, one entry an example, is expected")
    return values.tolist() if isinstance(values, np.ndarray) and not keep else list(values)


def _kind(value: Any) -> str:
    """What it is, for a sentence."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    return "nothing (None)" if value is None else f"a {type(value).__name__}"
