"""Serializes a fitted model with the libraries that wrote it: names, numbers, texts and arrays as JSON, and no code.

    model ─ serialize ─► JSON and arrays ─► `legacy.estimator` rebuilds what Relevo's own converters read

Runs under Python 3.7 and later, like the legacy worker that imports it.
"""

from __future__ import annotations

import math
from typing import Any

_MAX_DEPTH = 40


class UnsupportedError(Exception):
    """The model cannot be used; the message is for the user."""


def feature_count(model: Any) -> int:
    """Return how many features a fitted model takes. Raises UnsupportedError."""
    for step in [model] + [step for _, step in getattr(model, "steps", ())]:
        for name in ("n_features_in_", "n_features_"):
            if isinstance(getattr(step, name, None), int) or hasattr(getattr(step, name, None), "__index__"):
                return int(getattr(step, name))
        for name, axis in (("coef_", -1), ("support_vectors_", 1), ("theta_", 1), ("sigma_", 1), ("mean_", 0), ("scale_", 0)):
            array: Any = getattr(step, name, None)
            if getattr(array, "ndim", 0) > max(axis, 0):
                return int(array.shape[axis])
    raise UnsupportedError("the model does not tell how many features it takes; give --samples")


class _Serializer:
    """Converts fitted objects to JSON with arrays stored separately. Lifetime: the process."""

    def __init__(self) -> None:
        self.chunks: list[Any] = []
        self.size = 0

    def serialize(self, value: Any, depth: int = 0) -> Any:
        """Serialize numbers, texts, arrays, lists, dicts and scikit-learn objects; anything else becomes None."""
        import numpy as np

        if depth > _MAX_DEPTH:
            raise UnsupportedError("it is nested too deep")
        if isinstance(value, np.generic):
            value = value.item()
        if value is None or isinstance(value, (bool, int, str)):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else {"is": "float", "text": repr(value)}
        return self._array(value, depth) if isinstance(value, np.ndarray) else self._container(value, depth)

    def _container(self, value: Any, depth: int) -> Any:
        if isinstance(value, (list, tuple)):
            return {"is": "list", "items": [self.serialize(item, depth + 1) for item in value]}
        if isinstance(value, dict):
            named = {name: self.serialize(item, depth + 1) for name, item in value.items() if isinstance(name, str)}
            return {"is": "dict", "items": named}
        if type(value).__module__.partition(".")[0] == "sklearn":
            return self._object(value, depth)
        return None

    def _array(self, array: Any, depth: int) -> Any:
        if array.dtype.kind in "biuf":
            data = array.astype("<f8" if array.dtype.kind == "f" else "<i8").tobytes()
            entry = {"is": "array", "at": self.size, "shape": list(array.shape), "float": array.dtype.kind == "f"}
            self.chunks.append(data)
            self.size += len(data)
            return entry
        if array.dtype.kind in "UO":
            items = [self.serialize(item, depth + 1) for item in array.ravel().tolist()]
            return {"is": "objects", "items": items, "shape": list(array.shape)}
        return None

    def _object(self, value: Any, depth: int) -> Any:
        name = type(value).__name__
        if name == "Tree":
            entry = {key: getattr(value, key) for key in ("children_left", "children_right", "feature", "threshold", "value")}
        else:
            entry = dict(getattr(value, "__dict__", {}))
        if name.startswith("GradientBoosting"):
            entry["start"] = _initial_prediction(value)
        return {"is": "object", "name": name, "has": {key: self.serialize(item, depth + 1) for key, item in entry.items()}}


def _initial_prediction(model: Any) -> Any:
    """Return the initial prediction of a boosting model where it is the same for every row; else None."""
    import numpy as np

    predict_initial = getattr(model, "_raw_predict_init", None) or getattr(model, "_init_decision_function", None)
    if predict_initial is None:
        return None
    rows = np.stack([np.zeros(feature_count(model)), np.full(feature_count(model), 3.0)]).astype(np.float32)
    initial = np.asarray(predict_initial(rows), dtype=np.float64)
    return initial[0] if np.array_equal(initial[0], initial[1]) else None


def serialize(vectorizer: Any, model: Any) -> tuple[Any, ...]:
    """Return both as JSON, and the bytes of the arrays that the JSON refers to by offset. Raises UnsupportedError."""
    serializer = _Serializer()
    document = {
        "vectorizer": serializer.serialize(vectorizer),
        "model": serializer.serialize(model),
        "width": _feature_count_or_none(model),
    }
    return document, b"".join(serializer.chunks)


def _feature_count_or_none(model: Any) -> Any:
    try:
        return feature_count(model)
    except UnsupportedError:
        return None
