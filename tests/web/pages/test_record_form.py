"""Record signatures as forms, and forms as records."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.web_app import CHURN

from relevo.domain.signature import Field, FieldKind, RecordInput
from relevo.errors import FieldTypeError
from relevo.i18n.catalog import sentence
from relevo.web.pages import record_form

FIELDS = (
    Field(name="whole", kind=FieldKind.INTEGER),
    Field(name="real", kind=FieldKind.NUMBER),
    Field(name="truth", kind=FieldKind.BOOLEAN),
    Field(name="kind", kind=FieldKind.CATEGORY, categories=("a", "b")),
)
RECORD = RecordInput(fields=FIELDS)


@given(st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.sampled_from(["a", "b"]))
def test_what_a_form_shows_is_read_back(whole: int, real: float, truth: bool, kind: str) -> None:  # noqa: FBT001 - a drawn value
    """A record shown in a form and submitted again is the same record."""
    record = {"whole": whole, "real": real, "truth": truth, "kind": kind}
    texts = {entry.name: entry.value for entry in record_form.form_fields(RECORD, record)}
    assert record_form.parse_form(RECORD, texts, language="en") == record


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("41", 41),
        (" 41 ", 41),
        ("4.5", 4.5),
        ("1e3", 1000.0),
        ("many", "many"),
        ("Pamplona, ES", "Pamplona, ES"),
        ("1_234", "1_234"),
        ("٣", "٣"),
    ],
)
def test_numbers_are_read_as_people_write_them(text: str, value: object) -> None:
    """Invalid numbers stay text, so that validation names the field."""
    assert record_form.parse_form(RECORD, {"real": text}, language="en") == {"real": value}


@pytest.mark.parametrize(("text", "value"), [("1,234", 1.234), ("-4,5", -4.5), ("1.234", 1.234), (",5", 0.5), ("1,5e3", 1500.0)])
def test_a_decimal_comma_is_one_where_the_language_says_so(text: str, value: float) -> None:
    """In Spanish a comma is a decimal comma, with a remark; in English it is ambiguous and rejected."""
    read = record_form.parse_form(RECORD, {"real": text, "kind": "a"}, language="es")
    assert read == {"real": value, "kind": "a"}
    told = [str(one) for one in record_form.decimal_comma_remarks({"real": text, "kind": "a"}, read)]
    assert told == ([f"A comma was read as the decimal sign: real = {read['real']:g}."] if "," in text else [])
    if "," in text:
        with pytest.raises(FieldTypeError, match="'real' expects a number with a decimal point"):
            record_form.parse_form(RECORD, {"real": text}, language="en")


_ASKED = {
    "en": "The field 'whole' expects a number with a decimal point, but a number with a comma came.",
    "es": "El campo 'whole' espera un número con coma decimal y sin separadores de millares, "
    "pero ha llegado un número con varias comas o puntos.",
}


@pytest.mark.parametrize("language", ["en", "es"])
@pytest.mark.parametrize("text", ["1,234,567", "1.234,5", "1,000.5", "1,,5"])
def test_a_number_with_both_signs_is_refused(text: str, language: str) -> None:
    """Numbers with points and commas are rejected, with the format of the language in the message."""
    with pytest.raises(FieldTypeError) as caught:
        record_form.parse_form(RECORD, {"whole": text}, language=language)
    assert caught.value.field == "whole"
    assert sentence(caught.value, language) == _ASKED[language]


@pytest.mark.parametrize(
    ("name", "words", "broad"),
    [
        ("tenure", ["tenure"], False),
        ("monthly_charges", ["monthly_", "charges"], False),
        ("MonthlyCharges", ["Monthly", "Charges"], False),
        ("HTTPServer", ["HTTPServer"], False),
        ("total-sulfur dioxide", ["total-", "sulfur ", "dioxide"], False),
        ("averagemonthlydownload", ["averagemonthlydownload"], True),
    ],
)
def test_a_long_name_breaks_between_its_words(name: str, words: list[str], broad: bool) -> None:  # noqa: FBT001 - a drawn value
    """Names break between words; a word too long for a column gets two columns."""
    entry = record_form.form_fields(RecordInput(fields=(Field(name=name, kind=FieldKind.NUMBER),)))[0]
    assert entry.words == words
    assert entry.is_wide is broad


def test_blanks_are_absent_fields() -> None:
    """A blank field is omitted."""
    assert record_form.parse_form(RECORD, {"whole": "", "kind": "  ", "truth": "on"}, language="en") == {"truth": True}


def test_a_field_nobody_knows_is_passed_on() -> None:
    """Unknown fields are passed to validation."""
    assert record_form.parse_form(RECORD, {"other": "1"}, language="en") == {"other": "1"}


def test_examples_are_plain_and_optional_fields_stay_blank() -> None:
    """Each required field has a valid example; an optional one only the signature's."""
    assert isinstance(CHURN.input, RecordInput)
    filled = {entry.name: entry.value for entry in record_form.form_fields(CHURN.input, fill=True)}
    assert filled == {
        "tenure": "41",
        "monthlycharges": "79.85",
        "contract": "month-to-month",
        "city": "Pamplona",
        "paperless": "false",
        "text": "",
    }


def test_an_unlisted_value_of_an_open_list_is_shown_again() -> None:
    """A category outside an open list stays in the form."""
    entry = next(entry for entry in record_form.form_fields(RECORD, {"kind": "c"}) if entry.name == "kind")
    assert (entry.value, entry.choices) == ("c", ("a", "b", "c"))
