"""One JSON object to the model's tensors: every field named, checked and encoded.

    {"tenure": 41, …} ─ check ─► values in the signature's order ─ stack ─► {"input": (n, columns)} or one tensor a field

A bad field is named, with what was expected and what kind of thing came; its value is never repeated.

Where the signature says so, fields that nobody named are ignored, and required ones that are missing, null or true/false count as
a DictVectorizer counts them; `remarks` then says which. A name with a slip of the pen is refused all the same.
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

#: Words for what came; the message catalogues translate them.
_WORDS = {
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
#: What is expected where the text that came would be right without its quotes.
_UNQUOTED = {
    FieldKind.NUMBER: "a number without quotes",
    FieldKind.INTEGER: "a whole number without quotes",
    FieldKind.BOOLEAN: "true or false without quotes",
}
_BARE = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_CHOICES_SHOWN = 20
_NAMES_SHOWN = 20
_NAME_LENGTH_SHOWN = 64
#: How alike an unknown name and a missing field's are when the one is taken for a slip of the other, 0..1.
_NEAR = 0.75
#: Letters that two names share when the one is the other's beginning or end, as "payment" of "paymentmethod".
_SHARED = 4
#: Names that are compared; a record of more fields is a bag of words, of which nobody sends all.
_COMPARED = 200
_UNKNOWN_COMPARED = 20
#: Above this a float64 no longer holds every integer.
_EXACT = 2**53
#: Largest number a tensor of each type takes; beyond it the model would be given infinity, or something made up.
_LARGEST = {"float32": float(np.finfo(np.float32).max), "float64": float(np.finfo(np.float64).max), "int64": float(_EXACT)}

Value = float | int | str | bool | None


class Remark(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What of a record was taken otherwise than it came; lives as long as a request."""

    #: English template with the hole {fields}; the message catalogues translate it.
    sentence: str
    #: The fields, in words.
    fields: str

    def __str__(self) -> str:
        """The English sentence."""
        return self.sentence.format(fields=self.fields)


_IGNORED = "Unknown fields were ignored: {fields}."
_AS_ZERO = "Fields without a value that the model knows count as 0, as in the original: {fields}."
_AS_MISSING = "Fields without a value that the model knows count as missing, as in the original: {fields}."
_AS_ONE = "In fields of numbers, true counts as 1 and false as 0: {fields}."
_AS_NUMBER = "In fields of true and false, a number counts as itself, as in the original: {fields}."


