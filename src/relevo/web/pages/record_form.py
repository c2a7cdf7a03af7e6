"""A record's signature as a form, and the form as a record: two directions of one translation, side by side.

Field ─ entry ─► Entry (what the template draws) ─ browser ─► {"tenure": "41"} ─ record_from ─► {"tenure": 41}
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

#: Up to this many categories are a list to choose from; more, or none, are typed with suggestions.
_CHOICES_LISTED = 15

#: Letters that a column of the form holds in bold, at its narrowest.
_COLUMN = 20
_WORDS = re.compile(r"[A-Z]*[^_\-. A-Z]*[_\-. ]*|[A-Z]+")

#: Languages in whose numbers a comma stands before the decimals.
_DECIMAL_COMMA = frozenset({"es"})
_NUMERIC = re.compile(r"[+-]?[\d.,]+([eE][+-]?\d+)?")
_NAME_LENGTH_SHOWN = 64
_COMMA = "A comma was read as the decimal sign: {fields}."

Widget = Literal["number", "choice", "typed", "yesno"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FormField:
    """One control of the form; lives as long as a page is made."""

    name: str
    widget: Widget
    required: bool
    unit: str
    minimum: str  # "" where there is none
    maximum: str
    step: str  # "1" or "any"
    choices: tuple[str, ...]
    example: str
    value: str

    @property
    def words(self) -> list[str]:
        """The name in pieces between which a line may break: after "_", "-" and ".", and before a capital."""
        return [word for word in _WORDS.findall(self.name) if word] or [self.name]

    @property
    def broad(self) -> bool:
        """Whether a word of the name is too long for one column."""
        return max(map(len, self.words)) > _COLUMN


def form_fields(record: RecordInput, values: Mapping[str, Any] | None = None, *, fill: bool = False) -> list[FormField]:
    """The controls in the signature's order. values: a record to show again; fill: show the examples as values."""
    return [
        _entry(field, _written((values or {}).get(field.name)) or (example_of(field) if fill else "")) for field in record.fields
    ]


def _entry(field: Field, value: str) -> FormField:
    widget = _widget(field)
    choices = field.categories
    if widget == "choice" and value and value not in choices:
        choices = (*choices, value)
    return FormField(
        name=field.name,
        widget=widget,
        required=field.required,
        unit=field.unit,
        minimum=_written(field.minimum),
        maximum=_written(field.maximum),
        step="1" if field.kind is FieldKind.INTEGER else "any",
        choices=choices,
        example=example_of(field),
        value=value,
    )


def _widget(field: Field) -> Widget:
    if field.kind is FieldKind.BOOLEAN:
        return "yesno"
    if field.kind is FieldKind.CATEGORY:
        return "choice" if field.closed or 1 <= len(field.categories) <= _CHOICES_LISTED else "typed"
    return "number"


def example_of(field: Field) -> str:
    """The signature's example as a form would hold it; without one a required field gets a plain value, another none."""
    if field.example is not None or not field.required:
        return _written(field.example)
    if field.kind is FieldKind.CATEGORY:
        return field.categories[0] if field.categories else ""
    if field.kind is FieldKind.BOOLEAN:
        return "true"
    return _written(_middle(field))


def _middle(field: Field) -> float:
    low, high = field.minimum, field.maximum
    if low is None or high is None:
        return next((bound for bound in (low, high) if bound is not None), 0.0)
    middle = (low + high) / 2
    return float(round(middle)) if field.kind is FieldKind.INTEGER else middle


def _written(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    return str(value)


def parse_form(record: RecordInput, sent: Mapping[str, str], *, language: str) -> dict[str, Any]:
    """The record that a form's texts stand for. A blank is an absent field; what is no number stays text, to be refused by name.

    language: the form's, which says what a comma in a number is. Raises FieldTypeError where it does not.
    """
    kinds = {field.name: field.kind for field in record.fields}
    texts = {name: text.strip() for name, text in sent.items()}
    return {name: _read(name, kinds.get(name), text, language) for name, text in texts.items() if text}


def commas_in(sent: Mapping[str, str], read: Mapping[str, Any]) -> tuple[Remark, ...]:
    """The numbers that were written with a decimal comma, as they were read."""
    numbers = [
        f"{name} = {_written(read[name])}" for name, text in sent.items() if "," in text and isinstance(read.get(name), float)
    ]
    return (Remark(sentence=_COMMA, fields=", ".join(numbers)),) if numbers else ()


def _read(name: str, kind: FieldKind | None, text: str, language: str) -> Any:
    if kind is FieldKind.BOOLEAN:
        return {"true": True, "on": True, "false": False}.get(text, text)
    if kind in (FieldKind.NUMBER, FieldKind.INTEGER):
        return _number(_with_point(name, text, language))
    return text


def _with_point(name: str, text: str, language: str) -> str:
    """A number as programs write it. In English 1,234 may be a thousand and more or little more than one, so it is asked about."""
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


def _number(text: str) -> int | float | str:
    if "_" in text or not text.isascii():
        return text  # Python reads 1_234 and digits of other scripts, people may mean something else
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return text
