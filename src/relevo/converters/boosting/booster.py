"""Common interface of XGBoost and LightGBM models, so that they are converted like scikit-learn estimators.

file ─ xgboost | lightgbm ─► ParsedBooster(structure, predict) ─► BoosterEstimator ─┐
live Booster ─────────────────────► the same ───────────────────────────────────────┼─► convert_sklearn: layouts, exact graph, parity
XGBClassifier, LGBMRegressor, … in a pipeline ─ model_structure ────────────────────┘
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from relevo.converters.graphs.linear import Linear
from relevo.errors import InvalidOptionsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from relevo.converters.graphs.trees import Ensemble

Scale = Literal["answer", "margin"]
_READERS = {"xgboost": "relevo.converters.boosting.xgboost", "lightgbm": "relevo.converters.boosting.lightgbm"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedBooster:
    """A parsed booster. Lifetime: one conversion."""

    framework: str  # library that wrote it, if the file says so: "XGBoost 2.0.3"
    names: tuple[str, ...]  # feature names
    classes: int  # 0 for a regression
    structure: Ensemble | Linear
    #: The original's predictions for (n, features), as (n,) or (n, columns): with the link applied, or the margin before it.
    predict: Callable[[NDArray[np.float64], Scale], NDArray[np.float64]]
    #: Feature index → values at which the prediction may change.
    thresholds: Mapping[int, Sequence[float]] = field(default_factory=dict)
    optional: frozenset[int] = frozenset()  # indices of features that may be missing
    proved: bool = True  # whether `predict` runs the original library on the original model
    library: dict[str, str] = field(default_factory=dict)  # library that reads it now → version


class BoosterEstimator:
    """A booster with the interface of a scikit-learn estimator. Lifetime: one conversion."""

    def __init__(self, parsed: ParsedBooster, *, features: Sequence[str] = ()) -> None:
        """Wraps a parsed booster. features: names instead of its own. Raises InvalidOptionsError when their number differs."""
        if features and len(features) != len(parsed.names):
            raise InvalidOptionsError(options=f"--features ({len(parsed.names)} of them, in the order of the model's features)")
        self.parsed = parsed
        self.framework = parsed.framework
        self.n_features_in_ = len(parsed.names)
        self.feature_names_in_ = np.array(features or parsed.names, dtype=object)
        if parsed.classes:
            self.classes_ = np.array([str(number) for number in range(parsed.classes)], dtype=object)
            self.predict_proba = self._probabilities

    def predict(self, table: Any) -> NDArray[np.float64]:
        """The value of each row."""
        return self.parsed.predict(_matrix(table), "answer")

    def _probabilities(self, table: Any) -> NDArray[np.float64]:
        """The probability of each class for each row."""
        predicted = self.parsed.predict(_matrix(table), "answer")
        return np.stack([1.0 - predicted, predicted], axis=1) if predicted.ndim == 1 else predicted


class MarginEstimator(BoosterEstimator):
    """A booster that predicts raw scores, before the link function."""

    def __init__(self, parsed: ParsedBooster, *, features: Sequence[str] = ()) -> None:
        """Wraps a parsed booster without its link; for two classes the raw score is that of the second."""
        super().__init__(replace(parsed, structure=_unlinked(parsed)), features=features)
        if parsed.classes:
            del self.predict_proba
            self.decision_function = self.predict

    def predict(self, table: Any) -> NDArray[np.float64]:
        """The raw score of each row."""
        return self.parsed.predict(_matrix(table), "margin")


def _matrix(table: Any) -> Any:
    return table if hasattr(table, "tocsr") else np.asarray(table, dtype=np.float64)


def _unlinked(parsed: ParsedBooster) -> Ensemble | Linear:
    if parsed.structure.link == "Sigmoid" and parsed.classes > 2:
        raise InvalidOptionsError(options="no --output margin: this model's classes are asked one against the rest")
    ensemble = None if isinstance(parsed.structure, Linear) else parsed.structure
    if ensemble is not None and ensemble.link == "Sigmoid" and ensemble.divisor < 1.0 and parsed.classes:
        raise InvalidOptionsError(options="no --output margin: this model's raw score is not the one its probabilities are made of")
    return replace(parsed.structure, link="")


# --- live models, and the last steps of pipelines ---------------------------------------------------------------------


def reader_for(model: Any) -> str:
    """Name of the module that reads this live model; empty when it is no booster."""
    return _READERS.get(type(model).__module__.partition(".")[0], "")


def model_structure(model: Any) -> Ensemble | Linear | None:
    """Trees or weights of a booster; None for other models. Raises ConversionError when they cannot be converted."""
    if isinstance(model, BoosterEstimator):
        return model.parsed.structure
    reader = _reader_module(model)
    if reader is None:
        return None
    structure: Ensemble | Linear = reader.structure_of_fitted(model)
    return structure


def _reader_module(model: Any) -> Any:
    from importlib import import_module

    name = reader_for(model)
    return import_module(name) if name else None


def is_booster(model: Any) -> bool:
    """Whether the model is a booster; does not read it."""
    return isinstance(model, BoosterEstimator) or bool(reader_for(model))


def has_original_outputs(model: Any) -> bool:
    """Whether the model is a booster whose own library computes its predictions."""
    return isinstance(model, BoosterEstimator) and model.parsed.proved


def framework_of(model: Any) -> str:
    """Library of a booster and its version; empty for other models."""
    if isinstance(model, BoosterEstimator):
        return model.framework
    reader = _reader_module(model)
    return "" if reader is None else f"{reader.NAME} {reader.release()}"


def as_estimator(model: Any) -> Any:
    """Wraps a bare Booster as an estimator; returns other models unchanged."""
    reader = _reader_module(model)
    if reader is None or type(model).__name__ != "Booster":
        return model
    return BoosterEstimator(reader.from_booster(model))