class RecordEncoder:
    """Checks and encodes the records of one signature; lives as long as its lane or opened package."""

    def __init__(self, record: RecordInput, steps: MatrixSteps | ColumnSteps) -> None:
        """Lay out once what every record needs."""
        self._record = record
        self._names = frozenset(field.name for field in record.fields)
        largest, letters = _largest(steps), _longest(steps)
        self._letters = [(field.name, _letters(field.name)) for field in record.fields]
        self._zero = record.missing == "zero"
        matrix = steps if isinstance(steps, MatrixSteps) else None
        self._sparse = matrix is not None and matrix.missing == "sparse"
        self._nan = self._zero and matrix is not None and matrix.null == "nan"
        self._strict = record.extra == "refuse" and not self._zero
        checks = _CHECKS | _LENIENT if self._zero else _CHECKS
        self._checks = [
            (field.name, _rule(field, largest.get(field.name, math.inf), letters.get(field.name)), checks[field.kind])
            for field in record.fields
        ]
        positions = {field.name: position for position, field in enumerate(record.fields)}
        self.stack: Callable[[Sequence[tuple[Value, ...]]], dict[str, NDArray[Any]]]
        self.stack = _MatrixEncoder(steps, positions) if isinstance(steps, MatrixSteps) else _ColumnEncoder(steps, positions)

    def check(self, record: Mapping[str, Any]) -> tuple[Value, ...]:
        """Values in the signature's order, None where an optional field is absent.

        Raises InvalidJsonError when it is no object, and InvalidFieldError of many kinds, naming the field.
        """
        if not isinstance(record, dict):
            raise InvalidJsonError(reason="a record must be an object of named fields")
        values = []
        seen = 0
        for name, rule, check in self._checks:
            value = record.get(name)
            if value is None and self._counts_as_nan(rule.field, record):
                seen += 1
                value = math.nan
            elif value is None:
                if rule.field.required and not self._counts_as_zero(rule.field, record):
                    # A name with a slip of the pen is both unknown and missing; the first says more.
                    self._refuse_unknown(record)
                    raise MissingFieldError(field=name, expected=_EXPECTED[rule.field.kind])
                seen += name in record
            else:
                seen += 1
                value = check(rule, value)
            values.append(value)
        if seen != len(record):
            self._refuse_unknown(record)
        return tuple(values)

    def remarks(self, record: Mapping[str, Any]) -> tuple[Remark, ...]:
        """What of a record that `check` let through was ignored, or counted otherwise than it came."""
        if self._strict:
            return ()
        unknown = [name for name in record if name not in self._names]
        zero: list[str] = []
        absent: list[str] = []
        one: list[str] = []
        number: list[str] = []
        for field in self._record.fields if self._zero else ():
            value = record.get(field.name)
            if value is None and self._counts_as_nan(field, record):
                absent.append(field.name)
            elif (value is None and field.required) or (type(value) is bool and field.kind is FieldKind.CATEGORY):
                (absent if self._sparse else zero).append(field.name)
            elif type(value) is bool and field.kind is not FieldKind.BOOLEAN:
                one.append(field.name)
            elif field.kind is FieldKind.BOOLEAN and value is not None and type(value) is not bool:
                number.append(field.name)
        told = ((_IGNORED, unknown), (_AS_ZERO, zero), (_AS_MISSING, absent), (_AS_ONE, one), (_AS_NUMBER, number))
        return tuple(Remark(sentence=sentence, fields=_listed(names)) for sentence, names in told if names)

    def _counts_as_nan(self, field: Field, record: Mapping[str, Any]) -> bool:
        """Whether a null stands where a number does, and the model knows NaN, which DictVectorizer makes of it."""
        return self._nan and field.kind is not FieldKind.CATEGORY and field.name in record

    def _counts_as_zero(self, field: Field, record: Mapping[str, Any]) -> bool:
        """Whether a required field without a value is let through.

        DictVectorizer makes NaN of a null where a number stands, which its model refuses; of a null in place of a text, nothing. A
        record of other fields only is another thing in a record's place; one of no fields at all is what it is.
        """
        if not self._zero or (field.name in record and field.kind is not FieldKind.CATEGORY):
            return False
        return not record or any(name in self._names for name in record)

    def _refuse_unknown(self, record: Mapping[str, Any]) -> None:
        unknown = [name for name in record if name not in self._names]
        if not unknown:
            return
        if self._record.extra == "refuse":
            near = difflib.get_close_matches(unknown[0][:_NAME_LENGTH_SHOWN], self._names, n=1, cutoff=0.0)
            raise UnknownFieldError(field=unknown[0][:_NAME_LENGTH_SHOWN], nearest=near[0] if near else "")
        if len(self._names) > _COMPARED:
            return
        missing = [(name, letters) for name, letters in self._letters if record.get(name) is None]
        for name in unknown[:_UNKNOWN_COMPARED] if missing else ():
            meant = _meant(name[:_NAME_LENGTH_SHOWN], missing)
            if meant is not None:
                raise UnknownFieldError(field=name[:_NAME_LENGTH_SHOWN], nearest=meant)


def _meant(unknown: str, missing: Sequence[tuple[str, str]]) -> str | None:
    """The missing field that an unknown name nearly is. missing: names and their letters."""
    letters = _letters(unknown)
    matcher = difflib.SequenceMatcher(a="", b=letters, autojunk=False)
    for name, other in missing:
        short, long = (letters, other) if len(letters) < len(other) else (other, letters)
        if letters == other or (len(short) >= _SHARED and (long.startswith(short) or long.endswith(short))):
            return name
        # What is shared is at most the shorter one: most pairs are told apart by their lengths.
        if 2 * len(short) < _NEAR * (len(short) + len(long)):
            continue
        matcher.set_seq1(other)
        if matcher.quick_ratio() >= _NEAR and matcher.ratio() >= _NEAR:
            return name
    return None


