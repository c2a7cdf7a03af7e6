"""XGBoost's and LightGBM's models: read as trees of ours, asked as themselves, converted like any estimator.

file ─ xgboost | lightgbm ─► Read(body, ask) ─► Boosting ─┐
a live Booster ─────────────────► the same ───────────────┼─► convert_sklearn: layouts, exact graph, parity
XGBClassifier, LGBMRegressor, … in a pipeline ─ body_of ──┘
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
_HOUSES = {"xgboost": "relevo.converters.boosting.xgboost", "lightgbm": "relevo.converters.boosting.lightgbm"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A booster as it was read; lives as long as one conversion."""

    framework: str  # "XGBoost 2.0.3": what wrote it, as far as it tells
    names: tuple[str, ...]  # of the features
    classes: int  # 0 for a number
    body: Ensemble | Linear
    #: The original's answers to (n, features), as (n,) or (n, columns): with the link applied, or the margin before it.
    ask: Callable[[NDArray[np.float64], Scale], NDArray[np.float64]]
    #: By a feature's place, the numbers where an answer may change.
    thresholds: Mapping[int, Sequence[float]] = field(default_factory=dict)
    optional: frozenset[int] = frozenset()  # places of features that may be missing
    proved: bool = True  # whether `ask` is the original's own word
    library: dict[str, str] = field(default_factory=dict)  # who reads it here → version


class BoosterEstimator:
    """A booster that is asked like an estimator of scikit-learn; lives as long as one conversion."""

    def __init__(self, read: Read, *, features: Sequence[str] = ()) -> None:
        """Take what was read. features: other names than its own. Raises InvalidOptionsError when they do not fit."""
        if features and len(features) != len(read.names):
            raise InvalidOptionsError(options=f"--features ({len(read.names)} of them, in the order of the model's features)")
        self.read = read
        self.framework = read.framework
        self.n_features_in_ = len(read.names)
        self.feature_names_in_ = np.array(features or read.names, dtype=object)
        if read.classes:
            self.classes_ = np.array([str(number) for number in range(read.classes)], dtype=object)
            self.predict_proba = self._probabilities

    def predict(self, table: Any) -> NDArray[np.float64]:
        """The value of each row."""
        return self.read.ask(_matrix(table), "answer")

    def _probabilities(self, table: Any) -> NDArray[np.float64]:
        """A probability for each class of each row."""
        said = self.read.ask(_matrix(table), "answer")
        return np.stack([1.0 - said, said], axis=1) if said.ndim == 1 else said


class MarginEstimator(BoosterEstimator):
    """The same, answering with raw scores: what the link is applied to."""

    def __init__(self, read: Read, *, features: Sequence[str] = ()) -> None:
        """Take what was read; the body loses its link; one score of two classes is the second's."""
        super().__init__(replace(read, body=_unlinked(read)), features=features)
        if read.classes:
            del self.predict_proba
            self.decision_function = self.predict

    def predict(self, table: Any) -> NDArray[np.float64]:
        """The raw score of each row."""
        return self.read.ask(_matrix(table), "margin")


def _matrix(table: Any) -> Any:
    return table if hasattr(table, "tocsr") else np.asarray(table, dtype=np.float64)


def _unlinked(read: Read) -> Ensemble | Linear:
    if read.body.link == "Sigmoid" and read.classes > 2:
        raise InvalidOptionsError(options="no --output margin: this model's classes are asked one against the rest")
    ensemble = None if isinstance(read.body, Linear) else read.body
    if ensemble is not None and ensemble.link == "Sigmoid" and ensemble.divisor < 1.0 and read.classes:
        raise InvalidOptionsError(options="no --output margin: this model's raw score is not the one its probabilities are made of")
    return replace(read.body, link="")


# --- live models, and the last steps of pipelines ---------------------------------------------------------------------


def house_of(model: Any) -> str:
    """The module of ours that reads this live model; empty when it is no booster."""
    return _HOUSES.get(type(model).__module__.partition(".")[0], "")


def body_of(model: Any) -> Ensemble | Linear | None:
    """The trees or weights of a booster; None of anything else. Raises ConversionError when they cannot be written."""
    if isinstance(model, BoosterEstimator):
        return model.read.body
    house = _house(model)
    if house is None:
        return None
    body: Ensemble | Linear = house.structure_of_fitted(model)
    return body


def _house(model: Any) -> Any:
    from importlib import import_module

    name = house_of(model)
    return import_module(name) if name else None


def is_booster(model: Any) -> bool:
    """Whether `body_of` may have something to say, told without reading the model."""
    return isinstance(model, BoosterEstimator) or bool(house_of(model))


def answers_itself(model: Any) -> bool:
    """Whether it is a booster whose own library answers whatever it is asked."""
    return isinstance(model, BoosterEstimator) and model.read.proved


def framework_of(model: Any) -> str:
    """The library that made a booster, and its version; empty of anything else."""
    if isinstance(model, BoosterEstimator):
        return model.framework
    house = _house(model)
    return "" if house is None else f"{house.NAME} {house.release()}"


def as_estimator(model: Any) -> Any:
    """A bare Booster as something that is asked like an estimator; anything else as it is."""
    house = _house(model)
    if house is None or type(model).__name__ != "Booster":
        return model
    return BoosterEstimator(house.from_booster(model))
