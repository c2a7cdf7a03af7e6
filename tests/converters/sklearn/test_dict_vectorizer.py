"""(DictVectorizer, model) pairs become the same model over records."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import lightgbm
import numpy as np
import pytest
import xgboost
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, Normalizer

from relevo.converters.pack import pack
from relevo.converters.sklearn.dict_vectorizer import convert_dictvectorizer, record_of
from relevo.domain.preprocessing import Column, MatrixSteps
from relevo.domain.signature import FieldKind, RecordInput
from relevo.errors import ConversionError, InvalidFieldError, InvalidOptionsError
from relevo.package.parity import build_runnable, difference, score_as_served
from relevo.package.samples import from_records, normalize_samples

if TYPE_CHECKING:
    from relevo.package.conversion import ConvertedModel


def _customers(rows: int = 300) -> tuple[list[dict[str, Any]], np.ndarray]:
    draw = np.random.default_rng(0)
    customers: list[dict[str, Any]] = [
        {
            "contract": str(draw.choice(["monthly", "yearly", "a=b"])),
            "tenure": int(draw.integers(70)),
            "charge": float(draw.normal(60, 20)),
            "senior": bool(draw.integers(2)),
        }
        for _ in range(rows)
    ]
    churned = np.array(
        [(customer["tenure"] < 20 and customer["contract"] == "monthly") or draw.random() < 0.1 for customer in customers]
    )
    return customers, churned


def _gap(converted: ConvertedModel, customers: list[dict[str, Any]]) -> float:
    assert converted.outputs is not None
    return float(difference(score_as_served(converted, from_records(customers)), converted.outputs).max())


@pytest.mark.parametrize(
    "last",
    [
        LogisticRegression(max_iter=2000),
        LogisticRegression(solver="liblinear"),
        RandomForestClassifier(10, random_state=0),
        make_pipeline(MaxAbsScaler(), LogisticRegression(max_iter=1000)),
        LinearRegression(),
    ],
    ids=lambda model: type(model).__name__,
)
@pytest.mark.parametrize("form", ["tuple", "pipeline"])
def test_the_pair_matches(last: Any, form: str) -> None:
    """A tuple or a pipeline, linear or not, gives the original's probability to 1e-12 on unseen records."""
    customers, churned = _customers()
    vectorizer = DictVectorizer(sparse=False)
    last.fit(vectorizer.fit_transform(customers[:200]), churned[:200])
    model = (vectorizer, last) if form == "tuple" else make_pipeline(vectorizer, last)
    converted = convert_dictvectorizer(model, from_records(customers[200:]))
    assert _gap(converted, customers[200:]) < 1e-12
    if isinstance(last, LogisticRegression):
        assert converted.converter == {"relevo": converted.converter["relevo"]}, "a linear model needs no other library"


def test_the_signature_comes_from_the_vocabulary() -> None:
    """Categories, numbers and booleans are distinguished, and a category that contains an equals sign is kept whole."""
    customers, churned = _customers()
    vectorizer = DictVectorizer()
    model = LogisticRegression(max_iter=2000).fit(vectorizer.fit_transform(customers), churned)
    converted = convert_dictvectorizer((vectorizer, model), from_records(customers))
    assert isinstance(converted.input, RecordInput)
    kinds = {field.name: field.kind for field in converted.input.fields}
    assert kinds == {
        "contract": FieldKind.CATEGORY,
        "tenure": FieldKind.NUMBER,
        "charge": FieldKind.NUMBER,
        "senior": FieldKind.BOOLEAN,
    }
    assert isinstance(converted.steps, MatrixSteps)
    assert converted.steps.columns[1] == Column(field="contract", equals="a=b")
    assert converted.input.fields[0].categories == ("a=b", "monthly", "yearly")


def test_an_unseen_category_is_ignored() -> None:
    """An unseen category is ignored by the package, as by DictVectorizer."""
    customers, churned = _customers()
    vectorizer = DictVectorizer(sparse=False)
    model = LogisticRegression(max_iter=2000).fit(vectorizer.fit_transform(customers), churned)
    served = build_runnable(convert_dictvectorizer((vectorizer, model), from_records(customers)))
    stranger = customers[0] | {"contract": "for ever"}
    expected = model.predict_proba(vectorizer.transform([stranger]))[0]
    assert served.predict(stranger).probabilities == pytest.approx(expected, abs=1e-12)


