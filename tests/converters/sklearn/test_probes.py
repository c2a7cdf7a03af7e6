"""For inputs unlike the samples the package predicts as the original does, or rejects what the original rejects."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, OneHotEncoder, OrdinalEncoder, PolynomialFeatures, StandardScaler

import relevo
from relevo.converters.boosting.booster import BoosterEstimator
from relevo.converters.boosting.lightgbm import from_booster
from relevo.converters.sklearn.convert import convert_sklearn
from relevo.converters.sklearn.dict_vectorizer import convert_dictvectorizer
from relevo.converters.sklearn.estimator import inspect_estimator
from relevo.converters.sklearn.input_layouts import input_layouts
from relevo.converters.sklearn.probes import Original, check_probes, make_probes, probe_difference
from relevo.domain.signature import FieldKind
from relevo.errors import ConversionError, FieldTypeError, InvalidOptionsError, UnknownCategoryError
from relevo.package.conversion import ConversionHints
from relevo.package.samples import from_records, normalize_samples

pytest.importorskip("skl2onnx")
pandas = pytest.importorskip("pandas")
lightgbm = pytest.importorskip("lightgbm")

DRAW = np.random.default_rng(0)
FRAME = pandas.DataFrame(
    {
        "income": DRAW.normal(2000, 500, 200),
        "children": DRAW.integers(0, 4, 200).astype(float),
        "plan": DRAW.choice(["basic", "pro", "rare", "seldom"], 200, p=[0.5, 0.44, 0.03, 0.03]),
    }
)
TRUTH = (FRAME["income"] > 2000).to_numpy() ^ (FRAME["plan"] == "pro").to_numpy()


def fitted(text: Any, number: Any = "passthrough") -> Any:
    """A pipeline that encodes the plan by `text` and the children by `number`."""
    steps = [("scaled", StandardScaler(), ["income"]), ("text", text, ["plan"]), ("number", number, ["children"])]
    return make_pipeline(ColumnTransformer(steps), LogisticRegression()).fit(FRAME, TRUTH)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (OneHotEncoder(handle_unknown="ignore"), OneHotEncoder(handle_unknown="ignore")),
        (OneHotEncoder(handle_unknown="ignore", drop="first"), OneHotEncoder(handle_unknown="ignore", drop="if_binary")),
        (OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=0.1), "passthrough"),
        (OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=0.1, drop="first"), "passthrough"),
        (
            OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=2),
            OneHotEncoder(handle_unknown="infrequent_if_exist"),
        ),
        (
            OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
            OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=9, min_frequency=0.1),
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:Found unknown categories")
def test_unknown_categories_and_fractions_match(text: Any, number: Any) -> None:
    """An unseen category, a rare one, and 2.7 in a column of integers are encoded as by the original."""
    model = fitted(text, number)
    package = relevo.pack(model, name="m", samples=FRAME, figures=False)
    rows = [
        {"income": income, "children": children, "plan": plan}
        for income in (2100.0, -40000.0)
        for children in (0.0, 2.0, 2.7, -1.0, 11.0)
        for plan in ("basic", "rare", "new")
    ]
    served = np.array([answer.probabilities for answer in package.predict_many(rows)])
    assert np.abs(served - model.predict_proba(pandas.DataFrame(rows))).max() < 1e-6


@pytest.mark.parametrize("number", [StandardScaler(), PolynomialFeatures(2), "passthrough"])
@pytest.mark.parametrize("final", [LogisticRegression(max_iter=3000), Ridge()])
def test_integer_columns_accept_fractions(number: Any, final: Any) -> None:
    """41.5 as age is predicted as by the original; in a column that an encoder reads it is rejected by name."""
    frame = pandas.DataFrame(
        {"age": DRAW.integers(18, 80, 200), "children": DRAW.integers(0, 4, 200), "plan": DRAW.choice(["basic", "pro"], 200)}
    )
    encoder = OneHotEncoder(handle_unknown="ignore")
    steps = [("number", number, ["age"]), ("text", encoder, ["plan", "children"])]
    model = make_pipeline(ColumnTransformer(steps), final).fit(frame, frame["age"] > 50)
    package = relevo.pack(model, name="m", samples=frame, figures=False)
    row = {"age": 41.5, "children": 2, "plan": "pro"}
    answer = package.predict(row)
    asked = pandas.DataFrame([row])
    served = answer.value if answer.value is not None else answer.probabilities[1]
    assert served == pytest.approx(
        model.predict(asked)[0] if final.__class__ is Ridge else model.predict_proba(asked)[0, 1], abs=1e-4
    )
    with pytest.raises(FieldTypeError) as refusal:
        package.predict(row | {"children": 2.5})
    assert refusal.value.facts["field"] == "children"


def test_a_strict_encoder_of_a_regression_closes_its_field() -> None:
    """A value at which a regression raises is rejected by name as well."""
    steps = [("plan", OrdinalEncoder(), ["plan"]), ("rest", "passthrough", ["income", "children"])]
    model = make_pipeline(ColumnTransformer(steps), Ridge()).fit(FRAME, FRAME["income"] / 1000)
    package = relevo.pack(model, name="m", samples=FRAME, figures=False)
    with pytest.raises(UnknownCategoryError):
        package.predict({"income": 2100.0, "children": 2.0, "plan": "new"})


@pytest.mark.parametrize("kind", [OneHotEncoder, OrdinalEncoder])
def test_strict_encoders_close_their_field(kind: Any) -> None:
    """`handle_unknown="error"`: the field lists the encoder's categories, also those without samples, and rejects others by name."""
    model = fitted(kind(), kind())
    package = relevo.pack(model, name="m", samples=FRAME[FRAME["plan"] != "rare"].head(80), figures=False)
    fields = {field.name: field for field in package.manifest.input.fields}  # type: ignore[union-attr]  # a record
    assert (fields["plan"].restrict_to_categories, fields["plan"].categories) == (True, ("basic", "pro", "rare", "seldom"))
    assert (fields["children"].restrict_to_categories, fields["children"].categories) == (True, ("0", "1", "2", "3"))
    assert not fields["income"].restrict_to_categories
    row = {"income": 2100.0, "children": 2, "plan": "rare"}
    expected = model.predict_proba(pandas.DataFrame([row]))[0]
    assert package.predict(row).probabilities == pytest.approx(tuple(expected), abs=1e-6)
    for wrong in ({"plan": "new"}, {"children": 2.7}):
        with pytest.raises(UnknownCategoryError) as refusal:
            package.predict(row | wrong)
        assert refusal.value.facts["field"] == next(iter(wrong))


