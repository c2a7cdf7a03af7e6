"""Pickles of older scikit-learn releases are fixed where the meaning of the change is known."""

from __future__ import annotations

import numpy as np
import pytest

from relevo.converters.sklearn.compat import fix_attributes

pytest.importorskip("sklearn", reason="scikit-learn models need the extra 'sklearn'")
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

ROWS = np.array([[1.0, np.nan], [np.nan, 2.0], [3.0, 5.0], [4.0, 4.0]])


def test_an_imputer_of_an_older_release_is_fixed() -> None:
    """A pipeline whose imputer lacks `_fill_dtype`, as in 1.3.0, imputes the same values."""
    model = make_pipeline(SimpleImputer(strategy="median"), LogisticRegression()).fit(ROWS, [0, 1, 0, 1])
    expected = model.predict_proba(ROWS)
    del model[0]._fill_dtype
    with pytest.raises(AttributeError):
        model.predict_proba(ROWS)
    fix_attributes(model, "scikit-learn 1.3.0")
    assert (model.predict_proba(ROWS) == expected).all()
