"""Columns that boosters compare and no caller sends, made in the graph: is it one of these categories? does this zero mean missing?

    features (n, width) ─┬───────────────────────────────────────────────────┐
                         ├─ |x| ≤ 1e-35 ? NaN : x ──────── zeros as missing ─┼─ Concat ─► (n, width + made)
                         └─ to a whole number ─ Gather(table) ─ 0, 1 or NaN ─┘

So a tree needs nothing but *x is at most t*, whatever its splits were.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from relevo.errors import ConversionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: What LightGBM takes for zero: 1e-35 in single precision.
ZERO = float(np.float32(1e-35))
#: A table of more categories than this is a mistake or an attack.
_MOST_CATEGORIES = 2**20
_MOST_CELLS = 2**26


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryTable:
    """Questions about one feature's category; lives as long as one conversion."""

    feature: int
    #: (categories + 3, questions): a negative number, each category, one beyond them all, NaN; 1 belongs, 0 does not.
    table: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class DerivedColumns:
    """The columns behind a model's own; lives as long as one conversion."""

    zeros: tuple[int, ...] = ()  # features whose zeros count as missing
    memberships: tuple[CategoryTable, ...] = ()


@dataclass(slots=True, kw_only=True)
class DerivedColumnsBuilder:
    """Collects the columns that splits ask for; lives while one model is read."""

    width: int  # of the model's own features
    zeros: dict[int, int] = field(default_factory=dict)  # feature → provisional column
    questions: dict[tuple[int, frozenset[int], float], int] = field(default_factory=dict)  # → provisional column

    def zero_missing(self, feature: int) -> int:
        """The column of that feature with NaN for zero."""
        return self.zeros.setdefault(feature, self.width + len(self.zeros) + len(self.questions))

    def member(self, feature: int, categories: frozenset[int], missing: float) -> int:
        """The column that is 1 where the feature's category is one of these, 0 elsewhere, and `missing` for NaN."""
        if any(not 0 <= category < _MOST_CATEGORIES for category in categories):
            raise ConversionError(reason=f"a split names a category outside 0..{_MOST_CATEGORIES}")
        return self.questions.setdefault((feature, categories, missing), self.width + len(self.zeros) + len(self.questions))

    def finish(self) -> tuple[NDArray[np.int64], DerivedColumns | None]:
        """The final number of each column that was given out, and what is to be made."""
        final = np.arange(self.width + len(self.zeros) + len(self.questions))
        at = self.width
        for column in self.zeros.values():
            final[column] = at
            at += 1
        memberships = []
        for feature in sorted({key[0] for key in self.questions}):
            asked = [(key, column) for key, column in self.questions.items() if key[0] == feature]
            memberships.append(_membership(feature, [key for key, _ in asked]))
            for _, column in asked:
                final[column] = at
                at += 1
        nothing = not self.zeros and not self.questions
        return final, None if nothing else DerivedColumns(zeros=tuple(self.zeros), memberships=tuple(memberships))


def _membership(feature: int, questions: list[tuple[int, frozenset[int], float]]) -> CategoryTable:
    categories = 1 + max((max(members, default=0) for _, members, _ in questions), default=0)
    if (categories + 3) * len(questions) > _MOST_CELLS:
        raise ConversionError(reason=f"feature {feature} is split by category too often to be written as a table")
    table = np.zeros((categories + 3, len(questions)))
    for place, (_, members, missing) in enumerate(questions):
        table[[1 + member for member in members], place] = 1.0
        table[-1, place] = missing
    return CategoryTable(feature=feature, table=table)


def write_made(made: DerivedColumns, kind: Any, *, input: str, output: str) -> tuple[list[Any], dict[str, NDArray[Any]]]:  # noqa: A002 - ONNX's words; a NumPy type
    """Nodes that put the made columns behind those of `input`, and their constants."""
    from onnx import helper

    nodes: list[Any] = []
    constants: dict[str, NDArray[Any]] = {}
    parts = [input]
    if made.zeros:
        constants |= {"zeros/at": np.array(made.zeros), "zeros/least": np.array(ZERO, kind), "zeros/nan": np.array(np.nan, kind)}
        nodes += [
            helper.make_node("Gather", [input, "zeros/at"], ["zeros/own"], axis=1),
            helper.make_node("Abs", ["zeros/own"], ["zeros/size"]),
            helper.make_node("LessOrEqual", ["zeros/size", "zeros/least"], ["zeros/small"]),
            helper.make_node("Where", ["zeros/small", "zeros/nan", "zeros/own"], ["zeros"]),
        ]
        parts.append("zeros")
    for member in made.memberships:
        more, tables = _ask(member, kind, input)
        nodes += more
        constants |= tables
        parts.append(f"in{member.feature}")
    return [*nodes, helper.make_node("Concat", parts, [output], axis=1)], constants


def _ask(member: CategoryTable, kind: Any, source: str) -> tuple[list[Any], dict[str, NDArray[Any]]]:
    """One feature to a row of its table: single precision rounds down as XGBoost's categories do, double towards zero."""
    from onnx import TensorProto, helper

    name = f"in{member.feature}"
    beyond = len(member.table) - 3
    constants = {
        f"{name}/at": np.array(member.feature),
        f"{name}/low": np.array(-1, kind),
        f"{name}/high": np.array(beyond, kind),
        f"{name}/nan": np.array(beyond + 1, kind),
        f"{name}/one": np.array(1),
        f"{name}/table": member.table.astype(kind),
    }
    whole = "Floor" if kind is np.float32 else "Identity"
    return [
        helper.make_node("Gather", [source, f"{name}/at"], [f"{name}/own"], axis=1),
        helper.make_node("IsNaN", [f"{name}/own"], [f"{name}/absent"]),
        helper.make_node("Clip", [f"{name}/own", f"{name}/low", f"{name}/high"], [f"{name}/bounded"]),
        helper.make_node("Where", [f"{name}/absent", f"{name}/nan", f"{name}/bounded"], [f"{name}/known"]),
        helper.make_node(whole, [f"{name}/known"], [f"{name}/whole"]),
        helper.make_node("Cast", [f"{name}/whole"], [f"{name}/number"], to=TensorProto.INT64),
        helper.make_node("Add", [f"{name}/number", f"{name}/one"], [f"{name}/row"]),
        helper.make_node("Gather", [f"{name}/table", f"{name}/row"], [name], axis=0),
    ], constants
