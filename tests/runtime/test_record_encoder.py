"""Records: errors name the field, numbers are within the range of the tensor, valid records are always encoded alike."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.domain.preprocessing import Column, ColumnInput, ColumnSteps, MatrixSteps
from relevo.domain.signature import Field, FieldKind, RecordInput
from relevo.errors import (
    FieldRangeError,
    FieldTooLargeError,
    FieldTooSmallError,
    FieldTypeError,
    InvalidFieldError,
    InvalidJsonError,
    MissingFieldError,
    UnknownCategoryError,
    UnknownFieldError,
)
from relevo.i18n.catalog import sentence
from relevo.runtime.record_encoder import RecordEncoder

TENURE = Field(name="tenure", kind=FieldKind.INTEGER, minimum=0, maximum=120)
CHARGE = Field(name="charge", kind=FieldKind.NUMBER, minimum=0)
BALANCE = Field(name="balance", kind=FieldKind.NUMBER, maximum=1000, required=False)
CONTRACT = Field(name="contract", kind=FieldKind.CATEGORY, categories=("month", "year"), restrict_to_categories=True)
CITY = Field(name="city", kind=FieldKind.CATEGORY, categories=("Pamplona",), required=False)
PAPERLESS = Field(name="paperless", kind=FieldKind.BOOLEAN)
FIELDS = (TENURE, CHARGE, BALANCE, CONTRACT, CITY, PAPERLESS)
COLUMNS = (
    Column(field="tenure"),
    Column(field="charge"),
    Column(field="balance"),
    Column(field="contract", equals="month"),
    Column(field="contract", equals="year"),
    Column(field="city", equals="Pamplona"),
    Column(field="paperless", equals=True),
)
GOOD: dict[str, Any] = {"tenure": 41, "charge": 79.85, "balance": -3.5, "contract": "year", "city": "Oslo", "paperless": True}


def encoder(dtype: Any = "float32", missing: Any = "zero", extra: Any = "refuse") -> RecordEncoder:
    return RecordEncoder(
        RecordInput(fields=FIELDS, unknown_fields=extra), MatrixSteps(input="x", columns=COLUMNS, dtype=dtype, missing=missing)
    )


def refusal(record: Any, within: RecordEncoder | None = None) -> InvalidFieldError:
    with pytest.raises(InvalidFieldError) as caught:
        (within or encoder()).check(record)
    return caught.value


def test_values_come_in_the_order_of_the_signature() -> None:
    """A record's values are in the signature's order, whatever the order of its keys."""
    backwards = dict(reversed(GOOD.items()))
    assert encoder().check(backwards) == (41, 79.85, -3.5, "year", "Oslo", True)


def test_the_matrix_is_what_a_dictvectorizer_would_make() -> None:
    """Numbers keep their position, a category is one-hot, one outside an open list has no column, an absent number is zero."""
    check = encoder().check
    rows = [check(GOOD), check({"tenure": 1, "charge": 2, "contract": "month", "city": "Pamplona", "paperless": False})]
    matrix = encoder().stack(rows)["x"]
    assert matrix.dtype == np.float32
    assert matrix.tolist() == [[41.0, np.float32(79.85), -3.5, 0.0, 1.0, 0.0, 1.0], [1.0, 2.0, 0.0, 1.0, 0.0, 1.0, 0.0]]


def test_an_absent_number_is_nan_where_the_model_knows_missing_values() -> None:
    """With missing = nan an absent or null number reaches the model as NaN."""
    record_encoder = encoder(missing="nan")
    for record in ({**GOOD, "balance": None}, {name: value for name, value in GOOD.items() if name != "balance"}):
        assert math.isnan(record_encoder.stack([record_encoder.check(record)])["x"][0, 2])


def test_columns_are_tensors_of_their_own_types() -> None:
    """Each field becomes one tensor (n, 1) of the type of its ONNX input."""
    steps = ColumnSteps(
        columns=(
            ColumnInput(field="tenure", input="t", dtype="int64"),
            ColumnInput(field="balance", input="b", dtype="float32"),
            ColumnInput(field="city", input="c", dtype="string"),
        )
    )
    record_encoder = RecordEncoder(RecordInput(fields=FIELDS), steps)
    feeds = record_encoder.stack([record_encoder.check(GOOD), record_encoder.check({**GOOD, "balance": None, "city": None})])
    assert feeds["t"].dtype == np.int64
    assert feeds["t"].tolist() == [[41], [41]]
    assert feeds["b"][0, 0] == np.float32(-3.5)
    assert math.isnan(feeds["b"][1, 0])
    assert feeds["c"].tolist() == [["Oslo"], [""]]


@pytest.mark.parametrize("record", [[], "text", 3, None, [GOOD]])
def test_only_an_object_is_a_record(record: Any) -> None:
    """Anything but an object is rejected before its fields are checked."""
    with pytest.raises(InvalidJsonError):
        encoder().check(record)


@pytest.mark.parametrize("name", ["tenure", "charge", "contract", "paperless"])
@pytest.mark.parametrize("absent", [True, False])
def test_a_missing_field_is_named(name: str, *, absent: bool) -> None:
    """A required field that is absent or null is rejected by name."""
    record = {key: value for key, value in GOOD.items() if key != name} if absent else {**GOOD, name: None}
    error = refusal(record)
    assert isinstance(error, MissingFieldError)
    assert error.field == name


@pytest.mark.parametrize(
    ("name", "value", "got"),
    [
        ("tenure", "41", "text"),
        ("tenure", 41.5, "a number"),
        ("tenure", True, "true or false"),
        ("charge", "79", "text"),
        ("charge", False, "true or false"),
        ("charge", [], "a list"),
        ("contract", 1, "a number"),
        ("city", {}, "an object"),
        ("paperless", 1, "a number"),
        ("paperless", "yes", "text"),
    ],
)
def test_a_value_of_another_type_is_named_and_not_repeated(name: str, value: Any, got: str) -> None:
    """A value of the wrong type is rejected with its field and its type, never with the value."""
    error = refusal({**GOOD, name: value})
    assert isinstance(error, FieldTypeError)
    assert (error.field, error.facts["got"]) == (name, got)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("tenure", "41", "a whole number without quotes"),
        ("tenure", "many", "a whole number"),
        ("charge", " -7.5e1", "a number without quotes"),
        ("charge", "7_9", "a number"),
        ("paperless", "true", "true or false without quotes"),
        ("paperless", "yes", "true or false"),
    ],
)
def test_a_quoted_number_or_boolean_is_explained(name: str, value: str, expected: str) -> None:
    """A number or boolean sent as text is rejected with a message that says how to correct it."""
    assert refusal({**GOOD, name: value}).facts["expected"] == expected


def test_an_unknown_field_is_rejected_with_the_nearest_name() -> None:
    """A misspelt optional field is rejected with the nearest name, unless extra fields are ignored."""
    error = refusal({**GOOD, "ballance": 1})
    assert isinstance(error, UnknownFieldError)
    assert error.facts["nearest"] == "balance"
    assert encoder(extra="ignore").check({**GOOD, "ballance": 1}) == encoder().check(GOOD)


def test_a_misspelt_required_field_is_reported_as_misspelt() -> None:
    """A misspelt required field is reported by that name and the nearest known one, not as missing."""
    slip = {**GOOD, "tenur": GOOD["tenure"]}
    del slip["tenure"]
    error = refusal(slip)
    assert isinstance(error, UnknownFieldError)
    assert error.facts == {"field": "tenur", "nearest": "tenure"}


def test_a_closed_list_is_closed() -> None:
    """A category outside a closed list is rejected with the list."""
    error = refusal({**GOOD, "contract": "decade"})
    assert isinstance(error, UnknownCategoryError)
    assert error.facts["choices"] == "month, year"


@pytest.mark.parametrize("value", [-1, 121, 10**400, -(10**400)])
def test_a_closed_range_tells_both_ends(value: int) -> None:
    """A number outside a range is rejected with both ends, even one too large for any float."""
    error = refusal({**GOOD, "tenure": value})
    assert type(error) is FieldRangeError
    assert str(error) == "The field 'tenure' expects a number from 0 to 120."


def test_a_range_open_above_tells_only_its_least() -> None:
    """Below a range without an upper end, the message has only the lower end, in both languages."""
    error = refusal({**GOOD, "charge": -0.5})
    assert isinstance(error, FieldTooSmallError)
    assert sentence(error, "en") == "The field 'charge' expects a number of at least 0."
    assert sentence(error, "es") == "El campo 'charge' espera un número de 0 como mínimo."


def test_a_range_open_below_tells_only_its_most() -> None:
    """Above a range without a lower end, the message has only the upper end, in both languages."""
    error = refusal({**GOOD, "balance": 1000.5})
    assert isinstance(error, FieldTooLargeError)
    assert sentence(error, "en") == "The field 'balance' expects a number of at most 1000."
    assert sentence(error, "es") == "El campo 'balance' espera un número de 1000 como máximo."


@pytest.mark.parametrize("value", [0, 120])
def test_both_ends_of_a_range_belong_to_it(value: int) -> None:
    """The ends of a range are accepted."""
    assert encoder().check({**GOOD, "tenure": value})[0] == value


@pytest.mark.parametrize("value", [1e300, 10**300, 3.5e38, math.inf, math.nan])
def test_a_number_beyond_float32_is_refused_where_the_model_takes_float32(value: float) -> None:
    """A number that would become infinity in a float32 tensor is rejected by name; a float64 model accepts finite numbers."""
    assert isinstance(refusal({**GOOD, "charge": value}), FieldRangeError)
    if math.isfinite(value):
        wide = encoder("float64")
        assert wide.stack([wide.check({**GOOD, "charge": value})])["x"][0, 1] == float(value)


def test_a_whole_number_beyond_exactness_is_refused() -> None:
    """Integers above 2 ** 53 would be rounded, so they are rejected."""
    record_encoder = RecordEncoder(
        RecordInput(fields=(Field(name="n", kind=FieldKind.INTEGER),)),
        MatrixSteps(input="x", columns=(Column(field="n"),), dtype="float64"),
    )
    assert record_encoder.check({"n": 2**53}) == (2**53,)
    assert isinstance(refusal({"n": 2**53 + 1}, record_encoder), FieldRangeError)


_anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([*GOOD, "other"]), _anything))
def test_whatever_comes_is_refused_by_name_or_becomes_finite_numbers(changes: dict[str, Any]) -> None:
    """Any JSON in any field is either rejected with a field of the record, or encoded to finite numbers."""
    for dtype in ("float32", "float64"):
        record_encoder = encoder(dtype)
        record = {**GOOD, **changes}
        try:
            row = record_encoder.check(record)
        except InvalidFieldError as refused:
            assert refused.field in record  # noqa: PT017 - refusing is one of the two right answers
        else:
            assert np.isfinite(record_encoder.stack([row])["x"]).all()


_good_records = st.fixed_dictionaries(
    {
        "tenure": st.integers(0, 120),
        "charge": st.floats(0, 1e6),
        "contract": st.sampled_from(["month", "year"]),
        "paperless": st.booleans(),
    },
    optional={"balance": st.none() | st.floats(-1e6, 1000), "city": st.none() | st.text(max_size=5)},
)


@given(st.lists(_good_records, min_size=1, max_size=8))
def test_a_row_is_encoded_alike_alone_and_among_others(records: list[dict[str, Any]]) -> None:
    """Each row of a stacked batch equals the row stacked alone."""
    record_encoder = encoder()
    rows = [record_encoder.check(record) for record in records]
    batched = record_encoder.stack(rows)["x"]
    for index, row in enumerate(rows):
        assert batched[index].tolist() == record_encoder.stack([row])["x"][0].tolist()


def test_of_a_long_text_only_what_can_matter_is_kept() -> None:
    """A text longer than any category is not a category; a row keeps only as many letters as show that."""
    made = encoder()
    rows = [made.check(GOOD | {"city": text}) for text in ("Pamplona", "Pamplona" + "x" * 100_000, "Pamplona\U0001f600" * 9)]
    assert made.stack(rows)["x"][:, 5].tolist() == [1.0, 0.0, 0.0]
    assert max(len(str(row[4])) for row in rows) < 20
