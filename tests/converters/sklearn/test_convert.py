"""Converted scikit-learn models predict as the originals, on scikit-learn's bundled data sets."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import pytest
import xgboost
from scipy import sparse
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine
from sklearn.ensemble import (
    AdaBoostClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, RidgeClassifier, SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, OneHotEncoder, OrdinalEncoder, PolynomialFeatures, StandardScaler
from sklearn.svm import SVC, SVR, LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

import relevo
from relevo.converters.sklearn.convert import convert_sklearn
from relevo.domain.preprocessing import ColumnSteps, MatrixSteps
from relevo.errors import ConversionError, InvalidOptionsError
from relevo.package.conversion import ConversionHints
from relevo.package.parity import build_runnable, difference, score_as_served
from relevo.package.samples import normalize_samples

#: Model, data, and what the served scores may differ by, in units of max(1, |score|).
EXACT, SINGLE = 1e-12, 1e-5
CASES = [
    (LogisticRegression(max_iter=3000), load_digits, EXACT),
    (LogisticRegression(max_iter=5000), load_breast_cancer, EXACT),
    (make_pipeline(StandardScaler(), LogisticRegression()), load_wine, EXACT),
    (make_pipeline(MinMaxScaler(), PolynomialFeatures(2), LogisticRegression(max_iter=3000)), load_iris, SINGLE),
    (RidgeClassifier(), load_digits, EXACT),
    (LinearSVC(), load_iris, EXACT),
    (make_pipeline(StandardScaler(), LinearSVC()), load_breast_cancer, EXACT),
    (SGDClassifier(loss="log_loss", random_state=0), load_iris, EXACT),
    (SVC(probability=True, random_state=0), load_iris, SINGLE),
    (SVC(), load_breast_cancer, SINGLE),
    (MLPClassifier((16,), max_iter=300, random_state=0), load_digits, EXACT),
    (DecisionTreeClassifier(random_state=0), load_digits, EXACT),
    (RandomForestClassifier(30, random_state=0), load_breast_cancer, EXACT),
    (make_pipeline(StandardScaler(), RandomForestClassifier(20, random_state=0)), load_wine, EXACT),
    (ExtraTreesClassifier(10, random_state=0), load_digits, EXACT),
    (GradientBoostingClassifier(n_estimators=15, random_state=0), load_breast_cancer, EXACT),
    (GradientBoostingClassifier(n_estimators=5, random_state=0), load_digits, EXACT),
    (HistGradientBoostingClassifier(max_iter=15), load_breast_cancer, EXACT),
    (HistGradientBoostingClassifier(max_iter=5), load_wine, EXACT),
    (AdaBoostClassifier(n_estimators=10, random_state=0), load_iris, SINGLE),
    (GaussianNB(), load_iris, EXACT),
    (KNeighborsClassifier(3), load_iris, EXACT),
    (CalibratedClassifierCV(LinearSVC()), load_breast_cancer, EXACT),
    (GridSearchCV(LogisticRegression(max_iter=3000), {"C": [0.1, 1.0]}), load_iris, EXACT),
    (LinearRegression(), load_diabetes, EXACT),
    (make_pipeline(StandardScaler(), Ridge()), load_diabetes, EXACT),
    (DecisionTreeRegressor(max_depth=5, random_state=0), load_diabetes, EXACT),
    (RandomForestRegressor(15, random_state=0), load_diabetes, EXACT),
    (GradientBoostingRegressor(n_estimators=15, random_state=0), load_diabetes, EXACT),
    (HistGradientBoostingRegressor(max_iter=15), load_diabetes, EXACT),
    (SVR(), load_diabetes, SINGLE),
    (MLPRegressor(hidden_layer_sizes=(8,), max_iter=300, random_state=0), load_diabetes, EXACT),
]


def _name(value: Any) -> str:
    if hasattr(value, "steps"):
        return "-".join(name for name, _ in value.steps)
    return getattr(value, "__name__", type(value).__name__)


def _fitted(model: Any, features: Any, truth: Any) -> Any:
    with warnings.catch_warnings():
        # Convergence and deprecation warnings do not concern the conversion.
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", FutureWarning)
        return model.fit(features, truth)


@pytest.mark.parametrize(("model", "load", "allowed"), CASES, ids=_name)
def test_served_scores_match_the_original(model: Any, load: Any, allowed: float) -> None:
    """On unseen rows the serving code gives the original's scores, with its classes as labels."""
    features, truth = load(return_X_y=True)
    half = np.arange(len(features)) % 2 == 0
    fitted = _fitted(model, features[half], truth[half])
    samples = normalize_samples(features[~half])
    converted = convert_sklearn(fitted, samples)
    assert converted.outputs is not None
    gaps = difference(score_as_served(converted, samples), converted.outputs)
    assert gaps.max() <= allowed
    assert converted.output.labels == (tuple(str(label) for label in np.unique(truth)) if hasattr(fitted, "classes_") else ())
    assert isinstance(converted.steps, MatrixSteps)