def test_fields_outside_the_vocabulary_are_ignored() -> None:
    """Records with an id that the model does not use are accepted."""
    customers, churned = _customers()
    vectorizer = DictVectorizer()
    model = LogisticRegression(max_iter=2000).fit(vectorizer.fit_transform(customers), churned)
    with_id = [customer | {"customer_id": f"c{number}"} for number, customer in enumerate(customers)]
    # A model fitted without the id has no such column.
    converted = convert_dictvectorizer((vectorizer, model), from_records(with_id))
    assert isinstance(converted.input, RecordInput)
    assert converted.input.unknown_fields == "ignore"
    assert _gap(converted, with_id) < 1e-12


@pytest.mark.parametrize(
    "change",
    [
        {"customerid": "7590-vhveg"},
        {"tenure": 41.5},
        {"tenure": True},
        {"contract": None},
        {"contract": False},
        {"contract": ...},
        {"tenure": ...},
        {"contract": ..., "tenure": ..., "id": 7},
        {"contract": ..., "tenure": ..., "fee": ...},
    ],
)
def test_requests_of_existing_clients_match(change: dict[str, Any]) -> None:
    """Fields that `transform` ignores, omits or treats as numbers give the original's prediction, with a warning."""
    records: list[dict[str, Any]] = [
        {"contract": word, "tenure": months, "fee": 0.1 * months} for months in range(40) for word in ("month", "year")
    ]
    truth = [int(one["contract"] == "month" and one["tenure"] < 20) for one in records]
    vectorizer = DictVectorizer(sparse=False)
    model = LogisticRegression().fit(vectorizer.fit_transform(records), truth)
    package = pack((vectorizer, model), name="churn", samples=records, truth=truth, figures=False)
    record = {name: value for name, value in {**records[9], **change}.items() if value is not ...}
    answer = package.predict(record)
    assert np.allclose(answer.probabilities, model.predict_proba(vectorizer.transform([record]))[0], atol=1e-9)
    message = " ".join(answer.warnings)
    assert all(name in message for name in change) or change == {"tenure": 41.5}, message
    assert "counts as 0" in package.read("card.md").decode()
    strict = pack(
        (vectorizer, model), name="churn", samples=records, unknown_fields="refuse", missing_fields="refuse", figures=False
    )
    assert strict.predict(records[9]).warnings == ()
    if change != {"tenure": 41.5}:
        with pytest.raises(InvalidFieldError):
            strict.predict(record)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"customer": 1}, "The field 'contract' is missing; expected text."),
        ({"tenure": None, "contract": "year"}, "The field 'tenure' is missing; expected a number."),
        ({"Tenure": 4, "contract": "year"}, "The model has no field 'Tenure'; the nearest it has is 'tenure'."),
        ({"tenure": "4", "contract": "year"}, "The field 'tenure' expects a number without quotes, but text came."),
        ({"tenure": "four", "contract": "year"}, "The field 'tenure' expects a number, but text came."),
        ({"tenure": ["4"], "contract": "year"}, "The field 'tenure' expects a number, but a list came."),
        ({"tenure": 4, "contract": 7}, "The field 'contract' expects text, but a number came."),
        ({"tenure": 4, "contract": ["year"]}, "The field 'contract' expects text, but a list came."),
        ({"tenure": 4, "contract": {"year": 1}}, "The field 'contract' expects text, but an object came."),
    ],
)
def test_invalid_records_are_rejected(record: dict[str, Any], message: str) -> None:
    """Only unknown fields, null for a number, a value of another type and a misspelt field are rejected by name."""
    records: list[dict[str, Any]] = [{"contract": word, "tenure": months} for months in range(20) for word in ("month", "year")]
    vectorizer = DictVectorizer(sparse=False)
    model = LogisticRegression().fit(vectorizer.fit_transform(records), [int(one["tenure"] < 9) for one in records])
    package = pack((vectorizer, model), name="churn", samples=records, figures=False)
    with pytest.raises(InvalidFieldError) as caught:
        package.predict(record)
    assert str(caught.value) == message


def test_the_vocabulary_alone_defines_a_record() -> None:
    """Every field is present, with its categories, and required."""
    customers, _ = _customers()
    record = record_of(DictVectorizer().fit(customers))
    assert {field.name for field in record.fields} == {"contract", "tenure", "charge", "senior"}
    assert all(field.required for field in record.fields)
    assert (record.unknown_fields, record.missing_fields) == ("ignore", "zero")


