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
def test_the_pair_answers_as_before(last: Any, form: str) -> None:
    """A tuple or a pipeline, linear or not: to 1e-12 the original's probability, on records it has not seen."""
    customers, churned = _customers()
    vectorizer = DictVectorizer(sparse=False)
    last.fit(vectorizer.fit_transform(customers[:200]), churned[:200])
    model = (vectorizer, last) if form == "tuple" else make_pipeline(vectorizer, last)
    converted = convert_dictvectorizer(model, from_records(customers[200:]))
    assert _gap(converted, customers[200:]) < 1e-12
    if isinstance(last, LogisticRegression):
        assert converted.converter == {"relevo": converted.converter["relevo"]}, "a linear model needs no other library"


def test_the_signature_is_read_off_the_vocabulary() -> None:
    """Categories, numbers and booleans are told apart, and the category that holds an equals sign stays whole."""
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


def test_an_unseen_category_counts_as_none_of_them() -> None:
    """What DictVectorizer passes over in silence, the package passes over too."""
    customers, churned = _customers()
    vectorizer = DictVectorizer(sparse=False)
    model = LogisticRegression(max_iter=2000).fit(vectorizer.fit_transform(customers), churned)
    served = build_runnable(convert_dictvectorizer((vectorizer, model), from_records(customers)))
    stranger = customers[0] | {"contract": "for ever"}
    expected = model.predict_proba(vectorizer.transform([stranger]))[0]
    assert served.predict(stranger).probabilities == pytest.approx(expected, abs=1e-12)


def test_fields_beside_the_vocabulary_are_passed_over_when_the_samples_have_them() -> None:
    """Records with an id the model never used are taken as they come."""
    customers, churned = _customers()
    vectorizer = DictVectorizer()
    model = LogisticRegression(max_iter=2000).fit(vectorizer.fit_transform(customers), churned)
    with_id = [customer | {"customer_id": f"c{number}"} for number, customer in enumerate(customers)]
    # What was fitted without the id knows no such column.
    converted = convert_dictvectorizer((vectorizer, model), from_records(with_id))
    assert isinstance(converted.input, RecordInput)
    assert converted.input.extra == "ignore"
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
def test_a_client_of_the_pair_is_answered_as_by_the_pair(change: dict[str, Any]) -> None:
    """What `transform` passes over, leaves out or takes for a number is answered as the original does, and told."""
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
    told = " ".join(answer.warnings)
    assert all(name in told for name in change) or change == {"tenure": 41.5}, told
    assert "counts as 0" in package.read("card.md").decode()
    strict = pack(
        (vectorizer, model), name="churn", samples=records, unknown_fields="refuse", missing_fields="refuse", figures=False
    )
    assert strict.predict(records[9]).warnings == ()
    if change != {"tenure": 41.5}:
        with pytest.raises(InvalidFieldError):
            strict.predict(record)


@pytest.mark.parametrize(
    ("record", "told"),
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
def test_what_the_original_cannot_have_meant_is_refused(record: dict[str, Any], told: str) -> None:
    """A record of other fields only, a null for a number, a value of another kind and a slip of the pen are named, not guessed."""
    records: list[dict[str, Any]] = [{"contract": word, "tenure": months} for months in range(20) for word in ("month", "year")]
    vectorizer = DictVectorizer(sparse=False)
    model = LogisticRegression().fit(vectorizer.fit_transform(records), [int(one["tenure"] < 9) for one in records])
    package = pack((vectorizer, model), name="churn", samples=records, figures=False)
    with pytest.raises(InvalidFieldError) as caught:
        package.predict(record)
    assert str(caught.value) == told


def test_without_samples_the_vocabulary_alone_gives_a_record() -> None:
    """Every field is there, with its categories, and required."""
    customers, _ = _customers()
    record = record_of(DictVectorizer().fit(customers))
    assert {field.name for field in record.fields} == {"contract", "tenure", "charge", "senior"}
    assert all(field.required for field in record.fields)
    assert (record.extra, record.missing) == ("ignore", "zero")


def test_a_field_that_is_number_and_text_is_refused() -> None:
    """Such a vocabulary has no honest form."""
    vectorizer = DictVectorizer().fit([{"x": 1.0}, {"x": "one"}])
    with pytest.raises(ConversionError, match="both a number and a text"):
        record_of(vectorizer)


def test_pictures_and_triples_are_refused() -> None:
    """A model of records wants records, and a tuple of three is something else."""
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
def test_a_booster_answers_absent_fields_nulls_and_numbers_for_truths_as_before(last: Any, *, sparse: bool) -> None:
    """Whatever of a record is absent, null, unseen or a number for a truth: the original's own answer, sparse or dense."""
    records, truth = _flags()
    model = make_pipeline(DictVectorizer(sparse=sparse), last).fit(records, truth)
    served = build_runnable(convert_dictvectorizer(model, from_records(records)))
    for record in _unlike_records():
        assert served.predict(record).probabilities == pytest.approx(model.predict_proba([record])[0], abs=1e-5), record


def test_what_sparse_xgboost_takes_as_missing_is_told_as_missing() -> None:
    """The warning says that an absent field counts as missing, and that a number in place of a truth counts as itself."""
    records, truth = _flags()
    model = make_pipeline(DictVectorizer(), xgboost.XGBClassifier(n_estimators=4)).fit(records, truth)
    served = build_runnable(convert_dictvectorizer(model, from_records(records)))
    told = [str(remark) for remark in served.remarks({"c": "x", "flag": 1})]
    assert told == [
        "Fields without a value that the model knows count as missing, as in the original: a.",
        "In fields of true and false, a number counts as itself, as in the original: flag.",
    ]


def test_a_null_number_is_refused_where_the_original_refuses_it() -> None:
    """A linear model fails on NaN, so that a null in place of its number is still refused by name."""
    records, truth = _flags()
    model = make_pipeline(DictVectorizer(), LogisticRegression()).fit(records, truth)
    served = build_runnable(convert_dictvectorizer(model, from_records(records)))
    with pytest.raises(InvalidFieldError, match="'a'"):
        served.predict({"a": None, "c": "x", "flag": True})


def test_a_sparse_step_that_cannot_be_followed_is_named_with_the_mend() -> None:
    """Lengths that are taken over what is stored: refused, naming the sparse matrix and `sparse=False`."""
    records, truth = _flags()
    model = make_pipeline(DictVectorizer(), Normalizer(), xgboost.XGBClassifier(n_estimators=4)).fit(records, truth)
    with pytest.raises(ConversionError, match=r"sparse matrix.*DictVectorizer\(sparse=False\)"):
        convert_dictvectorizer(model, from_records(records))
