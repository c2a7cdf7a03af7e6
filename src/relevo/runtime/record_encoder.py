"""Validates a JSON record against the signature and encodes records as the model's tensors.

    {"tenure": 41, …} ─ check ─► values in the signature's order ─ stack ─► {"input": (n, columns)} or one tensor per field

An error names the field, the expected type and the type of its value; the value itself is never repeated.

If the signature allows it, unknown fields are ignored, and required fields that are missing, null or true/false count as in a
DictVectorizer; `remarks` then lists them. An unknown name that looks like a misspelt field is rejected anyway.
"""

from __future__ import annotations

import difflib
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from relevo.domain.preprocessing import ColumnSteps, MatrixSteps
from relevo.domain.signature import Field, FieldKind, RecordInput
from relevo.errors import (
    FieldRangeError,
    FieldTooLargeError,
    FieldTooSmallError,
    FieldTypeError,
    InvalidJsonError,
    MissingFieldError,
    UnknownCategoryError,
    UnknownFieldError,
)
from relevo.util.terminal import escape_control

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

#: Names of JSON types in error messages; the message catalogues translate them.
_TYPE_NAMES = {
    str: "text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "an object",
    type(None): "null",
}
_EXPECTED = {
    FieldKind.NUMBER: "a number",
    FieldKind.INTEGER: "a whole number",
    FieldKind.CATEGORY: "text",
    FieldKind.BOOLEAN: "true or false",
}
#: Expected type where the text would be valid without its quotes.
_UNQUOTED = {
    FieldKind.NUMBER: "a number without quotes",
    FieldKind.INTEGER: "a whole number without quotes",
    FieldKind.BOOLEAN: "true or false without quotes",
}
_NUMBER_TEXT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_MAX_CHOICES_SHOWN = 20
_MAX_NAMES_SHOWN = 20
_MAX_NAME_LENGTH = 64
#: Minimum similarity, 0..1, at which an unknown name counts as a misspelling of a missing field's name.
_MIN_SIMILARITY = 0.75
#: Minimum length of a name that is a prefix or suffix of another, such as "payment" of "paymentmethod", to count as one.
_MIN_SHARED_LETTERS = 4
#: Maximum number of field names to compare; a record with more is a bag of words, of which no caller sends all.
_MAX_NAMES_COMPARED = 200
_MAX_UNKNOWN_COMPARED = 20
#: Largest magnitude up to which float64 represents every integer.
_MAX_EXACT_INT = 2**53
#: Largest number that a tensor of each type represents; a larger one would become infinity or an arbitrary value.
_MAX_VALUES = {
    "float32": float(np.finfo(np.float32).max),
    "float64": float(np.finfo(np.float64).max),
    "int64": float(_MAX_EXACT_INT),
}

Value = float | int | str | bool | None


