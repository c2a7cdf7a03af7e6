"""Steps that skl2onnx writes otherwise than scikit-learn computes, as custom converters of our own.

    OneHotEncoder, OrdinalEncoder   one column ─ place of its category, 0 for an unknown one ─ Gather ─► what `transform` gives
    Normalizer("max")               the largest absolute value, and not the largest value

What `transform` gives is read off the fitted encoder itself, so that dropped, infrequent and unknown categories are as it has them.
A number is a category only when it equals it.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_STRING, _FLOAT, _DOUBLE, _INT64 = 8, 1, 11, 7


def custom_converters(parts: list[Any]) -> dict[str, Any]:
    """The options of `skl2onnx.convert_sklearn` by which these steps are written here; {} where none is among `parts`."""
    shapes: dict[type, Any] = {}
    writers: dict[type, Any] = {}
    for part in parts:
        name = type(part).__name__
        if name in ("OneHotEncoder", "OrdinalEncoder"):
            shapes[type(part)], writers[type(part)] = _table_shape, _write_tables
        elif name == "Normalizer" and getattr(part, "norm", "") == "max":
            shapes[type(part)], writers[type(part)] = _same_shape, _write_normalizer
    return {"custom_shape_calculators": shapes, "custom_conversion_functions": writers} if writers else {}


# --- encoders -----------------------------------------------------------------------------------------------------------


def _table_shape(operator: Any) -> None:
    from skl2onnx.common.data_types import FloatTensorType

    width = sum(table.shape[1] for _, table in _tables(operator.raw_operator))
    operator.outputs[0].type = FloatTensorType([operator.inputs[0].get_first_dimension(), width])


def _write_tables(scope: Any, operator: Any, container: Any) -> None:
    encoder = operator.raw_operator
    columns = list(_columns(scope, operator, container))
    parts = []
    for (known, table), (column, kind) in zip(_tables(encoder), columns, strict=True):
        place = _place_of_text(scope, container, column, known) if kind == _STRING else None
        if place is None:
            place = _place_of_number(scope, container, column, known, single=kind == _FLOAT)
        numbers = _constant(scope, container, _FLOAT, table)
        found = scope.get_unique_variable_name("encoded")
        container.add_node("Gather", [numbers, place], found, name=scope.get_unique_operator_name("Gather"), axis=0, op_version=11)
        parts.append(found)
    container.add_node(
        "Concat", parts, operator.outputs[0].full_name, name=scope.get_unique_operator_name("Concat"), axis=1, op_version=11
    )


def _columns(scope: Any, operator: Any, container: Any) -> Iterator[tuple[str, int]]:
    """Each column as a tensor (n, 1) and the type of its elements."""
    for entry in operator.inputs:
        kind = {"StringTensorType": _STRING, "FloatTensorType": _FLOAT}.get(type(entry.type).__name__, _DOUBLE)
        width = int(entry.type.shape[1])
        if width == 1:
            yield entry.full_name, kind
            continue
        for column in range(width):
            at = _constant(scope, container, _INT64, np.array([column]))
            one = scope.get_unique_variable_name("column")
            name = scope.get_unique_operator_name("Gather")
            container.add_node("Gather", [entry.full_name, at], one, name=name, axis=1, op_version=11)
            yield one, kind


def _tables(encoder: Any) -> Iterator[tuple[NDArray[Any], NDArray[np.float32]]]:
    """For each column its categories, and what `transform` gives: row 0 for an unknown one, then one row a category."""
    encoder = copy.copy(encoder)
    if hasattr(encoder, "set_output"):
        encoder._sklearn_output_config = {"transform": "default"}  # noqa: SLF001 - set_output on a copy would change the original's
    encoder.sparse_output = False
    known = [np.asarray(one) for one in encoder.categories_]
    first = np.array([one[0] for one in known], dtype=object)
    start = 0
    for place, categories in enumerate(known):
        rows = np.tile(first, (len(categories), 1))
        rows[:, place] = categories
        given = np.asarray(_transformed(encoder, rows), dtype=np.float64)
        ordinal = type(encoder).__name__ == "OrdinalEncoder"
        width = 1 if ordinal else int(encoder._n_features_outs[place])  # noqa: SLF001 - told nowhere else
        own = given[:, start : start + width]
        start += width
        yield categories, np.vstack([_of_unknown(encoder, place, own), own]).astype(np.float32)


def _transformed(encoder: Any, rows: NDArray[Any]) -> Any:
    # Without the columns' names: rows are given by place.
    encoder.__dict__.pop("feature_names_in_", None)
    kinds = {np.asarray(one).dtype.kind for one in encoder.categories_}
    return encoder.transform(rows if kinds - set("fiub") else rows.astype(np.float64))


def _of_unknown(encoder: Any, place: int, own: NDArray[np.float64]) -> NDArray[np.float64]:
    """What an unknown category becomes; where the encoder would raise, the field is closed and none comes."""
    if type(encoder).__name__ == "OrdinalEncoder":
        return np.array([[np.nan if encoder.unknown_value is None else encoder.unknown_value]], dtype=np.float64)
    nothing = np.zeros((1, own.shape[1]))
    rare = getattr(encoder, "infrequent_categories_", [None] * (place + 1))[place]
    if encoder.handle_unknown not in ("infrequent_if_exist", "warn") or rare is None or not len(rare):
        return nothing
    # As any of the infrequent ones.
    texts = [str(one) for one in np.asarray(encoder.categories_[place])]
    return own[[texts.index(str(rare[0]))]]


def _place_of_text(scope: Any, container: Any, column: str, known: NDArray[Any]) -> str:
    """The place of each text among the categories, from 1 on; 0 for any other."""
    flat, place = scope.get_unique_variable_name("texts"), scope.get_unique_variable_name("place")
    shape = _constant(scope, container, _INT64, np.array([-1]))
    container.add_node("Reshape", [column, shape], flat, name=scope.get_unique_operator_name("Reshape"), op_version=5)
    container.add_node(
        "LabelEncoder",
        flat,
        place,
        name=scope.get_unique_operator_name("LabelEncoder"),
        op_domain="ai.onnx.ml",
        op_version=2,
        # An absent text is sent as an empty one.
        keys_strings=["" if one is None or one != one else str(one) for one in known],  # noqa: PLR0124 - NaN is not itself
        values_int64s=list(range(1, len(known) + 1)),
        default_int64=0,
    )
    return str(place)


def _place_of_number(scope: Any, container: Any, column: str, known: NDArray[Any], *, single: bool) -> str:
    """The place of each number among the categories, from 1 on; 0 for one that equals none."""
    numbers = known.astype(np.float64)
    if single:
        numbers = numbers.astype(np.float32).astype(np.float64)
    absent = np.isnan(numbers)
    names = {what: scope.get_unique_variable_name(what) for what in ("double", "hit", "hot", "sum", "place")}

    def add(kind: str, inputs: list[str], output: str, **options: Any) -> str:
        container.add_node(kind, inputs, output, name=scope.get_unique_operator_name(kind), **options)
        return output

    double = add("Cast", [column], names["double"], to=_DOUBLE, op_version=9)
    hit = add("Equal", [double, _constant(scope, container, _DOUBLE, numbers[None, :])], names["hit"], op_version=11)
    if absent.any():
        missing = add("IsNaN", [double], scope.get_unique_variable_name("missing"), op_version=9)
        mask = _constant(scope, container, 9, absent[None, :])
        both = add("And", [missing, mask], scope.get_unique_variable_name("both"), op_version=7)
        hit = add("Or", [hit, both], scope.get_unique_variable_name("either"), op_version=7)
    hot = add("Cast", [hit], names["hot"], to=_FLOAT, op_version=9)
    order = _constant(scope, container, _FLOAT, np.arange(1, len(numbers) + 1, dtype=np.float32)[:, None])
    found = add("MatMul", [hot, order], names["sum"], op_version=9)
    flat = add(
        "Reshape",
        [found, _constant(scope, container, _INT64, np.array([-1]))],
        scope.get_unique_variable_name("flat"),
        op_version=5,
    )
    add("Cast", [flat], names["place"], to=_INT64, op_version=9)
    return str(names["place"])


def _constant(scope: Any, container: Any, kind: int, values: NDArray[Any]) -> str:
    name: str = scope.get_unique_variable_name("constant")
    container.add_initializer(name, kind, list(values.shape), values.ravel().tolist())
    return name


# --- Normalizer ---------------------------------------------------------------------------------------------------------


def _same_shape(operator: Any) -> None:
    kind = type(operator.inputs[0].type)
    width = sum(int(entry.type.shape[1]) for entry in operator.inputs)
    operator.outputs[0].type = kind([operator.inputs[0].get_first_dimension(), width])


def _write_normalizer(scope: Any, operator: Any, container: Any) -> None:
    kind = _FLOAT if type(operator.inputs[0].type).__name__ == "FloatTensorType" else _DOUBLE

    def add(op: str, inputs: list[str], output: str | list[str], **options: Any) -> Any:
        container.add_node(op, inputs, output, name=scope.get_unique_operator_name(op), **options)
        return output

    def name(what: str) -> str:
        unique: str = scope.get_unique_variable_name(what)
        return unique

    whole = operator.inputs[0].full_name
    if len(operator.inputs) > 1:
        whole = add("Concat", [entry.full_name for entry in operator.inputs], name("whole"), axis=1, op_version=11)
    sizes = add("Abs", [whole], name("sizes"), op_version=6)
    one = _constant(scope, container, _INT64, np.array([1]))
    largest, _ = add("TopK", [sizes, one], [name("largest"), name("which")], axis=1, op_version=11)
    nothing = _constant(scope, container, kind, np.array([0.0]))
    zero = add("Equal", [largest, nothing], name("zero"), op_version=11)
    unit = _constant(scope, container, kind, np.array([1.0]))
    divisor = add("Where", [zero, unit, largest], name("divisor"), op_version=9)
    add("Div", [whole, divisor], operator.outputs[0].full_name, op_version=7)