def test_a_field_of_number_and_text_is_rejected() -> None:
    """Such a vocabulary cannot be represented."""
    vectorizer = DictVectorizer().fit([{"x": 1.0}, {"x": "one"}])
    with pytest.raises(ConversionError, match="both a number and a text"):
        record_of(vectorizer)


def test_images_and_triples_are_rejected() -> None:
    """Images as samples and a tuple of three are rejected."""
    customers, churned = _customers(50)
    vectorizer = DictVectorizer()
    model = LogisticRegression().fit(vectorizer.fit_transform(customers), churned)
    with pytest.raises(InvalidOptionsError, match="records"):
        convert_dictvectorizer((vectorizer, model), normalize_samples(np.zeros((2, 4, 4), dtype=np.uint8)))
    with pytest.raises(ConversionError, match="tuple of 3"):
        convert_dictvectorizer((vectorizer, model, 1), from_records(customers))


def _flags(rows: int = 200) -> tuple[list[dict[str, Any]], list[int]]:
    records: list[dict[str, Any]] = [{"a": float(row % 7), "c": "xy"[row % 2], "flag": bool(row % 3)} for row in range(rows)]
    return records, [int(row % 7 > 3) for row in range(rows)]


def _unlike_records() -> list[dict[str, Any]]:
    choices = ((0.0, 5.0, None, "no"), ("x", "z", "no"), (True, False, 1, 0, 2.5, None, "no"))
    every = ({key: value for key, value in zip(("a", "c", "flag"), row, strict=True) if value != "no"} for row in product(*choices))
    return [record for record in every if record]


@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize(
    "last",
    [
        xgboost.XGBClassifier(n_estimators=4),
        xgboost.XGBClassifier(n_estimators=4, booster="gblinear"),
        make_pipeline(MaxAbsScaler(), xgboost.XGBClassifier(n_estimators=4)),
        lightgbm.LGBMClassifier(n_estimators=4, verbose=-1),
    ],
    ids=["xgboost", "xgboost-linear", "xgboost-scaled", "lightgbm"],
)
def test_a_booster_matches_for_absent_fields_nulls_and_numbers(last: Any, *, sparse: bool) -> None:
    """Absent, null and unseen values and numbers in place of booleans give the original's prediction, sparse or dense."""
    records, truth = _flags()
    model = make_pipeline(DictVectorizer(sparse=sparse), last).fit(records, truth)
    served = build_runnable(convert_dictvectorizer(model, from_records(records)))
    for record in _unlike_records():
        assert served.predict(record).probabilities == pytest.approx(model.predict_proba([record])[0], abs=1e-5), record


def test_the_warning_names_missing_fields() -> None:
    """The warning says that an absent field counts as missing, and that a number in place of a boolean counts as itself."""
    records, truth = _flags()
    model = make_pipeline(DictVectorizer(), xgboost.XGBClassifier(n_estimators=4)).fit(records, truth)
    served = build_runnable(convert_dictvectorizer(model, from_records(records)))
    message = [str(remark) for remark in served.remarks({"c": "x", "flag": 1})]
    assert message == [
        "Fields without a value that the model knows count as missing, as in the original: a.",
        "In fields of true and false, a number counts as itself, as in the original: flag.",
    ]


def test_null_is_rejected_when_the_original_rejects_it() -> None:
    """A linear model fails on NaN, so null for its number is rejected by name."""
    records, truth = _flags()
    model = make_pipeline(DictVectorizer(), LogisticRegression()).fit(records, truth)
    served = build_runnable(convert_dictvectorizer(model, from_records(records)))
    with pytest.raises(InvalidFieldError, match="'a'"):
        served.predict({"a": None, "c": "x", "flag": True})


def test_an_unsupported_sparse_step_is_named() -> None:
    """A step that normalises stored entries is rejected, naming the sparse matrix and `sparse=False`."""
    records, truth = _flags()
    model = make_pipeline(DictVectorizer(), Normalizer(), xgboost.XGBClassifier(n_estimators=4)).fit(records, truth)
    with pytest.raises(ConversionError, match=r"sparse matrix.*DictVectorizer\(sparse=False\)"):
        convert_dictvectorizer(model, from_records(records))