class Remark(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A note about values of a record that were ignored or converted. Lifetime: the request."""

    #: English template with the placeholder {fields}; the message catalogues translate it.
    sentence: str
    #: The field names, comma-separated.
    fields: str

    def __str__(self) -> str:
        """The English sentence."""
        return self.sentence.format(fields=self.fields)


_IGNORED = "Unknown fields were ignored: {fields}."
_AS_ZERO = "Fields without a value that the model knows count as 0, as in the original: {fields}."
_AS_MISSING = "Fields without a value that the model knows count as missing, as in the original: {fields}."
_BOOL_AS_NUMBER = "In fields of numbers, true counts as 1 and false as 0: {fields}."
_NUMBER_AS_BOOL = "In fields of true and false, a number counts as itself, as in the original: {fields}."


class RecordEncoder:
    """Validates and encodes the records of one signature. Lifetime: its LoadedVersion or opened package."""

    def __init__(self, record: RecordInput, steps: MatrixSteps | ColumnSteps) -> None:
        """Precompute what every record needs."""
        self._record = record
        self._names = frozenset(field.name for field in record.fields)
        max_values, letters = _max_values(steps), _max_text_lengths(steps)
        self._letters = [(field.name, _letters(field.name)) for field in record.fields]
        self._accepts_missing = record.missing_fields == "zero"
        matrix = steps if isinstance(steps, MatrixSteps) else None
        self._sparse = matrix is not None and matrix.missing == "sparse"
        self._null_is_nan = self._accepts_missing and matrix is not None and matrix.null == "nan"
        self._strict = record.unknown_fields == "refuse" and not self._accepts_missing
        checks = _CHECKS | _LENIENT if self._accepts_missing else _CHECKS
        self._checks = [
            (field.name, _field_bounds(field, max_values.get(field.name, math.inf), letters.get(field.name)), checks[field.kind])
            for field in record.fields
        ]
        positions = {field.name: position for position, field in enumerate(record.fields)}
        self.stack: Callable[[Sequence[tuple[Value, ...]]], dict[str, NDArray[Any]]]
        self.stack = _MatrixEncoder(steps, positions) if isinstance(steps, MatrixSteps) else _ColumnEncoder(steps, positions)

    def check(self, record: Mapping[str, Any]) -> tuple[Value, ...]:
        """Values in the signature's order, None for an absent optional field.

        Raises InvalidJsonError if the record is not an object, and subclasses of InvalidFieldError, naming the field.
        """
        if not isinstance(record, dict):
            raise InvalidJsonError(reason="a record must be an object of named fields")
        values = []
        matched = 0
        for name, bounds, check in self._checks:
            value = record.get(name)
            if value is None and self._counts_as_nan(bounds.field, record):
                matched += 1
                value = math.nan
            elif value is None:
                if bounds.field.required and not self._counts_as_zero(bounds.field, record):
                    # A misspelt name is both unknown and missing; the first error is more helpful.
                    self._reject_unknown(record)
                    raise MissingFieldError(field=name, expected=_EXPECTED[bounds.field.kind])
                matched += name in record
            else:
                matched += 1
                value = check(bounds, value)
            values.append(value)
        if matched != len(record):
            self._reject_unknown(record)
        return tuple(values)

    def remarks(self, record: Mapping[str, Any]) -> tuple[Remark, ...]:
        """Fields of a record that `check` accepted although they were ignored or converted."""
        if self._strict:
            return ()
        unknown = [name for name in record if name not in self._names]
        zero: list[str] = []
        missing: list[str] = []
        bool_as_number: list[str] = []
        number_as_bool: list[str] = []
        for field in self._record.fields if self._accepts_missing else ():
            value = record.get(field.name)
            if value is None and self._counts_as_nan(field, record):
                missing.append(field.name)
            elif (value is None and field.required) or (type(value) is bool and field.kind is FieldKind.CATEGORY):
                (missing if self._sparse else zero).append(field.name)
            elif type(value) is bool and field.kind is not FieldKind.BOOLEAN:
                bool_as_number.append(field.name)
            elif field.kind is FieldKind.BOOLEAN and value is not None and type(value) is not bool:
                number_as_bool.append(field.name)
        groups = (
            (_IGNORED, unknown),
            (_AS_ZERO, zero),
            (_AS_MISSING, missing),
            (_BOOL_AS_NUMBER, bool_as_number),
            (_NUMBER_AS_BOOL, number_as_bool),
        )
        return tuple(Remark(sentence=sentence, fields=_join_names(names)) for sentence, names in groups if names)

    def _counts_as_nan(self, field: Field, record: Mapping[str, Any]) -> bool:
        """Whether a null in a number field becomes NaN, as DictVectorizer encodes it, because the model accepts NaN."""
        return self._null_is_nan and field.kind is not FieldKind.CATEGORY and field.name in record

    def _counts_as_zero(self, field: Field, record: Mapping[str, Any]) -> bool:
        """Whether a required field without a value is accepted.

        DictVectorizer encodes a null in a number field as NaN, which its model rejects; it ignores a null in a text field. A record
        with only unknown fields is something else sent by mistake; an empty record is accepted.
        """
        if not self._accepts_missing or (field.name in record and field.kind is not FieldKind.CATEGORY):
            return False
        return not record or any(name in self._names for name in record)

    def _reject_unknown(self, record: Mapping[str, Any]) -> None:
        unknown = [name for name in record if name not in self._names]
        if not unknown:
            return
        if self._record.unknown_fields == "refuse":
            matches = difflib.get_close_matches(unknown[0][:_MAX_NAME_LENGTH], self._names, n=1, cutoff=0.0)
            raise UnknownFieldError(field=unknown[0][:_MAX_NAME_LENGTH], nearest=matches[0] if matches else "")
        if len(self._names) > _MAX_NAMES_COMPARED:
            return
        missing = [(name, letters) for name, letters in self._letters if record.get(name) is None]
        for name in unknown[:_MAX_UNKNOWN_COMPARED] if missing else ():
            nearest = _nearest_missing(name[:_MAX_NAME_LENGTH], missing)
            if nearest is not None:
                raise UnknownFieldError(field=name[:_MAX_NAME_LENGTH], nearest=nearest)


def _nearest_missing(unknown: str, missing: Sequence[tuple[str, str]]) -> str | None:
    """The missing field that an unknown name probably means. missing: names and their letters."""
    letters = _letters(unknown)
    matcher = difflib.SequenceMatcher(a="", b=letters, autojunk=False)
    for name, other in missing:
        short, long = (letters, other) if len(letters) < len(other) else (other, letters)
        if letters == other or (len(short) >= _MIN_SHARED_LETTERS and (long.startswith(short) or long.endswith(short))):
            return name
        # The shared part is at most the shorter name: most pairs are ruled out by their lengths.
        if 2 * len(short) < _MIN_SIMILARITY * (len(short) + len(long)):
            continue
        matcher.set_seq1(other)
        if matcher.quick_ratio() >= _MIN_SIMILARITY and matcher.ratio() >= _MIN_SIMILARITY:
            return name
    return None


def _letters(name: str) -> str:
    """The letters and digits of a name, case-folded."""
    return "".join(char for char in name.casefold() if char.isalnum())


def _join_names(names: Sequence[str]) -> str:
    shown = [escape_control(name[:_MAX_NAME_LENGTH]) for name in names[:_MAX_NAMES_SHOWN]]
    return ", ".join(shown) + (", …" if len(names) > _MAX_NAMES_SHOWN else "")


def _max_values(steps: MatrixSteps | ColumnSteps) -> dict[str, float]:
    """By field, the largest number that its tensors represent; text fields have no entry."""
    if isinstance(steps, MatrixSteps):
        return {column.field: _MAX_VALUES[steps.dtype] for column in steps.columns if column.equals is None}
    max_values: dict[str, float] = {}
    for column in steps.columns:
        if column.dtype != "string":
            max_values[column.field] = min(_MAX_VALUES[column.dtype], max_values.get(column.field, math.inf))
    return max_values


def _max_text_lengths(steps: MatrixSteps | ColumnSteps) -> dict[str, int]:
    """By field, the number of letters beyond which a text equals no column's category: the rest of it need not be kept."""
    max_lengths: dict[str, int] = {}
    for column in steps.columns if isinstance(steps, MatrixSteps) else ():
        if isinstance(column.equals, str):
            max_lengths[column.field] = max(len(column.equals) + 1, max_lengths.get(column.field, 0))
    return max_lengths


@dataclass(frozen=True, slots=True, kw_only=True)
class _FieldBounds:
    """A field and the numbers it accepts, both ends included. Lifetime: its encoder."""

    field: Field
    low: float
    high: float
    #: The allowed numbers of a closed field; empty for any.
    choices: frozenset[float] = frozenset()
    #: Number of relevant letters of a text; None for all.
    letters: int | None = None


def _field_bounds(field: Field, max_value: float, letters: int | None) -> _FieldBounds:
    limit = min(max_value, _MAX_EXACT_INT if field.kind is FieldKind.INTEGER else _MAX_VALUES["float64"])
    low = -limit if field.minimum is None else max(field.minimum, -limit)
    numeric = field.restrict_to_categories and field.kind in (FieldKind.NUMBER, FieldKind.INTEGER)
    return _FieldBounds(
        field=field,
        low=low,
        high=limit if field.maximum is None else min(field.maximum, limit),
        choices=frozenset(float(text) for text in field.categories) if numeric else frozenset(),
        letters=letters,
    )


def _type_error(field: Field, value: object) -> FieldTypeError:
    expected = _UNQUOTED[field.kind] if _is_quoted_literal(field.kind, value) else _EXPECTED[field.kind]
    return FieldTypeError(field=field.name, expected=expected, got=_TYPE_NAMES.get(type(value), "another type"))


def _is_quoted_literal(kind: FieldKind, value: object) -> bool:
    """Whether the value is a text that would be valid without its quotes."""
    if type(value) is not str or kind is FieldKind.CATEGORY:
        return False
    text = value[:_MAX_NAME_LENGTH].strip()
    return text in ("true", "false") if kind is FieldKind.BOOLEAN else _NUMBER_TEXT.fullmatch(text) is not None


def _check_number(bounds: _FieldBounds, value: object) -> float:
    if type(value) is not float and type(value) is not int:
        raise _type_error(bounds.field, value)
    # NaN and infinity are in no range either; Python compares integers of any length exactly.
    if not bounds.low <= value <= bounds.high:
        raise _range_error(bounds, value)
    _check_choice(bounds, value)
    return float(value)


def _check_choice(bounds: _FieldBounds, value: float) -> None:
    if bounds.choices and value not in bounds.choices:
        raise UnknownCategoryError(field=bounds.field.name, choices=", ".join(bounds.field.categories[:_MAX_CHOICES_SHOWN]))


def _check_integer(bounds: _FieldBounds, value: object) -> float:
    whole = int(value) if type(value) is float and value.is_integer() else value
    if type(whole) is not int:
        raise _type_error(bounds.field, value)
    if not bounds.low <= whole <= bounds.high:
        raise _range_error(bounds, whole)
    _check_choice(bounds, whole)
    return whole


def _range_error(bounds: _FieldBounds, value: float) -> FieldRangeError:
    name, minimum, maximum = bounds.field.name, bounds.field.minimum, bounds.field.maximum
    if maximum is None and minimum is not None and value < bounds.low:
        return FieldTooSmallError(field=name, minimum=_format_number(bounds.low))
    if minimum is None and maximum is not None and value > bounds.high:
        return FieldTooLargeError(field=name, maximum=_format_number(bounds.high))
    return FieldRangeError(field=name, minimum=_format_number(bounds.low), maximum=_format_number(bounds.high))


def _format_number(number: float) -> str:
    return f"{number:.12g}"


def _check_category(bounds: _FieldBounds, value: object) -> str:
    field = bounds.field
    if type(value) is not str:
        raise _type_error(field, value)
    if field.restrict_to_categories and value not in field.categories:
        raise UnknownCategoryError(field=field.name, choices=", ".join(field.categories[:_MAX_CHOICES_SHOWN]))
    return value[: bounds.letters]


def _check_boolean(bounds: _FieldBounds, value: object) -> bool:
    if type(value) is not bool:
        raise _type_error(bounds.field, value)
    return value


_CHECKS: dict[FieldKind, Callable[[_FieldBounds, object], Value]] = {
    FieldKind.NUMBER: _check_number,
    FieldKind.INTEGER: _check_integer,
    FieldKind.CATEGORY: _check_category,
    FieldKind.BOOLEAN: _check_boolean,
}


def _check_number_or_bool(bounds: _FieldBounds, value: object) -> float:
    return _check_number(bounds, float(value) if type(value) is bool else value)


def _check_integer_or_bool(bounds: _FieldBounds, value: object) -> float:
    return _check_integer(bounds, int(value) if type(value) is bool else value)


def _check_category_or_bool(bounds: _FieldBounds, value: object) -> str | None:
    return None if type(value) is bool else _check_category(bounds, value)


def _check_bool_or_number(bounds: _FieldBounds, value: object) -> bool | float:
    return _check_number(bounds, value) if type(value) is int or type(value) is float else _check_boolean(bounds, value)


#: Booleans as DictVectorizer encodes them: as numbers, which are not a category.
_LENIENT: dict[FieldKind, Callable[[_FieldBounds, object], Value]] = {
    FieldKind.NUMBER: _check_number_or_bool,
    FieldKind.INTEGER: _check_integer_or_bool,
    FieldKind.CATEGORY: _check_category_or_bool,
    FieldKind.BOOLEAN: _check_bool_or_number,
}


class _MatrixEncoder:
    """Encodes rows as one float matrix (n, columns)."""

    def __init__(self, steps: MatrixSteps, positions: Mapping[str, int]) -> None:
        self._input = steps.input
        self._dtype = np.dtype(steps.dtype)
        self._absent = 0.0 if steps.missing == "zero" else math.nan
        self._fill = math.nan if steps.missing == "sparse" else 0.0
        self._width = len(steps.columns)
        self._numeric = [(column, positions[c.field]) for column, c in enumerate(steps.columns) if c.equals is None]
        one_hot: dict[int, dict[Value, int]] = {}
        for column, c in enumerate(steps.columns):
            if c.equals is not None:
                one_hot.setdefault(positions[c.field], {})[c.equals] = column
        self._one_hot = list(one_hot.items())

    def __call__(self, rows: Sequence[tuple[Value, ...]]) -> dict[str, NDArray[Any]]:
        matrix = np.full((len(rows), self._width), self._fill, dtype=self._dtype)
        for column, position in self._numeric:
            matrix[:, column] = [self._absent if row[position] is None else row[position] for row in rows]
        for position, columns in self._one_hot:
            column_of = columns.get
            for index, row in enumerate(rows):
                one_hot = column_of(row[position])
                if one_hot is not None:
                    matrix[index, one_hot] = 1.0
        return {self._input: matrix}


class _ColumnEncoder:
    """Encodes rows as one tensor (n, 1) per field."""

    def __init__(self, steps: ColumnSteps, positions: Mapping[str, int]) -> None:
        self._columns = [(c.input, c.dtype, positions[c.field]) for c in steps.columns]

    def __call__(self, rows: Sequence[tuple[Value, ...]]) -> dict[str, NDArray[Any]]:
        return {name: _column([row[position] for row in rows], dtype) for name, dtype, position in self._columns}


def _column(values: list[Value], dtype: str) -> NDArray[Any]:
    if dtype == "string":
        return np.array([["" if value is None else str(value)] for value in values], dtype=object)
    missing = 0 if dtype == "int64" else math.nan
    return np.array([[missing if value is None else value] for value in values], dtype=dtype)
