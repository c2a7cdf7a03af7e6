"""Signatures: strict parsing, and unchanged examples and defaults."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from relevo.domain.signature import Field, FieldKind, ImageInput, Input, Output, RecordInput, Task


def read(plain: dict[str, Any]) -> Input:
    return msgspec.convert(plain, Input)  # type: ignore[no-any-return]  # a union of the two


def test_an_input_is_an_image_or_a_record() -> None:
    """`type` selects the kind of input; any other value is rejected."""
    assert read({"type": "image", "width": 8, "height": 9}) == ImageInput(width=8, height=9, mode="RGB")
    record = read({"type": "record", "fields": [{"name": "a", "kind": "number"}]})
    assert record == RecordInput(fields=(Field(name="a", kind=FieldKind.NUMBER),))
    for wrong in ({"type": "sound"}, {"width": 8, "height": 9}, {"type": "image", "width": 8}):
        with pytest.raises(msgspec.ValidationError):
            read(wrong)


def test_a_field_is_required_and_open_unless_told() -> None:
    """Defaults of a field: required, any category, no range, no unit; unknown fields are rejected."""
    field = Field(name="a", kind=FieldKind.CATEGORY)
    assert (field.required, field.restrict_to_categories, field.categories, field.minimum, field.maximum, field.unit) == (
        True,
        False,
        (),
        None,
        None,
        "",
    )
    assert RecordInput(fields=(field,)).unknown_fields == "refuse"


@pytest.mark.parametrize("example", [3, 3.5, "year", True, None])
def test_an_example_keeps_its_type(example: Any) -> None:
    """Integers and booleans keep their type through JSON."""
    field = Field(name="a", kind=FieldKind.NUMBER, example=example)
    decoded = msgspec.json.decode(msgspec.json.encode(field), type=Field).example
    assert (decoded, type(decoded)) == (example, type(example))


_FIELD = {"name": "a", "kind": "number"}


@pytest.mark.parametrize(
    ("plain", "kind"),
    [
        ({"type": "image", "width": 8, "height": 8, "mode": "CMYK"}, Input),
        ({"type": "record", "fields": [{**_FIELD, "kind": "colour"}]}, Input),
        ({"type": "record", "fields": [_FIELD], "extra": "maybe"}, Input),
        ({"name": "y", "activation": "magic"}, Output),
        ({"name": "y", "task": "magic"}, Output),
    ],
)
def test_words_outside_the_lists_are_refused(plain: dict[str, Any], kind: Any) -> None:
    """Modes, kinds, activations and tasks are closed lists."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(plain, kind)


def test_an_output_is_a_classification_unless_told() -> None:
    """The default output is a classification whose scores are probabilities."""
    assert (Output(name="y").task, Output(name="y").activation) == (Task.CLASSIFICATION, "none")
