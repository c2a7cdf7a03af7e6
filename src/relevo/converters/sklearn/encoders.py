"""Custom skl2onnx converters for steps that skl2onnx exports differently from what scikit-learn computes.

    OneHotEncoder, OrdinalEncoder   one column ─ index of its category, 0 for an unknown one ─ Gather ─► what `transform` returns
    Normalizer("max")               divides by the largest absolute value, not by the largest value

The output of `transform` is taken from the fitted encoder itself, so that dropped, infrequent and unknown categories are treated the same.
A number is a category only when it equals it exactly.
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
    """Options of `skl2onnx.convert_sklearn` that select these converters; {} when `parts` has no such step."""
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
    for (categories, table), (column, kind) in zip(_tables(encoder), columns, strict=True):
        index = _text_index(scope, container, column, categories) if kind == _STRING else None
        if index is None:
            index = _number_index(scope, container, column, categories, single=kind == _FLOAT)
        values = _constant(scope, container, _FLOAT, table)
        encoded = scope.get_unique_variable_name("encoded")
        container.add_node("Gather", [values, index], encoded, name=scope.get_unique_operator_name("Gather"), axis=0, op_version=11)
        parts.append(encoded)
    container.add_node(
        "Concat", parts, operator.outputs[0].full_name, name=scope.get_unique_operator_name("Concat"), axis=1, op_version=11
    )


def _columns(scope: Any, operator: Any, container: Any) -> Iterator[tuple[str, int]]:
    """Yields each column as a tensor (n, 1) with its element type."""
    for entry in operator.inputs:
        kind = {"StringTensorType": _STRING, "FloatTensorType": _FLOAT}.get(type(entry.type).__name__, _DOUBLE)
        width = int(entry.type.shape[1])
        if width == 1:
            yield entry.full_name, kind
            continue
        for column in range(width):
            position = _constant(scope, container, _INT64, np.array([column]))
            tensor = scope.get_unique_variable_name("column")
            name = scope.get_unique_operator_name("Gather")
            container.add_node("Gather", [entry.full_name, position], tensor, name=name, axis=1, op_version=11)
            yield tensor, kind


def _tables(encoder: Any) -> Iterator[tuple[NDArray[Any], NDArray[np.float32]]]:
    """Yields for each column its categories and the output of `transform`: row 0 for an unknown one, then one row for each category."""
    encoder = copy.copy(encoder)
    if hasattr(encoder, "set_output"):
        encoder._sklearn_output_config = {"transform": "default"}  # noqa: SLF001 - set_output on a copy would change the original
    encoder.sparse_output = False
    all_categories = [np.asarray(values) for values in encoder.categories_]
    first = np.array([values[0] for values in all_categories], dtype=object)
    start = 0
    for index, categories in enumerate(all_categories):
        rows = np.tile(first, (len(categories), 1))
        rows[:, index] = categories
        encoded = np.asarray(_transform(encoder, rows), dtype=np.float64)
        ordinal = type(encoder).__name__ == "OrdinalEncoder"
        width = 1 if ordinal else int(encoder._n_features_outs[index])  # noqa: SLF001 - no public access
        column_rows = encoded[:, start : start + width]
        start += width
        yield categories, np.vstack([_unknown_row(encoder, index, column_rows), column_rows]).astype(np.float32)


def _transform(encoder: Any, rows: NDArray[Any]) -> Any:
    # Without column names: rows are passed by position.
    encoder.__dict__.pop("feature_names_in_", None)
    kinds = {np.asarray(categories).dtype.kind for categories in encoder.categories_}
    return encoder.transform(rows if kinds - set("fiub") else rows.astype(np.float64))


def _unknown_row(encoder: Any, index: int, known_rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Encoding of an unknown category; unused when the encoder would raise, because then the field is closed."""
    if type(encoder).__name__ == "OrdinalEncoder":
        return np.array([[np.nan if encoder.unknown_value is None else encoder.unknown_value]], dtype=np.float64)
    zeros = np.zeros((1, known_rows.shape[1]))
    infrequent = getattr(encoder, "infrequent_categories_", [None] * (index + 1))[index]
    if encoder.handle_unknown not in ("infrequent_if_exist", "warn") or infrequent is None or not len(infrequent):
        return zeros
    # Encoded like any infrequent category.
    texts = [str(category) for category in np.asarray(encoder.categories_[index])]
    return known_rows[[texts.index(str(infrequent[0]))]]


