"""What a fitted scikit-learn model is, read off the object: its task, its classes, and how it is asked.

predict_proba       ─► probabilities (n, classes)
decision_function   ─► margins, shown through a sigmoid or softmax: right in order, not calibrated
predict             ─► values (n, 1)
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from relevo.converters.sklearn.meta_estimators import Threshold, unwrapped
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
    """A fitted model and how it answers; lives as long as one conversion."""

    model: Any
    final: Any  # the last step of a pipeline, or the model itself
    classes: tuple[str, ...]  # as text, in the model's order; empty for a regression
    method: Method
    #: What answers: the model as it was handed over.
    original: Any = None
    #: The rule that is the model's own, where that is not its most probable class.
    decision: Decision | None = None
    #: Whether `predict` says another class than the most probable one, so that its answer is a column beside the scores.
    labelled: bool = False
    #: Whether it ends in XGBoost over a sparse matrix without stored zeros, in which 0 is therefore missing.
    sparse: bool = False

    def ask(self, features: Any) -> NDArray[np.float64]:
        """The original's own scores, float64 (n, columns). Raises ConversionError with the model's complaint."""
        try:
            with warnings.catch_warnings():
                # Models fitted on named columns grumble about plain arrays; the order is ours to keep.
                warnings.simplefilter("ignore")
                scores = np.asarray(getattr(self.model, self.method)(features), dtype=np.float64)
        except Exception as cause:
            raise ConversionError(reason=f"the model itself fails on the samples ({one_line(cause)})") from cause
        if not self.classes and scores.size != len(scores):
            raise ConversionError(reason="it answers several numbers at once; package one model for each")
        columns = self.as_columns(scores)
        if self.classes and columns.shape[1] not in (1, len(self.classes)):
            raise ConversionError(reason=f"its {self.method} gives {columns.shape[1]} numbers for {len(self.classes)} classes")
        return np.column_stack([columns, self.answers(features)]) if self.labelled else columns

    def answers(self, features: Any) -> NDArray[np.intp]:
        """The places of the classes that the original's own `predict` answers, (n,). Raises ConversionError."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                said = np.asarray((self.model if self.original is None else self.original).predict(features))
        except Exception as cause:
            raise ConversionError(reason=f"the model itself fails on the samples ({one_line(cause)})") from cause
        places = {name: place for place, name in enumerate(self.classes)}
        try:
            return np.array([places[label_text(value)] for value in said.reshape(len(said), -1)[:, 0]], dtype=np.intp)
        except KeyError as cause:
            raise ConversionError(reason="its predict answers what is none of its classes") from cause

    def predicted(self, features: Any) -> NDArray[np.intp] | None:
        """The same; None where its `predict` answers no classes. Raises ConversionError."""
        # A booster's gives scores, and what stands in for a model of another time knows only the samples' answers.
        return self.answers(features) if self.classes and hasattr(self.original, "fit") else None

    def settled(self, features: Any) -> Estimator:
        """The same, knowing whether its answers follow from its scores. Raises ConversionError."""
        if (predicted := self.predicted(features)) is None:
            return self
        if _several_labels(self.original, features):
            raise ConversionError(reason="it answers several labels for each row; package one model for each label")
        own = decide(self.ask(features), self.output("", ConversionHints()), self.decision or ArgmaxDecision())
        apart = [answer.index for answer in own] != predicted.tolist()
        return replace(self, labelled=self.decision is None and (apart or _votes(self.final)))

    def as_columns(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Shape (n, columns): one margin of two classes becomes a margin for each."""
        if scores.ndim == 2:
            return scores
        return np.stack([-scores, scores], axis=1) if self.method == "decision_function" else scores[:, None]

    def output(self, name: str, hints: ConversionHints) -> Output:
        """The model's output as the manifest tells it. Raises InvalidOptionsError when the labels do not fit."""
        if not self.classes:
            return Output(name=name, task=Task.REGRESSION, unit=hints.unit)
        labels = display_names(self.classes, hints.labels, hints.renamed)
        if len(hints.classes) == len(labels):
            # The names that the truth has, where the model only counts its classes.
            refuse_other_order(hints.classes, labels)
        if len(labels) != len(self.classes):
            raise InvalidOptionsError(options=f"labels ({len(self.classes)} of them, for {', '.join(self.classes[:20])})")
        if self.method == "predict_proba":
            return Output(name=name, labels=labels, label_column=self.labelled)
        activation: Literal["sigmoid", "softmax"] = "sigmoid" if len(labels) == 2 else "softmax"
        return Output(name=name, labels=labels, activation=activation, label_column=self.labelled)


def inspect_estimator(model: Any) -> Estimator:
    """Read the facts off a fitted estimator. Raises ConversionError when it is none we can take."""
    original, bare = model, unwrapped(model)
    model, threshold = bare.model, bare.threshold
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
    decision = None if threshold is None else _rule(threshold)
    return Estimator(model=model, final=final, classes=classes, method=method, original=original, decision=decision)


def _rule(threshold: Threshold) -> ThresholdDecision:
    """A threshold as bands without anything between: on the probability of the second class, as it is served."""
    value = threshold.value if threshold.method == "predict_proba" else 0.5 * (1.0 + float(np.tanh(0.5 * threshold.value)))
    if threshold.positive:
        return ThresholdDecision(accept=value, reject=value)
    # The first class is answered from its own threshold on, the second only above what is left.
    return ThresholdDecision(accept=float(np.nextafter(1.0 - value, 2.0)), reject=1.0 - value)


def _votes(final: Any) -> bool:
    """A support vector machine's classes are voted for, and its probabilities are fitted beside: they part by nature."""
    return type(final).__name__ in ("SVC", "NuSVC") and hasattr(final, "predict_proba")


def _several_labels(model: Any, features: Any) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        said = np.asarray(model.predict(features[:1]))
    return said.ndim == 2 and said.shape[1] > 1


def _classes(model: Any) -> tuple[str, ...]:
    classes = getattr(model, "classes_", None)
    if classes is None:
        return ()
    if isinstance(classes, list):
        raise ConversionError(reason="it answers several questions at once; package one model for each")
    return tuple(label_text(value) for value in classes)


def parts_of(model: Any) -> list[Any]:
    """The estimator and everything inside it, outermost first."""
    found = [model]
    inside: list[Any] = [step for _, step in getattr(model, "steps", ())]
    inside += [entry[1] for entry in getattr(model, "transformers_", ())]
    inside += [entry[1] for entry in getattr(model, "transformer_list", ())]
    inside += list(getattr(model, "estimators_", ())) if hasattr(model, "final_estimator_") else []
    for part in inside:
        if not isinstance(part, str):
            found += parts_of(part)
    return found


def one_line(cause: BaseException) -> str:
    """The first line of a complaint, short enough for a sentence."""
    return f"{type(cause).__name__}: {str(cause).strip().splitlines()[0][:200] if str(cause).strip() else 'no reason given'}"
