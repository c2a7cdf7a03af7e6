"""Inspects a fitted scikit-learn model: its task, its classes, and which method gives the scores.

predict_proba       ─► probabilities (n, classes)
decision_function   ─► margins, shown through a sigmoid or softmax: correct in order, not calibrated
predict             ─► values (n, 1)
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from relevo.converters.sklearn.meta_estimators import Threshold, unwrap
from relevo.domain.decision import ArgmaxDecision, ThresholdDecision, decide
from relevo.domain.signature import Output, Task
from relevo.errors import ConversionError, InvalidOptionsError
from relevo.package.class_names import display_names, refuse_other_order
from relevo.package.conversion import ConversionHints
from relevo.package.targets import label_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from relevo.domain.decision import Decision

Method = Literal["predict_proba", "decision_function", "predict"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimator:
    """A fitted model and how it predicts. Lifetime: one conversion."""

    model: Any
    final: Any  # the last step of a pipeline, or the model itself
    classes: tuple[str, ...]  # as text, in the model's order; empty for a regression
    method: Method
    #: The model as the user passed it, whose `predict` counts.
    original: Any = None
    #: The model's own decision rule, if it is not the most probable class.
    decision: Decision | None = None
    #: Whether `predict` differs from the most probable class, so that its label is exported as a column after the scores.
    has_label_column: bool = False
    #: Whether its last step is XGBoost over a sparse matrix without stored zeros, in which 0 therefore counts as missing.
    reads_sparse: bool = False

    def predict_scores(self, features: Any) -> NDArray[np.float64]:
        """Returns the original's scores, float64 (n, columns). Raises ConversionError with the model's error message."""
        try:
            with warnings.catch_warnings():
                # Models fitted on named columns warn about plain arrays; we keep the order.
                warnings.simplefilter("ignore")
                scores = np.asarray(getattr(self.model, self.method)(features), dtype=np.float64)
        except Exception as cause:
            raise ConversionError(reason=f"the model itself fails on the samples ({one_line(cause)})") from cause
        if not self.classes and scores.size != len(scores):
            raise ConversionError(reason="it answers several numbers at once; package one model for each")
        columns = self.as_columns(scores)
        if self.classes and columns.shape[1] not in (1, len(self.classes)):
            raise ConversionError(reason=f"its {self.method} gives {columns.shape[1]} numbers for {len(self.classes)} classes")
        return np.column_stack([columns, self.predict_indices(features)]) if self.has_label_column else columns

    def predict_indices(self, features: Any) -> NDArray[np.intp]:
        """Returns the class indices that the original's `predict` gives, (n,). Raises ConversionError."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                predicted = np.asarray((self.model if self.original is None else self.original).predict(features))
        except Exception as cause:
            raise ConversionError(reason=f"the model itself fails on the samples ({one_line(cause)})") from cause
        indices = {name: index for index, name in enumerate(self.classes)}
        try:
            return np.array([indices[label_text(value)] for value in predicted.reshape(len(predicted), -1)[:, 0]], dtype=np.intp)
        except KeyError as cause:
            raise ConversionError(reason="its predict answers what is none of its classes") from cause

    def predict_labels(self, features: Any) -> NDArray[np.intp] | None:
        """Like `predict_indices`; None when its `predict` gives no classes. Raises ConversionError."""
        # A booster's `predict` gives scores, and a FrozenEstimator of a legacy model has outputs only for the samples.
        return self.predict_indices(features) if self.classes and hasattr(self.original, "fit") else None

    def with_label_check(self, features: Any) -> Estimator:
        """Returns the estimator with `has_label_column` determined from predictions and scores. Raises ConversionError."""
        if (labels := self.predict_labels(features)) is None:
            return self
        if _is_multilabel(self.original, features):
            raise ConversionError(reason="it answers several labels for each row; package one model for each label")
        decisions = decide(self.predict_scores(features), self.output("", ConversionHints()), self.decision or ArgmaxDecision())
        differs = [served.index for served in decisions] != labels.tolist()
        return replace(self, has_label_column=self.decision is None and (differs or _predicts_by_vote(self.final)))

    def as_columns(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns shape (n, columns): the single margin of two classes becomes one for each class."""
        if scores.ndim == 2:
            return scores
        return np.stack([-scores, scores], axis=1) if self.method == "decision_function" else scores[:, None]

    def output(self, name: str, hints: ConversionHints) -> Output:
        """Returns the model's output for the manifest. Raises InvalidOptionsError when the labels do not fit."""
        if not self.classes:
            return Output(name=name, task=Task.REGRESSION, unit=hints.unit)
        labels = display_names(self.classes, hints.labels, hints.renamed)
        if len(hints.classes) == len(labels):
            # The class names in the truth, for a model that only numbers its classes.
            refuse_other_order(hints.classes, labels)
        if len(labels) != len(self.classes):
            raise InvalidOptionsError(options=f"labels ({len(self.classes)} of them, for {', '.join(self.classes[:20])})")
        if self.method == "predict_proba":
            return Output(name=name, labels=labels, label_column=self.has_label_column)
        activation: Literal["sigmoid", "softmax"] = "sigmoid" if len(labels) == 2 else "softmax"
        return Output(name=name, labels=labels, activation=activation, label_column=self.has_label_column)


def inspect_estimator(model: Any) -> Estimator:
    """Inspects a fitted estimator. Raises ConversionError when it cannot be converted."""
    original, inner = model, unwrap(model)
    model, threshold = inner.model, inner.threshold
    final = model.steps[-1][1] if hasattr(model, "steps") else model
    if not hasattr(model, "predict"):
        raise ConversionError(reason=f"a {type(model).__name__} has no predict: it is no model, or not the whole of one")
    classes = _classes(model)
    if not classes:
        return Estimator(model=model, final=final, classes=(), method="predict", original=original)
    method: Method = "predict_proba" if hasattr(model, "predict_proba") else "decision_function"
    if threshold is not None and threshold.method == "decision_function":
        method = "decision_function"
    if not hasattr(model, method):
        raise ConversionError(reason=f"a {type(final).__name__} tells no score for each class, only the class")
    decision = None if threshold is None else _decision_from_threshold(threshold)
    return Estimator(model=model, final=final, classes=classes, method=method, original=original, decision=decision)


def _decision_from_threshold(threshold: Threshold) -> ThresholdDecision:
    """Converts a threshold to a decision without an uncertain range, on the served probability of the second class."""
    value = threshold.value if threshold.method == "predict_proba" else 0.5 * (1.0 + float(np.tanh(0.5 * threshold.value)))
    if threshold.positive:
        return ThresholdDecision(accept_at=value, reject_at=value)
    # The first class is predicted from its own threshold on, the second only above 1 - threshold.
    return ThresholdDecision(accept_at=float(np.nextafter(1.0 - value, 2.0)), reject_at=1.0 - value)


def _predicts_by_vote(final: Any) -> bool:
    """Whether it is a support vector machine with probabilities: these are fitted separately, so they can differ from the voted class."""
    return type(final).__name__ in ("SVC", "NuSVC") and hasattr(final, "predict_proba")


def _is_multilabel(model: Any, features: Any) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        predicted = np.asarray(model.predict(features[:1]))
    return predicted.ndim == 2 and predicted.shape[1] > 1


def _classes(model: Any) -> tuple[str, ...]:
    classes = getattr(model, "classes_", None)
    if classes is None:
        return ()
    if isinstance(classes, list):
        raise ConversionError(reason="it answers several questions at once; package one model for each")
    return tuple(label_text(value) for value in classes)


def parts_of(model: Any) -> list[Any]:
    """The estimator and everything inside it, outermost first."""
    parts = [model]
    children: list[Any] = [step for _, step in getattr(model, "steps", ())]
    children += [entry[1] for entry in getattr(model, "transformers_", ())]
    children += [entry[1] for entry in getattr(model, "transformer_list", ())]
    children += list(getattr(model, "estimators_", ())) if hasattr(model, "final_estimator_") else []
    for part in children:
        if not isinstance(part, str):
            parts += parts_of(part)
    return parts


def one_line(cause: BaseException) -> str:
    """First line of an error message, shortened to fit into a sentence."""
    return f"{type(cause).__name__}: {str(cause).strip().splitlines()[0][:200] if str(cause).strip() else 'no reason given'}"