def test_the_largest_absolute_value_normalizes() -> None:
    """`Normalizer("max")` fitted and sampled on positive numbers keeps the signs of negative ones."""
    rows = np.abs(DRAW.normal(size=(100, 3)))
    model = make_pipeline(Normalizer("max"), LogisticRegression()).fit(rows, rows[:, 0] > rows[:, 1])
    package = relevo.pack(model, name="m", samples=rows, figures=False)
    for row in ([-5.0, 1.0, 2.0], [-1.0, -2.0, -3.0], [0.0, 0.0, 0.0]):
        served = package.predict(dict(zip(("f0", "f1", "f2"), row, strict=True)))
        assert served.probabilities == pytest.approx(tuple(model.predict_proba([row])[0]), abs=1e-6)


def test_samples_are_required_for_every_column() -> None:
    """A column without a single value in the samples is rejected, because nothing would be proved about it."""
    model = fitted(OneHotEncoder(handle_unknown="ignore"))
    records = [{name: value for name, value in row.items() if name != "children"} for row in FRAME.to_dict(orient="records")]
    with pytest.raises(InvalidOptionsError, match="children"):
        relevo.pack(model, name="m", samples=records, figures=False)


def test_a_graph_that_matches_only_the_samples_is_rejected() -> None:
    """A converted model that differs only outside of the samples is detected by the probes, which name the input."""
    rows = np.abs(DRAW.normal(size=(60, 2)))
    model = LogisticRegression().fit(rows, rows[:, 0] > rows[:, 1])
    samples = normalize_samples(rows, ["a", "b"])
    layout = next(iter(input_layouts(inspect_estimator(model), samples, ConversionHints())))
    original = Original(estimator=inspect_estimator(model), layout=layout, samples=samples)  # type: ignore[arg-type]
    probes = make_probes(original.predict_scores, samples, layout.input)  # type: ignore[arg-type]
    right = convert_sklearn(model, samples)
    assert probe_difference(right, probes)[0] < 1e-9
    wrong = convert_sklearn(LogisticRegression().fit(rows, rows[:, 0] > 2 * rows[:, 1]), samples)
    with pytest.raises(ConversionError, match="unlike"):
        check_probes(replace(wrong, outputs=right.outputs), probes, 1e-4)
    assert layout.input.fields[0].kind is FieldKind.NUMBER  # type: ignore[union-attr]  # a record