def _letters(name: str) -> str:
    """A name as it sounds: without cases and what stands between its words."""
    return "".join(sign for sign in name.casefold() if sign.isalnum())


def _listed(names: Sequence[str]) -> str:
    shown = [escape_control(name[:_NAME_LENGTH_SHOWN]) for name in names[:_NAMES_SHOWN]]
    return ", ".join(shown) + (", …" if len(names) > _NAMES_SHOWN else "")


def _largest(steps: MatrixSteps | ColumnSteps) -> dict[str, float]:
    """By field, the largest number that its tensors take; a text takes any."""
    if isinstance(steps, MatrixSteps):
        return {column.field: _LARGEST[steps.dtype] for column in steps.columns if column.equals is None}
    largest: dict[str, float] = {}
    for column in steps.columns:
        if column.dtype != "string":
            largest[column.field] = min(_LARGEST[column.dtype], largest.get(column.field, math.inf))
    return largest


def _longest(steps: MatrixSteps | ColumnSteps) -> dict[str, int]:
    """By field, after how many letters a text is none that a column stands for: the rest of it need not be kept."""
    longest: dict[str, int] = {}
    for column in steps.columns if isinstance(steps, MatrixSteps) else ():
        if isinstance(column.equals, str):
            longest[column.field] = max(len(column.equals) + 1, longest.get(column.field, 0))
    return longest


@dataclass(frozen=True, slots=True, kw_only=True)
class _FieldBounds:
    """One field and the numbers it takes, both ends included; lives as long as its encoder."""

    field: Field
    low: float
    high: float
    #: The numbers of a closed field; empty for any.
    choices: frozenset[float] = frozenset()
    #: Letters of a text that matter; None for all.
    letters: int | None = None


def _rule(field: Field, largest: float, letters: int | None) -> _FieldBounds:
    most = min(largest, _EXACT if field.kind is FieldKind.INTEGER else _LARGEST["float64"])
    low = -most if field.minimum is None else max(field.minimum, -most)
    numeric = field.closed and field.kind in (FieldKind.NUMBER, FieldKind.INTEGER)
    return _FieldBounds(
        field=field,
        low=low,
        high=most if field.maximum is None else min(field.maximum, most),
        choices=frozenset(float(text) for text in field.categories) if numeric else frozenset(),
        letters=letters,
    )


def _wrong(field: Field, value: object) -> FieldTypeError:
    expected = _UNQUOTED[field.kind] if _is_quoted(field.kind, value) else _EXPECTED[field.kind]
    return FieldTypeError(field=field.name, expected=expected, got=_WORDS.get(type(value), "another type"))


def _is_quoted(kind: FieldKind, value: object) -> bool:
    """Whether a text came for what would be right without its quotes."""
    if type(value) is not str or kind is FieldKind.CATEGORY:
        return False
    text = value[:_NAME_LENGTH_SHOWN].strip()
    return text in ("true", "false") if kind is FieldKind.BOOLEAN else _BARE.fullmatch(text) is not None


def _number(rule: _FieldBounds, value: object) -> float:
    if type(value) is not float and type(value) is not int:
        raise _wrong(rule.field, value)
    # NaN and infinity lie in no range either; Python compares a whole number of any length exactly.
    if not rule.low <= value <= rule.high:
        raise _out_of_range(rule, value)
    _refuse_other_number(rule, value)
    return float(value)


def _refuse_other_number(rule: _FieldBounds, value: float) -> None:
    if rule.choices and value not in rule.choices:
        raise UnknownCategoryError(field=rule.field.name, choices=", ".join(rule.field.categories[:_CHOICES_SHOWN]))


def _integer(rule: _FieldBounds, value: object) -> float:
    whole = int(value) if type(value) is float and value.is_integer() else value
    if type(whole) is not int:
        raise _wrong(rule.field, value)
    if not rule.low <= whole <= rule.high:
        raise _out_of_range(rule, whole)
    _refuse_other_number(rule, whole)
    return whole


def _out_of_range(rule: _FieldBounds, value: float) -> FieldRangeError:
    name, minimum, maximum = rule.field.name, rule.field.minimum, rule.field.maximum
    if maximum is None and minimum is not None and value < rule.low:
        return FieldTooSmallError(field=name, minimum=_plain(rule.low))
    if minimum is None and maximum is not None and value > rule.high:
        return FieldTooLargeError(field=name, maximum=_plain(rule.high))
    return FieldRangeError(field=name, minimum=_plain(rule.low), maximum=_plain(rule.high))


