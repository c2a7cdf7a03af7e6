"""The package predicts what the model's own `predict` returns, also when that is not its most probable class."""

from __future__ import annotations

import dataclasses
import pickle
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import relevo
from relevo.domain.decision import ThresholdDecision
from relevo.errors import ConversionError, GoldenMismatchError
from relevo.importing.import_model import import_model
from relevo.package.package import load_runnable, replay_golden
from relevo.package.targets import label_text

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("skl2onnx")

from sklearn.datasets import make_classification
from sklearn.feature_selection import RFE, RFECV
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV, TunedThresholdClassifierCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC, NuSVC

NAMES = [f"n{place}" for place in range(5)]


def data(classes: int, seed: int = 0) -> tuple[Any, Any]:
    """Rows that no model classifies without errors."""
    x, y = make_classification(
        400, 5, n_informative=4, n_redundant=0, n_classes=classes, class_sep=0.4, flip_y=0.2, random_state=seed
    )
    return x, y


X2, Y2 = data(2)
X3, Y3 = data(3)
X10, Y10 = make_classification(600, 5, n_informative=5, n_redundant=0, n_classes=10, n_clusters_per_class=1, random_state=0)


def svc(**options: Any) -> Any:
    """A support vector machine, with probabilities by default."""
    return SVC(**{"probability": True, "random_state": 0, **options})


CASES: dict[str, tuple[Any, Any, Any]] = {
    "svc of two": (svc(), X2, Y2),
    "svc of three": (svc(), X3, Y3),
    "nusvc": (NuSVC(probability=True, random_state=0, nu=0.3), X3, Y3),
    "svc of texts": (svc(), X3, np.array(["b", "c", "a"])[Y3]),
    "svc of floats": (svc(), X3, Y3 + 2.0),
    "svc of booleans": (svc(), X2, Y2 == 1),
    "svc in a search in a pipeline": (make_pipeline(StandardScaler(), GridSearchCV(svc(), {"C": [0.5, 2]}, cv=2)), X3, Y3),
    "pairs of three": (svc(probability=False, decision_function_shape="ovo"), X3, Y3),
    "pairs of ten": (svc(probability=False, decision_function_shape="ovo"), X10, Y10),
    "pairs in a pipeline": (make_pipeline(StandardScaler(), svc(probability=False, decision_function_shape="ovo")), X3, Y3),
    "floats": (LogisticRegression(), X3, Y3 + 0.0),
    "tuned threshold": (TunedThresholdClassifierCV(LogisticRegression(), scoring="recall", cv=2), X2, Y2),
    "threshold": (FixedThresholdClassifier(LogisticRegression(), threshold=0.8), X2, np.where(Y2, "yes", "no")),
    "threshold of the first": (FixedThresholdClassifier(LogisticRegression(), threshold=0.8, pos_label=0), X2, Y2),
    "threshold of margins": (FixedThresholdClassifier(LinearSVC(), threshold=0.3), X2, Y2),
    "threshold in a search": (
        make_pipeline(
            StandardScaler(), GridSearchCV(FixedThresholdClassifier(LogisticRegression()), {"threshold": [0.8, 0.9]}, cv=2)
        ),
        X2,
        Y2,
    ),
    "eliminated features": (RFE(LogisticRegression(), n_features_to_select=2), X3, Y3),
    "eliminated in a pipeline": (make_pipeline(StandardScaler(), RFECV(RidgeClassifier(), cv=2)), X3, Y3),
}


@pytest.mark.parametrize("case", CASES)
def test_labels_equal_predict(case: str) -> None:
    """Labels equal `predict` on every held-out row, and probabilities equal `predict_proba` where it exists."""
    model, x, y = CASES[case]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(x[::2], y[::2])
        expected = [label_text(value) for value in model.predict(x[1::2])]
    package = relevo.pack(model, name="m", samples=x[1::2], features=NAMES, truth=y[1::2], figures=False)
    answers = package.predict_many([dict(zip(NAMES, row, strict=True)) for row in x[1::2].tolist()])
    assert [answer.predicted_label for answer in answers] == expected
    assert package.manifest.lineage.parity.labels_agreeing == 1.0
    assert package.metrics["accuracy"]["value"] == pytest.approx(np.mean(model.predict(x[1::2]) == y[1::2]), abs=1e-5)
    if hasattr(model, "predict_proba"):
        served = np.array([answer.probabilities for answer in answers])
        assert np.abs(served - model.predict_proba(x[1::2])).max() < 1e-5
    if "threshold" not in case and "svc" in case:
        assert "which need not be the most probable one" in package.read("card.md").decode()


def test_a_threshold_is_imported_unless_the_user_gives_a_decision(tmp_path: Path) -> None:
    """The model's own threshold becomes the manifest's decision, also through the sandbox; a decision of the user takes precedence."""
    model = FixedThresholdClassifier(LogisticRegression(), threshold=0.8).fit(X2, Y2)
    (tmp_path / "m.pickle").write_bytes(pickle.dumps(model))
    options: dict[str, Any] = {"name": "m", "trust_pickle": True, "samples": X2[:50], "features": NAMES, "figures": False}
    assert import_model(tmp_path / "m.pickle", **options).manifest.decision == ThresholdDecision(accept_at=0.8, reject_at=0.8)
    own = ThresholdDecision(accept_at=0.6, reject_at=0.4)
    assert import_model(tmp_path / "m.pickle", decision=own, **options).manifest.decision == own


def test_multilabel_models_are_rejected() -> None:
    """A multilabel model is rejected with a message that says so."""
    model = OneVsRestClassifier(LogisticRegression()).fit(X3, np.stack([Y3 == 0, Y3 > 0, X3[:, 0] > 0], axis=1).astype(int))
    with pytest.raises(ConversionError, match="several labels"):
        relevo.pack(model, name="m", samples=X3, features=NAMES, figures=False)


def test_golden_examples_prove_labels() -> None:
    """A golden example with another label than the model's fails the replay, although its scores agree."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = svc().fit(X3, Y3)
    package = relevo.pack(model, name="m", samples=X3, features=NAMES, figures=False)
    assert set(package.golden.labels) == {"0", "1", "2"}
    assert replay_golden(package) <= package.manifest.golden_tolerance
    wrong = dataclasses.replace(package.golden, labels=(*package.golden.labels[1:], package.golden.labels[0]))
    with pytest.raises(GoldenMismatchError):
        replay_golden(load_runnable(package), wrong)
