"""Unwraps meta-estimators of scikit-learn to the model that is converted: searches, selections, thresholds.

    GridSearchCV ─► its best estimator        RFE ─► a selection and its estimator
    TunedThresholdClassifierCV ─► its classifier and the threshold, which becomes the decision rule
    SVC with one-vs-one margins ─► the same SVC with one-vs-rest margins

The user's model is not changed.
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
    """Decision threshold of a binary classifier. Lifetime: one conversion."""

    method: str  # method whose scores it applies to: predict_proba or decision_function
    value: float
    positive: int  # index of the class that is predicted from the threshold on


@dataclass(frozen=True, slots=True, kw_only=True)
class UnwrappedEstimator:
    """The model to convert, and its decision threshold, if it has one. Lifetime: one conversion."""

    model: Any
    threshold: Threshold | None = None


def unwrap(model: Any) -> UnwrappedEstimator:
    """Returns the model to convert; the same object when there is nothing to unwrap. Raises ConversionError."""
    while hasattr(model, "best_estimator_"):
        model = model.best_estimator_
    if type(model).__name__ == "Pipeline" and hasattr(model, "steps") and hasattr(model.steps[-1][1], "predict"):
        return _pipeline(model)
    if type(model).__name__ in ("TunedThresholdClassifierCV", "FixedThresholdClassifier"):
        inner = unwrap(getattr(model, "estimator_", model.estimator))
        return replace(inner, threshold=_threshold(model))
    if type(model).__name__ in ("RFE", "RFECV") and hasattr(model, "estimator_"):
        return _selection(model)
    if getattr(model, "decision_function_shape", "ovr") == "ovo" and len(getattr(model, "classes_", ())) > 2:
        model = copy.copy(model)
        model.decision_function_shape = "ovr"
    return UnwrappedEstimator(model=model)


def _pipeline(model: Any) -> UnwrappedEstimator:
    name, last = model.steps[-1]
    inner = unwrap(last)
    if inner.model is last:
        return UnwrappedEstimator(model=model, threshold=inner.threshold)
    pipeline = copy.copy(model)
    inner_steps = inner.model.steps if hasattr(inner.model, "steps") else [(name, inner.model)]
    pipeline.steps = [*model.steps[:-1], *((f"{name}/{index}", step) for index, (_, step) in enumerate(inner_steps))]
    return UnwrappedEstimator(model=pipeline, threshold=inner.threshold)


def _selection(model: Any) -> UnwrappedEstimator:
    """Converts the selected columns to a selector that skl2onnx supports, followed by the estimator."""
    from sklearn.feature_selection import VarianceThreshold
    from sklearn.pipeline import Pipeline

    selector = VarianceThreshold(threshold=_KEPT)
    selector.variances_ = np.asarray(model.support_, dtype=np.float64)
    selector.n_features_in_ = len(selector.variances_)
    if hasattr(model, "feature_names_in_"):
        selector.feature_names_in_ = model.feature_names_in_
    inner = unwrap(model.estimator_)
    inner_steps = inner.model.steps if hasattr(inner.model, "steps") else [("model", inner.model)]
    return UnwrappedEstimator(model=Pipeline([("chosen", selector), *inner_steps]), threshold=inner.threshold)


def _threshold(model: Any) -> Threshold:
    classifier = getattr(model, "estimator_", model.estimator)
    method = model.response_method
    if method == "auto":
        method = "predict_proba" if hasattr(classifier, "predict_proba") else "decision_function"
    value = getattr(model, "best_threshold_", None)
    positive = getattr(model, "pos_label", None)
    if value is None:
        value = model.threshold
    else:
        positive = model._curve_scorer._get_pos_label()  # noqa: SLF001 - no public access
    if value == "auto":
        value = 0.5 if method == "predict_proba" else 0.0
    classes = list(model.classes_)
    if len(classes) != 2:
        raise ConversionError(reason=f"a threshold goes with two classes, and it has {len(classes)}")
    return Threshold(method=method, value=float(value), positive=1 if positive is None else classes.index(positive))
