"""What the libraries of another time spell out of a model is written by our own graphs, exactly."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.hostile_files import pairs

from relevo.converters.options import ConversionOptions
from relevo.errors import ConversionError
from relevo.importing.sandbox import protocol
from relevo.importing.sandbox.client import Visit, ask, visit
from relevo.importing.sandbox.sample_codec import asked
from relevo.package.parity import difference, score_as_served

pytest.importorskip("sklearn")


def spelled(model: Any) -> Visit:
    """The model through both children; this Python stands for the old one."""
    answer = ask(
        protocol.LegacyRequest(spell=True), [pickle.dumps(model), b"", b""], python=Path(sys.executable), need_strong=False
    )
    return visit(ConversionOptions(format="spelled", source="scikit-learn 0.24.2"), [answer.frame, b"", b""], need_strong=False)


def models() -> dict[str, Any]:
    from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.tree import DecisionTreeRegressor

    draw = np.random.default_rng(0)
    x = draw.normal(size=(200, 4))
    y = (x[:, 0] + x[:, 1] ** 2).astype(int) % 3
    return {
        "forest": RandomForestClassifier(5, random_state=0, n_jobs=2).fit(x, y),
        "boosted classes": GradientBoostingClassifier(n_estimators=5).fit(x, np.array(["a", "b", "c"])[y]),
        "boosted value": GradientBoostingRegressor(n_estimators=5).fit(x, x[:, 0]),
        "tree": DecisionTreeRegressor(max_depth=4).fit(x, x[:, 1]),
        "logistic": LogisticRegression().fit(x, y),
        "ridge": Ridge().fit(x, x[:, 2]),
        "pair": pairs(),
    }


@pytest.mark.parametrize("name", list(models()))
def test_a_spelled_model_answers_as_the_original(name: str) -> None:
    """The rebuilt model gives, to 1e-9, what the original gave; the pickle itself never reached the second child."""
    back = spelled(models()[name])
    assert back.converted.outputs is not None
    served = score_as_served(back.converted, asked(back, None))
    assert difference(served, back.converted.outputs).max() < 1e-9
    assert back.converted.framework == "scikit-learn 0.24.2"


def test_a_logistic_regression_that_asks_each_class_alone_keeps_its_meaning() -> None:
    """One against the rest, which today's library has forgotten, is written as it was meant."""
    from relevo.converters.graphs.linear import read_linear, write_linear
    from relevo.runtime.session import Session

    model = models()["logistic"]
    model.multi_class = "ovr"
    rows = np.random.default_rng(1).normal(size=(20, 4))
    linear = read_linear(model)
    assert linear is not None
    session = Session(write_linear(linear, input="x", output="y").SerializeToString(), output="y")
    each = 1.0 / (1.0 + np.exp(-model.decision_function(rows)))
    np.testing.assert_allclose(session.run({"x": rows}), each / each.sum(axis=1, keepdims=True), rtol=1e-12)
    assert np.isfinite(session.run({"x": rows * 1e6})).all(), "where every class says no, the answer is still a number"


def test_what_no_exact_graph_knows_is_refused_by_name() -> None:
    """A support vector machine that cannot be read today is refused, and the reason names it."""
    from sklearn.svm import SVC

    x = np.random.default_rng(0).normal(size=(40, 2))
    with pytest.raises(ConversionError, match=r"SVC of scikit-learn 0\.24\.2"):
        spelled(SVC().fit(x, (x[:, 0] > 0).astype(int)))
