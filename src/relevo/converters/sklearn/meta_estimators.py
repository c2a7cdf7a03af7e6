"""A fitted scikit-learn model in the form that is converted: what only chooses, searches or decides is taken off the end.

    GridSearchCV ─► its best estimator        RFE ─► a selection and its estimator
    TunedThresholdClassifierCV ─► its classifier and the threshold, which becomes the decision rule
    SVC that tells pairs of classes ─► the same SVC, telling classes

The model that a user handed over is not changed.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from relevo.errors import ConversionError

_KEPT = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """Where a binary classifier stops answering one class; lives as long as one conversion."""

    method: str  # whose scores it cuts: predict_proba or decision_function
    value: float
    positive: int  # place of the class that is answered from the threshold on


@dataclass(frozen=True, slots=True, kw_only=True)
class Unwrapped:
    """A model to convert, and the threshold of its own, if it has one; lives as long as one conversion."""

    model: Any
    threshold: Threshold | None = None


def unwrapped(model: Any) -> Unwrapped:
    """The form that is converted; the same object where nothing is to be taken off. Raises ConversionError."""
    while hasattr(model, "best_estimator_"):
        model = model.best_estimator_
    if type(model).__name__ == "Pipeline" and hasattr(model, "steps") and hasattr(model.steps[-1][1], "predict"):
        return _pipeline(model)
    if type(model).__name__ in ("TunedThresholdClassifierCV", "FixedThresholdClassifier"):
        inside = unwrapped(getattr(model, "estimator_", model.estimator))
        return replace(inside, threshold=_threshold(model))
    if type(model).__name__ in ("RFE", "RFECV") and hasattr(model, "estimator_"):
        return _selection(model)
    if getattr(model, "decision_function_shape", "ovr") == "ovo" and len(getattr(model, "classes_", ())) > 2:
        model = copy.copy(model)
        model.decision_function_shape = "ovr"
    return Unwrapped(model=model)


def _pipeline(model: Any) -> Unwrapped:
    name, last = model.steps[-1]
    inside = unwrapped(last)
    if inside.model is last:
        return Unwrapped(model=model, threshold=inside.threshold)
    whole = copy.copy(model)
    further = inside.model.steps if hasattr(inside.model, "steps") else [(name, inside.model)]
    whole.steps = [*model.steps[:-1], *((f"{name}/{place}", step) for place, (_, step) in enumerate(further))]
    return Unwrapped(model=whole, threshold=inside.threshold)


def _selection(model: Any) -> Unwrapped:
    """The columns that are kept, as a selection that converters know, and the estimator behind it."""
    from sklearn.feature_selection import VarianceThreshold
    from sklearn.pipeline import Pipeline

    chosen = VarianceThreshold(threshold=_KEPT)
    chosen.variances_ = np.asarray(model.support_, dtype=np.float64)
    chosen.n_features_in_ = len(chosen.variances_)
    if hasattr(model, "feature_names_in_"):
        chosen.feature_names_in_ = model.feature_names_in_
    inside = unwrapped(model.estimator_)
    further = inside.model.steps if hasattr(inside.model, "steps") else [("model", inside.model)]
    return Unwrapped(model=Pipeline([("chosen", chosen), *further]), threshold=inside.threshold)


def _threshold(model: Any) -> Threshold:
    inner = getattr(model, "estimator_", model.estimator)
    asked = model.response_method
    if asked == "auto":
        asked = "predict_proba" if hasattr(inner, "predict_proba") else "decision_function"
    value = getattr(model, "best_threshold_", None)
    positive = getattr(model, "pos_label", None)
    if value is None:
        value = model.threshold
    else:
        positive = model._curve_scorer._get_pos_label()  # noqa: SLF001 - scikit-learn tells it nowhere else
    if value == "auto":
        value = 0.5 if asked == "predict_proba" else 0.0
    classes = list(model.classes_)
    if len(classes) != 2:
        raise ConversionError(reason=f"a threshold goes with two classes, and it has {len(classes)}")
    return Threshold(method=asked, value=float(value), positive=1 if positive is None else classes.index(positive))
