"""Translates a record signature into an HTML form, and form values into a record.

Field ─ form_fields ─► FormField (drawn by the template) ─ browser ─► {"tenure": "41"} ─ parse_form ─► {"tenure": 41}
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from relevo.domain.signature import Field, FieldKind, RecordInput
from relevo.errors import FieldTypeError
from relevo.runtime.record_encoder import Remark

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Up to this many categories are a select list; more, or none, are a text field with suggestions.
_MAX_LISTED_CHOICES = 15

#: Bold characters that fit into the narrowest form column.
_COLUMN_CHARS = 20
_WORDS = re.compile(r"[A-Z]*[^_\-. A-Z]*[_\-. ]*|[A-Z]+")

#: Languages that use a decimal comma.
_DECIMAL_COMMA = frozenset({"es"})
_NUMERIC = re.compile(r"[+-]?[\d.,]+([eE][+-]?\d+)?")
_NAME_LENGTH_SHOWN = 64
_COMMA = "A comma was read as the decimal sign: {fields}."

Widget = Literal["number", "choice", "typed", "yesno"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FormField:
    """One control of the form. Lifetime: the rendering of a page."""

    name: str
    widget: Widget
    required: bool
    unit: str
    minimum: str  # "" for none
    maximum: str
    step: str  # "1" or "any"
    choices: tuple[str, ...]
    example: str
    value: str

    @property
    def words(self) -> list[str]:
        """The name split where a line may break: after "_", "-" and ".", and before a capital."""
        return [word for word in _WORDS.findall(self.name) if word] or [self.name]

    @property
    def is_wide(self) -> bool:
        """Whether a word of the name is too long for one column."""
        return max(map(len, self.words)) > _COLUMN_CHARS


def form_fields(record: RecordInput, values: Mapping[str, Any] | None = None, *, fill: bool = False) -> list[FormField]:
    """The controls in the order of the signature. values: a record to show again; fill: use the examples as values."""
    return [
        _form_field(field, _format((values or {}).get(field.name)) or (example_of(field) if fill else ""))
        for field in record.fields
    ]


def _form_field(field: Field, value: str) -> FormField:
    widget = _widget(field)
    choices = field.categories
    if widget == "choice" and value and value not in choices:
        choices = (*choices, value)
    return FormField(
        name=field.name,
        widget=widget,
        required=field.required,
        unit=field.unit,
        minimum=_format(field.minimum),
        maximum=_format(field.maximum),
        step="1" if field.kind is FieldKind.INTEGER else "any",
        choices=choices,
        example=example_of(field),
        value=value,
    )


def _widget(field: Field) -> Widget:
    if field.kind is FieldKind.BOOLEAN:
        return "yesno"
    if field.kind is FieldKind.CATEGORY:
        return "choice" if field.restrict_to_categories or 1 <= len(field.categories) <= _MAX_LISTED_CHOICES else "typed"
    return "number"


def example_of(field: Field) -> str:
    """The signature's example as form text; without one, a plausible value for a required field and "" for an optional one."""
    if field.example is not None or not field.required:
        return _format(field.example)
    if field.kind is FieldKind.CATEGORY:
        return field.categories[0] if field.categories else ""
    if field.kind is FieldKind.BOOLEAN:
        return "true"
    return _format(_midpoint(field))


def _midpoint(field: Field) -> float:
    low, high = field.minimum, field.maximum
    if low is None or high is None:
        return next((bound for bound in (low, high) if bound is not None), 0.0)
    midpoint = (low + high) / 2
    return float(round(midpoint)) if field.kind is FieldKind.INTEGER else midpoint


def _format(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    return str(value)


def parse_form(record: RecordInput, form: Mapping[str, str], *, language: str) -> dict[str, Any]:
    """The record of a form's values. Blank values are omitted; invalid numbers stay text, so that validation names the field.

    language: of the form; decides what a comma in a number means. Raises FieldTypeError for ambiguous numbers.
    """
    kinds = {field.name: field.kind for field in record.fields}
    texts = {name: text.strip() for name, text in form.items()}
    return {name: _parse_value(name, kinds.get(name), text, language) for name, text in texts.items() if text}


def decimal_comma_remarks(form: Mapping[str, str], record: Mapping[str, Any]) -> tuple[Remark, ...]:
    """A remark that lists the numbers that were read with a decimal comma."""
    numbers = [
        f"{name} = {_format(record[name])}" for name, text in form.items() if "," in text and isinstance(record.get(name), float)
    ]
    return (Remark(sentence=_COMMA, fields=", ".join(numbers)),) if numbers else ()


def _parse_value(name: str, kind: FieldKind | None, text: str, language: str) -> Any:
    if kind is FieldKind.BOOLEAN:
        return {"true": True, "on": True, "false": False}.get(text, text)
    if kind in (FieldKind.NUMBER, FieldKind.INTEGER):
        return _parse_number(_decimal_point(name, text, language))
    return text


def _decimal_point(name: str, text: str, language: str) -> str:
    """A number with a decimal point. In English a comma is ambiguous (1,234), so it is rejected."""
    if "," not in text or not _NUMERIC.fullmatch(text):
        return text
    if language not in _DECIMAL_COMMA:
        raise FieldTypeError(field=name[:_NAME_LENGTH_SHOWN], expected="a number with a decimal point", got="a number with a comma")
    if text.count(",") > 1 or "." in text:
        raise FieldTypeError(
            field=name[:_NAME_LENGTH_SHOWN],
            expected="a number with a decimal comma and no thousands separators",
            got="a number with several commas or points",
        )
    return text.replace(",", ".")


def _parse_number(text: str) -> int | float | str:
    if "_" in text or not text.isascii():
        return text  # Python accepts 1_234 and digits of other scripts; these are probably no numbers
    for convert in (int, float):
        try:
            return convert(text)
        except ValueError:
            continue
    return text
