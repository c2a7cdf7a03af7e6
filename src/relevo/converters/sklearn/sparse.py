"""Sparse matrices before XGBoost, which takes the entries that a sparse matrix does not store as missing and not as 0.

DictVectorizer    ─ stores every value it is given, 0 too ─► the steps make NaN of the rest (MatrixSteps.missing = sparse)
ColumnTransformer ─ stores no zero                        ─► the trees take 0 as missing
SciPy's samples   ─ stored zeros are refused ─► the same, held against the original asked with the matrix itself
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
    """Whether XGBoost is the last step, or inside of it, and is given a sparse matrix. Raises ConversionError."""
    if not has_xgboost(estimator.final):
        return False
    before = getattr(estimator.model, "steps", ())[:-1]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            matrix = estimator.model[:-1].transform(features) if before else features
    except Exception as cause:
        raise ConversionError(reason=f"the model itself fails on the samples ({one_line(cause)})") from cause
    return hasattr(matrix, "tocsr")


def has_xgboost(final: Any) -> bool:
    """Whether it is XGBoost, or has it inside."""
    return any(framework_of(part).startswith("XGBoost") for part in _inside(final))


def _inside(final: Any) -> list[Any]:
    voters = getattr(final, "estimators_", ())
    calibrated = [one.estimator for one in getattr(final, "calibrated_classifiers_", ())]
    return [*parts_of(final), *(voters if isinstance(voters, list) else ()), *calibrated]


def sparse_refusal(dense: str) -> ConversionError:
    """The refusal of what answers otherwise than the original, naming the step that would give a dense matrix."""
    return ConversionError(
        reason="XGBoost is given a sparse matrix, whose zeros that are not stored it takes as missing, and the converted model "
        f"does not answer as the original then; train it anew on a dense matrix, with {dense}"
    )