@pytest.mark.parametrize("model", [GaussianNB(), KNeighborsClassifier(3), RandomForestClassifier(5, random_state=0)], ids=_name)
def test_conversion_gives_the_same_bytes_each_time(model: Any) -> None:
    """Names in the graph are deterministic."""
    features, truth = load_iris(return_X_y=True)
    fitted = model.fit(features, truth)
    samples = normalize_samples(features[:20])
    assert convert_sklearn(fitted, samples).onnx == convert_sklearn(fitted, samples).onnx


def _table() -> tuple[np.ndarray, np.ndarray]:
    """A table of texts and of numbers with missing values, with a target that depends on both."""
    draw = np.random.default_rng(0)
    rows: list[list[Any]] = [
        [int(draw.integers(70)), float(draw.normal(50, 20)), str(draw.choice(["month", "year", "two years"]))] for _ in range(400)
    ]
    truth = np.array(["yes" if (row[0] < 30 and row[2] == "month") or draw.random() < 0.1 else "no" for row in rows])
    for row in rows[::17]:
        row[1] = float("nan")
    return np.array(rows, dtype=object), truth


@pytest.mark.parametrize("encoder", [OneHotEncoder(handle_unknown="ignore"), OrdinalEncoder()], ids=_name)
@pytest.mark.parametrize(
    "last",
    [LogisticRegression(max_iter=1000), RandomForestClassifier(20, random_state=0), MLPClassifier((8,), random_state=0)],
    ids=_name,
)
def test_column_transformers_match(encoder: Any, last: Any) -> None:
    """Texts are fed as texts, missing values are imputed as in the original, and predictions are equal."""
    table, truth = _table()
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    model = _fitted(make_pipeline(ColumnTransformer([("n", numbers, [0, 1]), ("c", encoder, [2])]), last), table[:200], truth[:200])
    samples = normalize_samples(table[200:], ["tenure", "charge", "contract"])
    converted = convert_sklearn(model, samples)
    assert converted.outputs is not None
    assert isinstance(converted.steps, ColumnSteps)
    assert [column.dtype for column in converted.steps.columns] == ["float64", "float64", "string"]
    assert difference(score_as_served(converted, samples), converted.outputs).max() < EXACT
    assert [field.required for field in converted.input.fields] == [True, False, True]  # type: ignore[union-attr]  # a record


def test_a_tie_between_classes_stays_a_tie() -> None:
    """A forest of two trees that disagree predicts exactly .5, so the label is the original's and does not depend on rounding."""
    features, truth = load_breast_cancer(return_X_y=True)
    model = RandomForestClassifier(2, random_state=1).fit(features[::2, :4], truth[::2])
    samples = normalize_samples(features[1::2, :4])
    scores = score_as_served(convert_sklearn(model, samples), samples)
    assert (scores == 0.5).any()
    assert np.array_equal(scores.argmax(axis=1), model.predict(features[1::2, :4]))


def test_thresholds_are_not_rounded() -> None:
    """Values next to a threshold reach the same leaf as in the original."""
    features = np.random.default_rng(0).normal(size=(300, 2))
    truth = (features.sum(axis=1) > 0).astype(int)
    model = DecisionTreeClassifier(random_state=0).fit(features, truth)
    splits = model.tree_.threshold[model.tree_.children_left >= 0]
    near = np.concatenate(
        [np.nextafter(splits.astype(np.float32), side) for side in (-np.inf, np.inf)] + [splits, splits + 1e-12, splits - 1e-12]
    )
    rows = np.stack([near, near[::-1]], axis=1).astype(np.float64)
    samples = normalize_samples(rows)
    assert np.array_equal(score_as_served(convert_sklearn(model, samples), samples), model.predict_proba(rows))