def inconsistent(model: LogisticRegression) -> LogisticRegression:
    """The model, changed to predict otherwise than its weights for inputs that no sample has."""
    predict_proba = model.predict_proba

    def changed_proba(features: Any) -> Any:
        strange = (np.abs(features) > 50).any(axis=1) | (features == 0).all(axis=1)
        return np.where(strange[:, None], [0.9, 0.1], predict_proba(features))

    model.predict_proba = changed_proba
    return model


@pytest.mark.parametrize("field", ["plan", "income"])
def test_a_vectorizer_pair_is_probed(field: str) -> None:
    """A DictVectorizer pair is probed with unseen categories, absent keys and extremes; a difference is rejected."""
    # An unseen category is a row of zeros; none of the incomes is as large as the probes.
    plans: list[dict[str, Any]] = [{"plan": word} for word in ("basic", "pro")] * 10
    incomes: list[dict[str, Any]] = [{"income": 1.0 + number} for number in range(20)]
    records = plans if field == "plan" else incomes
    vectorizer = DictVectorizer(sparse=False)
    table = vectorizer.fit_transform(records)
    model = LogisticRegression().fit(table, [0, 1] * 10)
    assert convert_dictvectorizer((vectorizer, model), from_records(records)).outputs is not None
    with pytest.raises(ConversionError, match=f"inputs unlike them: with .*{field}"):
        convert_dictvectorizer((vectorizer, inconsistent(model)), from_records(records))


@pytest.mark.parametrize("missing", [False, True])
def test_a_booster_is_probed(*, missing: bool) -> None:
    """A booster's library is probed with extremes, and with missing values where fields are optional."""
    draw = np.random.default_rng(1)
    rows = draw.normal(size=(200, 3))
    rows[::4, 1] = np.nan
    booster = lightgbm.train({"verbose": -1, "objective": "regression"}, lightgbm.Dataset(rows, np.nan_to_num(rows).sum(axis=1)), 5)
    read = from_booster(booster)
    samples = normalize_samples(rows, ["a", "b", "c"])
    assert convert_sklearn(BoosterEstimator(read), samples, ConversionHints(features=("a", "b", "c"))).outputs is not None

    def ask(table: Any, scale: Any) -> Any:
        strange = np.isnan(table[:, 1]) & (np.abs(table[:, 0]) > 5) if missing else np.abs(table[:, 2]) > 50
        return np.where(strange, 77.0, read.predict(table, scale))

    with pytest.raises(ConversionError, match="unlike"):
        convert_sklearn(BoosterEstimator(replace(read, predict=ask)), samples, ConversionHints(features=("a", "b", "c")))


@pytest.mark.parametrize("covariance", ["full", "tied", "diag", "spherical"])
def test_a_mixture_matches_far_away(covariance: str) -> None:
    """Far away, where every density underflows, the component is that of the original."""
    rows = np.concatenate([DRAW.normal(center, 1, (40, 3)) for center in (0, 4, 9)])
    mixture = GaussianMixture(3, covariance_type=covariance, random_state=0).fit(rows)
    package = relevo.pack(mixture, name="mixture", samples=rows, figures=False)
    names = [field.name for field in package.manifest.input.fields]  # type: ignore[union-attr]  # a record
    distant = np.concatenate([rows * 1000, -rows * 1000, rows * 1e9, rows * 0])[::7]
    served = [package.predict(dict(zip(names, map(float, row), strict=True))).value for row in distant]
    assert served == mixture.predict(distant).tolist()