def _plain(number: float) -> str:
    return f"{number:.12g}"


def _category(rule: _FieldBounds, value: object) -> str:
    field = rule.field
    if type(value) is not str:
        raise _wrong(field, value)
    if field.closed and value not in field.categories:
        raise UnknownCategoryError(field=field.name, choices=", ".join(field.categories[:_CHOICES_SHOWN]))
    return value[: rule.letters]


def _boolean(rule: _FieldBounds, value: object) -> bool:
    if type(value) is not bool:
        raise _wrong(rule.field, value)
    return value


_CHECKS: dict[FieldKind, Callable[[_FieldBounds, object], Value]] = {
    FieldKind.NUMBER: _number,
    FieldKind.INTEGER: _integer,
    FieldKind.CATEGORY: _category,
    FieldKind.BOOLEAN: _boolean,
}


def _number_or_truth(rule: _FieldBounds, value: object) -> float:
    return _number(rule, float(value) if type(value) is bool else value)


def _integer_or_truth(rule: _FieldBounds, value: object) -> float:
    return _integer(rule, int(value) if type(value) is bool else value)


def _category_or_truth(rule: _FieldBounds, value: object) -> str | None:
    return None if type(value) is bool else _category(rule, value)


def _truth_or_number(rule: _FieldBounds, value: object) -> bool | float:
    return _number(rule, value) if type(value) is int or type(value) is float else _boolean(rule, value)


#: As DictVectorizer takes true and false: as numbers, which no category is.
_LENIENT: dict[FieldKind, Callable[[_FieldBounds, object], Value]] = {
    FieldKind.NUMBER: _number_or_truth,
    FieldKind.INTEGER: _integer_or_truth,
    FieldKind.CATEGORY: _category_or_truth,
    FieldKind.BOOLEAN: _truth_or_number,
}


class _MatrixEncoder:
    """Encodes rows as one float matrix (n, columns)."""

    def __init__(self, steps: MatrixSteps, positions: Mapping[str, int]) -> None:
        self._input = steps.input
        self._dtype = np.dtype(steps.dtype)
        self._empty = 0.0 if steps.missing == "zero" else math.nan
        self._cold = math.nan if steps.missing == "sparse" else 0.0
        self._width = len(steps.columns)
        plain = [(column, positions[c.field]) for column, c in enumerate(steps.columns) if c.equals is None]
        self._plain = plain
        hot: dict[int, dict[Value, int]] = {}
        for column, c in enumerate(steps.columns):
            if c.equals is not None:
                hot.setdefault(positions[c.field], {})[c.equals] = column
        self._hot = list(hot.items())

    def __call__(self, rows: Sequence[tuple[Value, ...]]) -> dict[str, NDArray[Any]]:
        matrix = np.full((len(rows), self._width), self._cold, dtype=self._dtype)
        for column, position in self._plain:
            matrix[:, column] = [self._empty if row[position] is None else row[position] for row in rows]
        for position, columns in self._hot:
            find = columns.get
            for index, row in enumerate(rows):
                hot = find(row[position])
                if hot is not None:
                    matrix[index, hot] = 1.0
        return {self._input: matrix}


class _ColumnEncoder:
    """Encodes rows as one tensor (n, 1) a field."""

    def __init__(self, steps: ColumnSteps, positions: Mapping[str, int]) -> None:
        self._columns = [(c.input, c.dtype, positions[c.field]) for c in steps.columns]

    def __call__(self, rows: Sequence[tuple[Value, ...]]) -> dict[str, NDArray[Any]]:
        return {name: _column([row[position] for row in rows], dtype) for name, dtype, position in self._columns}


def _column(values: list[Value], dtype: str) -> NDArray[Any]:
    if dtype == "string":
        return np.array([["" if value is None else str(value)] for value in values], dtype=object)
    absent = 0 if dtype == "int64" else math.nan
    return np.array([[absent if value is None else value] for value in values], dtype=dtype)
