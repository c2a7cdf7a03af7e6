"""Adds derived columns that boosters compare: membership in a set of categories, and zeros that count as missing.

    features (n, width) ─┬───────────────────────────────────────────────────┐
                         ├─ |x| ≤ 1e-35 ? NaN : x ──────── zeros as missing ─┼─ Concat ─► (n, width + derived)
                         └─ to an integer ───── Gather(table) ─ 0, 1 or NaN ─┘

With these columns a tree needs only the comparison *x is at most t*, whatever its splits were.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from relevo.errors import ConversionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Largest value that LightGBM treats as zero: 1e-35 in single precision.
ZERO = float(np.float32(1e-35))
#: A table of more categories than this is an error or an attack.
_MAX_CATEGORIES = 2**20
_MAX_CELLS = 2**26


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryTable:
    """Membership tables for one feature's category. Lifetime: one conversion."""

    feature: int
    #: (categories + 3, sets). Rows: a negative number, each category, any larger number, NaN. 1: member, 0: not.
    table: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class DerivedColumns:
    """The columns added after a model's own. Lifetime: one conversion."""

    zeros: tuple[int, ...] = ()  # features in which zero counts as missing
    memberships: tuple[CategoryTable, ...] = ()


@dataclass(slots=True, kw_only=True)
class DerivedColumnsBuilder:
    """Collects the columns that splits need. Lifetime: reading of one model."""

    width: int  # number of the model's own features
    zeros: dict[int, int] = field(default_factory=dict)  # feature → provisional column
    sets: dict[tuple[int, frozenset[int], float], int] = field(default_factory=dict)  # → provisional column

    def zero_missing(self, feature: int) -> int:
        """Returns the column of that feature with NaN for zero."""
        return self.zeros.setdefault(feature, self.width + len(self.zeros) + len(self.sets))

    def member(self, feature: int, categories: frozenset[int], missing: float) -> int:
        """Returns the column that is 1 if the feature's category is in the set, 0 if not, and `missing` for NaN."""
        if any(not 0 <= category < _MAX_CATEGORIES for category in categories):
            raise ConversionError(reason=f"a split names a category outside 0..{_MAX_CATEGORIES}")
        return self.sets.setdefault((feature, categories, missing), self.width + len(self.zeros) + len(self.sets))

    def finish(self) -> tuple[NDArray[np.int64], DerivedColumns | None]:
        """Returns the final index of each allocated column, and the columns to derive."""
        final = np.arange(self.width + len(self.zeros) + len(self.sets))
        position = self.width
        for column in self.zeros.values():
            final[column] = position
            position += 1
        memberships = []
        for feature in sorted({key[0] for key in self.sets}):
            requested = [(key, column) for key, column in self.sets.items() if key[0] == feature]
            memberships.append(_category_table(feature, [key for key, _ in requested]))
            for _, column in requested:
                final[column] = position
                position += 1
        is_empty = not self.zeros and not self.sets
        return final, None if is_empty else DerivedColumns(zeros=tuple(self.zeros), memberships=tuple(memberships))


def _category_table(feature: int, sets: list[tuple[int, frozenset[int], float]]) -> CategoryTable:
    categories = 1 + max((max(members, default=0) for _, members, _ in sets), default=0)
    if (categories + 3) * len(sets) > _MAX_CELLS:
        raise ConversionError(reason=f"feature {feature} is split by category too often to be written as a table")
    table = np.zeros((categories + 3, len(sets)))
    for index, (_, members, missing) in enumerate(sets):
        table[[1 + member for member in members], index] = 1.0
        table[-1, index] = missing
    return CategoryTable(feature=feature, table=table)


def derive_columns(derived: DerivedColumns, dtype: Any, *, input: str, output: str) -> tuple[list[Any], dict[str, NDArray[Any]]]:  # noqa: A002 - ONNX's words; a NumPy type
    """Returns nodes that append the derived columns to those of `input`, and their constants."""
    from onnx import helper

    nodes: list[Any] = []
    constants: dict[str, NDArray[Any]] = {}
    parts = [input]
    if derived.zeros:
        constants |= {
            "zeros/at": np.array(derived.zeros),
            "zeros/least": np.array(ZERO, dtype),
            "zeros/nan": np.array(np.nan, dtype),
        }
        nodes += [
            helper.make_node("Gather", [input, "zeros/at"], ["zeros/own"], axis=1),
            helper.make_node("Abs", ["zeros/own"], ["zeros/size"]),
            helper.make_node("LessOrEqual", ["zeros/size", "zeros/least"], ["zeros/small"]),
            helper.make_node("Where", ["zeros/small", "zeros/nan", "zeros/own"], ["zeros"]),
        ]
        parts.append("zeros")
    for member in derived.memberships:
        table_nodes, tables = _membership_nodes(member, dtype, input)
        nodes += table_nodes
        constants |= tables
        parts.append(f"in{member.feature}")
    return [*nodes, helper.make_node("Concat", parts, [output], axis=1)], constants


def _membership_nodes(member: CategoryTable, dtype: Any, source: str) -> tuple[list[Any], dict[str, NDArray[Any]]]:
    """Maps one feature to a row of its table: single precision rounds down as XGBoost's categories do, double towards zero."""
    from onnx import TensorProto, helper

    name = f"in{member.feature}"
    upper = len(member.table) - 3
    constants = {
        f"{name}/at": np.array(member.feature),
        f"{name}/low": np.array(-1, dtype),
        f"{name}/high": np.array(upper, dtype),
        f"{name}/nan": np.array(upper + 1, dtype),
        f"{name}/one": np.array(1),
        f"{name}/table": member.table.astype(dtype),
    }
    rounding = "Floor" if dtype is np.float32 else "Identity"
    return [
        helper.make_node("Gather", [source, f"{name}/at"], [f"{name}/own"], axis=1),
        helper.make_node("IsNaN", [f"{name}/own"], [f"{name}/absent"]),
        helper.make_node("Clip", [f"{name}/own", f"{name}/low", f"{name}/high"], [f"{name}/bounded"]),
        helper.make_node("Where", [f"{name}/absent", f"{name}/nan", f"{name}/bounded"], [f"{name}/known"]),
        helper.make_node(rounding, [f"{name}/known"], [f"{name}/whole"]),
        helper.make_node("Cast", [f"{name}/whole"], [f"{name}/number"], to=TensorProto.INT64),
        helper.make_node("Add", [f"{name}/number", f"{name}/one"], [f"{name}/row"]),
        helper.make_node("Gather", [f"{name}/table", f"{name}/row"], [name], axis=0),
    ], constants
