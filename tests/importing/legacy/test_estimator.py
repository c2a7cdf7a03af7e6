"""A model that the legacy worker serialized is converted exactly by Relevo's own graphs."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.hostile_files import vectorizer_and_model

from relevo.converters.base import ConversionRequest
from relevo.errors import ConversionError
from relevo.importing.sandbox import protocol
from relevo.importing.sandbox.client import SandboxResult, convert_in_sandbox, predict_with_legacy
from relevo.importing.sandbox.sample_codec import samples_of
from relevo.package.parity import difference, score_as_served

pytest.importorskip("sklearn")


def convert_serialized(model: Any) -> SandboxResult:
    """Send the model through both workers; this Python stands for the old one."""
    outputs = predict_with_legacy(
        protocol.LegacyRequest(spell=True), [pickle.dumps(model), b"", b""], python=Path(sys.executable), need_strong=False
    )
    return convert_in_sandbox(
        ConversionRequest(format="spelled", source="scikit-learn 0.24.2"), [outputs.frame, b"", b""], need_strong=False
    )


def models() -> dict[str, Any]:
    from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.tree import DecisionTreeRegressor

    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 4))
    y = (x[:, 0] + x[:, 1] ** 2).astype(int) % 3
    return {
        "forest": RandomForestClassifier(5, random_state=0, n_jobs=2).fit(x, y),
        "boosted classes": GradientBoostingClassifier(n_estimators=5).fit(x, np.array(["a", "b", "c"])[y]),
        "boosted value": GradientBoostingRegressor(n_estimators=5).fit(x, x[:, 0]),
        "tree": DecisionTreeRegressor(max_depth=4).fit(x, x[:, 1]),
        "logistic": LogisticRegression().fit(x, y),
        "ridge": Ridge().fit(x, x[:, 2]),
        "pair": vectorizer_and_model(),
    }


@pytest.mark.parametrize("name", list(models()))
def test_serialized_model_matches_the_original(name: str) -> None:
    """The rebuilt model matches the original to 1e-9; the pickle itself never reaches the second worker."""
    result = convert_serialized(models()[name])
    assert result.converted.outputs is not None
    served = score_as_served(result.converted, samples_of(result, None))
    assert difference(served, result.converted.outputs).max() < 1e-9
    assert result.converted.framework == "scikit-learn 0.24.2"


def test_one_vs_rest_is_converted_correctly() -> None:
    """One-vs-rest, which the current library no longer supports, is converted correctly."""
    from relevo.converters.graphs.linear import read_linear, write_linear
    from relevo.runtime.session import Session

    model = models()["logistic"]
    model.multi_class = "ovr"
    rows = np.random.default_rng(1).normal(size=(20, 4))
    linear = read_linear(model)
    assert linear is not None
    session = Session(write_linear(linear, input="x", output="y").SerializeToString(), output="y")
    class_scores = 1.0 / (1.0 + np.exp(-model.decision_function(rows)))
    np.testing.assert_allclose(session.run({"x": rows}), class_scores / class_scores.sum(axis=1, keepdims=True), rtol=1e-12)
    assert np.isfinite(session.run({"x": rows * 1e6})).all(), "where every class says no, the answer is still a number"


def test_unsupported_model_is_named() -> None:
    """A support vector machine without an exact converter is rejected, and the error names it."""
    from sklearn.svm import SVC

    x = np.random.default_rng(0).normal(size=(40, 2))
    with pytest.raises(ConversionError, match=r"SVC of scikit-learn 0\.24\.2"):
        convert_serialized(SVC().fit(x, (x[:, 0] > 0).astype(int)))