def test_missing_numbers_match() -> None:
    """Trees that handle missing values receive NaN for an absent field."""
    features, truth = load_breast_cancer(return_X_y=True)
    holes = np.where(np.random.default_rng(0).random(features.shape) < 0.2, np.nan, features)
    for model in (HistGradientBoostingClassifier(max_iter=10), DecisionTreeClassifier(random_state=0)):
        fitted = model.fit(holes[::2], truth[::2])
        samples = normalize_samples(holes[1::2])
        converted = convert_sklearn(fitted, samples)
        assert converted.outputs is not None
        assert difference(score_as_served(converted, samples), converted.outputs).max() < EXACT


def test_hints_name_features_labels_and_unit() -> None:
    """The user's features, labels and unit are in the signature."""
    features, truth = load_iris(return_X_y=True)
    model = LogisticRegression(max_iter=1000).fit(features, truth)
    names = ("a", "b", "c", "d")
    converted = convert_sklearn(
        model, normalize_samples(features[:9], names), ConversionHints(features=names, labels=("x", "y", "z"))
    )
    assert converted.output.labels == ("x", "y", "z")
    assert converted.classes == ("0", "1", "2")
    assert tuple(field.name for field in converted.input.fields) == names  # type: ignore[union-attr]  # a record


def test_multi_output_models_are_rejected() -> None:
    """A multi-output model is rejected with advice."""
    features = np.random.default_rng(0).normal(size=(50, 3))
    for model, truth in ((LinearRegression(), features[:, :2]), (RandomForestClassifier(3), (features[:, :2] > 0).astype(int))):
        with pytest.raises(ConversionError, match="one model for each"):
            convert_sklearn(model.fit(features, truth), normalize_samples(features))


def test_an_unfitted_model_is_rejected_with_its_error() -> None:
    """The error contains the library's message."""
    with pytest.raises(ConversionError, match="not fitted"):
        convert_sklearn(LinearRegression(), normalize_samples(np.ones((3, 2))))


def test_columns_may_be_called_anything() -> None:
    """Names that are no identifiers, or that equal tensors in the graph, remain the fields' names; predictions are equal."""
    pandas = pytest.importorskip("pandas")
    names = ["ingreso mensual", "a-b", "a b", "precio (€)", "1st", "variable", "probabilities", "ñ"]
    draw = np.random.default_rng(0)
    frame = pandas.DataFrame({name: draw.normal(size=80) for name in names})
    frame["1st"] = draw.choice(["x", "y"], 80)
    steps = ColumnTransformer(
        [("n", StandardScaler(), [name for name in names if name != "1st"]), ("c", OneHotEncoder(handle_unknown="ignore"), ["1st"])]
    )
    model = make_pipeline(steps, LogisticRegression()).fit(frame, frame["a-b"] + frame["a b"] > 0)
    package = relevo.pack(model, name="named", samples=frame, figures=False)
    assert [field.name for field in package.manifest.input.fields] == names  # type: ignore[union-attr]  # a record
    answers = package.predict_many(frame.to_dict(orient="records"))
    assert np.abs(np.array([answer.probabilities for answer in answers]) - model.predict_proba(frame)).max() < 1e-6


def test_the_order_of_unnamed_columns_is_required() -> None:
    """Records for a model without column names are rejected with the order found; a given order is used."""
    draw = np.random.default_rng(0)
    rows = draw.normal(size=(60, 2))
    model = LogisticRegression().fit(rows, rows[:, 0] > 0)
    swapped = [{"b": row[1], "a": row[0]} for row in rows.tolist()]
    with pytest.raises(InvalidOptionsError, match=r"features .*b,a"):
        relevo.pack(model, name="m", samples=swapped, figures=False)
    with pytest.raises(InvalidOptionsError, match="'c'"):
        relevo.pack(model, name="m", samples=swapped, features=["a", "c"], figures=False)
    package = relevo.pack(model, name="m", samples=swapped, features=["a", "b"], figures=False)
    answers = [answer.probabilities for answer in package.predict_many(swapped)]
    assert np.abs(np.array(answers) - model.predict_proba(rows)).max() < 1e-9


