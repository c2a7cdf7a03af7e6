"""Handles sparse matrices before XGBoost, which treats unstored entries as missing, not as 0.

DictVectorizer    ─ stores every given value, 0 too ─► the steps make NaN of the rest (MatrixSteps.missing = sparse)
ColumnTransformer ─ stores no zeros                 ─► the trees treat 0 as missing
SciPy samples     ─ stored zeros are rejected ─► the same, compared with the original called with the matrix itself
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from relevo.converters.boosting.booster import framework_of
from relevo.converters.sklearn.estimator import one_line, parts_of
from relevo.errors import ConversionError

if TYPE_CHECKING:
    from relevo.converters.sklearn.estimator import Estimator


def reads_sparse(estimator: Estimator, features: Any) -> bool:
    """Whether XGBoost is the last step, or inside it, and receives a sparse matrix. Raises ConversionError."""
    if not has_xgboost(estimator.final):
        return False
    first_steps = getattr(estimator.model, "steps", ())[:-1]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            matrix = estimator.model[:-1].transform(features) if first_steps else features
    except Exception as cause:
        raise ConversionError(reason=f"the model itself fails on the samples ({one_line(cause)})") from cause
    return hasattr(matrix, "tocsr")


def has_xgboost(final: Any) -> bool:
    """Whether the estimator is XGBoost, or contains it."""
    return any(framework_of(part).startswith("XGBoost") for part in _inner_estimators(final))


def _inner_estimators(final: Any) -> list[Any]:
    voters = getattr(final, "estimators_", ())
    calibrated = [classifier.estimator for classifier in getattr(final, "calibrated_classifiers_", ())]
    return [*parts_of(final), *(voters if isinstance(voters, list) else ()), *calibrated]


def sparse_refusal(dense: str) -> ConversionError:
    """Returns the error for a conversion with other predictions, naming the option that gives a dense matrix."""
    return ConversionError(
        reason="XGBoost is given a sparse matrix, whose zeros that are not stored it takes as missing, and the converted model "
        f"does not answer as the original then; train it anew on a dense matrix, with {dense}"
    )
