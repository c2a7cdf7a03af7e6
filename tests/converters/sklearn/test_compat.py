"""What older releases of scikit-learn pickled otherwise is set right where its meaning is known."""

from __future__ import annotations

import numpy as np
import pytest

from relevo.converters.sklearn.compat import fix_attributes

pytest.importorskip("sklearn", reason="scikit-learn models need the extra 'sklearn'")
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

ROWS = np.array([[1.0, np.nan], [np.nan, 2.0], [3.0, 5.0], [4.0, 4.0]])


def test_an_imputer_of_before_answers_as_it_did() -> None:
    """A pipeline whose imputer does not know the dtype of its fillings, as one of 1.3.0 does not, fills in the same."""
    model = make_pipeline(SimpleImputer(strategy="median"), LogisticRegression()).fit(ROWS, [0, 1, 0, 1])
    wanted = model.predict_proba(ROWS)
    del model[0]._fill_dtype
    with pytest.raises(AttributeError):
        model.predict_proba(ROWS)
    fix_attributes(model, "scikit-learn 1.3.0")
    assert (model.predict_proba(ROWS) == wanted).all()