def _text_index(scope: Any, container: Any, column: str, categories: NDArray[Any]) -> str:
    """Adds nodes for the index of each text among the categories, starting at 1; 0 for any other."""
    flat, index = scope.get_unique_variable_name("texts"), scope.get_unique_variable_name("place")
    shape = _constant(scope, container, _INT64, np.array([-1]))
    container.add_node("Reshape", [column, shape], flat, name=scope.get_unique_operator_name("Reshape"), op_version=5)
    container.add_node(
        "LabelEncoder",
        flat,
        index,
        name=scope.get_unique_operator_name("LabelEncoder"),
        op_domain="ai.onnx.ml",
        op_version=2,
        # A missing text is sent as an empty one.
        keys_strings=["" if category is None or category != category else str(category) for category in categories],  # noqa: PLR0124 - NaN is not itself
        values_int64s=list(range(1, len(categories) + 1)),
        default_int64=0,
    )
    return str(index)


def _number_index(scope: Any, container: Any, column: str, categories: NDArray[Any], *, single: bool) -> str:
    """Adds nodes for the index of each number among the categories, starting at 1; 0 if it equals none."""
    numbers = categories.astype(np.float64)
    if single:
        numbers = numbers.astype(np.float32).astype(np.float64)
    absent = np.isnan(numbers)
    names = {purpose: scope.get_unique_variable_name(purpose) for purpose in ("double", "hit", "hot", "sum", "place")}

    def add(kind: str, inputs: list[str], output: str, **options: Any) -> str:
        container.add_node(kind, inputs, output, name=scope.get_unique_operator_name(kind), **options)
        return output

    as_double = add("Cast", [column], names["double"], to=_DOUBLE, op_version=9)
    matches = add("Equal", [as_double, _constant(scope, container, _DOUBLE, numbers[None, :])], names["hit"], op_version=11)
    if absent.any():
        missing = add("IsNaN", [as_double], scope.get_unique_variable_name("missing"), op_version=9)
        mask = _constant(scope, container, 9, absent[None, :])
        both = add("And", [missing, mask], scope.get_unique_variable_name("both"), op_version=7)
        matches = add("Or", [matches, both], scope.get_unique_variable_name("either"), op_version=7)
    one_hot = add("Cast", [matches], names["hot"], to=_FLOAT, op_version=9)
    order = _constant(scope, container, _FLOAT, np.arange(1, len(numbers) + 1, dtype=np.float32)[:, None])
    summed = add("MatMul", [one_hot, order], names["sum"], op_version=9)
    flat = add(
        "Reshape",
        [summed, _constant(scope, container, _INT64, np.array([-1]))],
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

    def name(purpose: str) -> str:
        unique: str = scope.get_unique_variable_name(purpose)
        return unique

    matrix = operator.inputs[0].full_name
    if len(operator.inputs) > 1:
        matrix = add("Concat", [entry.full_name for entry in operator.inputs], name("whole"), axis=1, op_version=11)
    sizes = add("Abs", [matrix], name("sizes"), op_version=6)
    count = _constant(scope, container, _INT64, np.array([1]))
    largest, _ = add("TopK", [sizes, count], [name("largest"), name("which")], axis=1, op_version=11)
    zero_constant = _constant(scope, container, kind, np.array([0.0]))
    is_zero = add("Equal", [largest, zero_constant], name("zero"), op_version=11)
    unit = _constant(scope, container, kind, np.array([1.0]))
    divisor = add("Where", [is_zero, unit, largest], name("divisor"), op_version=9)
    add("Div", [matrix, divisor], operator.outputs[0].full_name, op_version=7)