def test_named_columns_in_another_order_are_rejected() -> None:
    """A matrix whose names are the model's own in another order is rejected; records may have any order."""
    pandas = pytest.importorskip("pandas")
    draw = np.random.default_rng(0)
    frame = pandas.DataFrame(draw.normal(size=(60, 2)), columns=["a", "b"])
    model = LogisticRegression().fit(frame, frame["a"] > 0)
    with pytest.raises(InvalidOptionsError, match="a, b"):
        relevo.pack(model, name="m", samples=frame.to_numpy()[:, ::-1], features=["b", "a"], figures=False)
    package = relevo.pack(model, name="m", samples=frame[["b", "a"]].to_dict(orient="records"), features=["b", "a"], figures=False)
    assert package.predict({"b": 0.0, "a": 5.0}).predicted_label == "True"


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_xgboost_after_a_sparse_columntransformer_matches(threshold: float) -> None:
    """XGBoost treats unstored zeros of a sparse matrix as missing and zeros of a dense one as 0: both match the original."""
    frame = pd.DataFrame([{"a": float(row % 7), "c": "xyz"[row % 3], "n": float(row % 5) - 2} for row in range(200)])
    columns = ColumnTransformer(
        [("c", OneHotEncoder(handle_unknown="ignore"), ["c"])], remainder="passthrough", sparse_threshold=threshold
    )
    model = make_pipeline(columns, xgboost.XGBClassifier(n_estimators=4)).fit(frame, [int(row % 7 > 3) for row in range(200)])
    served = build_runnable(convert_sklearn(model, normalize_samples(frame)))
    others = [{"a": a, "c": c, "n": n} for a in (0.0, 3.0, 5.5) for c in "xyw" for n in (0.0, 1.0)]
    for record, expected in zip(others, model.predict_proba(pd.DataFrame(others)), strict=True):
        assert served.predict(record).probabilities == pytest.approx(expected, abs=1e-5), record


def sparse_data() -> tuple[sparse.csr_matrix, np.ndarray]:
    """Numbers, half of which are 0 and not stored, and a target that depends on zeros in two columns."""
    draw = np.random.default_rng(0)
    rows = draw.normal(size=(300, 6)) * (draw.random((300, 6)) < 0.5)
    return sparse.csr_matrix(rows), ((rows[:, 0] > 0) | (rows[:, 1] < -0.3)).astype(int)


@pytest.mark.parametrize("before", [(), (MaxAbsScaler(),)], ids=["bare", "pipeline"])
@pytest.mark.parametrize("form", ["csr", "csc", "coo"])
def test_xgboost_with_a_sparse_matrix_matches(before: tuple[Any, ...], form: str) -> None:
    """Packed with a SciPy matrix 0 is missing, as for the original with that matrix; with a dense one it is 0."""
    matrix, truth = sparse_data()
    model = make_pipeline(*before, xgboost.XGBClassifier(n_estimators=8)).fit(matrix, truth)
    model = model if before else model[-1]
    inputs = {"sparse": matrix.asformat(form), "dense": matrix.toarray()}
    expected = {kind: model.predict_proba(features) for kind, features in inputs.items()}
    assert np.abs(expected["sparse"] - expected["dense"]).max() > 0.01
    rows = normalize_samples(matrix.toarray())
    for kind, features in inputs.items():
        served = build_runnable(convert_sklearn(model, normalize_samples(features)))
        answers = [served.predict(rows.payload(row)).probabilities for row in range(len(rows))]
        assert np.abs(np.array(answers) - expected[kind]).max() < 1e-6, kind


def test_a_booster_with_a_sparse_matrix_matches() -> None:
    """A bare Booster matches its predictions for a DMatrix of the sparse matrix."""
    matrix, truth = sparse_data()
    data = xgboost.DMatrix(matrix, label=truth)
    booster = xgboost.train({"objective": "binary:logistic"}, data, 8)
    package = relevo.pack(booster, name="m", samples=matrix, labels=["no", "yes"], figures=False)
    rows = normalize_samples(matrix.toarray())
    answers = [package.predict(rows.payload(row)).probabilities[1] for row in range(len(rows))]
    assert np.abs(np.array(answers) - booster.predict(data)).max() < 1e-6


def test_stored_zeros_next_to_missing_are_rejected() -> None:
    """A record has only one kind of 0, so a matrix with both kinds is rejected, and the suggested fix works."""
    matrix, truth = sparse_data()
    model = xgboost.XGBClassifier(n_estimators=8).fit(matrix, truth)
    matrix.data[::3] = 0.0
    with pytest.raises(ConversionError, match=r"sparse matrix.*toarray\(\).*eliminate_zeros\(\)"):
        convert_sklearn(model, normalize_samples(matrix))
    matrix.eliminate_zeros()
    assert convert_sklearn(model, normalize_samples(matrix)).output.labels == ("0", "1")
