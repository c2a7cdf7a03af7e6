"""A fitted model in plain words, said by the libraries that wrote it: names, numbers, texts and arrays, and no code.

    model ─ spell_out ─► JSON, arrays beside it          read again by `spelled`, which rebuilds what our own graphs need

For Pythons from 3.7 on, like the child that loads it.
"""

from __future__ import annotations

import math
from typing import Any

_DEEPEST = 40


class UnsupportedError(Exception):
    """It cannot be done, in words for a person."""


def width(model: Any) -> int:
    """How many features a fitted model takes. Raises Unable."""
    for thing in [model] + [step for _, step in getattr(model, "steps", ())]:
        for name in ("n_features_in_", "n_features_"):
            if isinstance(getattr(thing, name, None), int) or hasattr(getattr(thing, name, None), "__index__"):
                return int(getattr(thing, name))
        for name, axis in (("coef_", -1), ("support_vectors_", 1), ("theta_", 1), ("sigma_", 1), ("mean_", 0), ("scale_", 0)):
            array: Any = getattr(thing, name, None)
            if getattr(array, "ndim", 0) > max(axis, 0):
                return int(array.shape[axis])
    raise UnsupportedError("the model does not tell how many features it takes; give --samples")


class _Serializer:
    """Turns fitted objects into JSON with numbered arrays beside it; lives as long as the process."""

    def __init__(self) -> None:
        self.parts: list[Any] = []
        self.size = 0

    def spell(self, thing: Any, depth: int = 0) -> Any:
        """Numbers, texts, arrays, lists, dicts and objects of the libraries; what is none of these is left out (None)."""
        import numpy as np

        if depth > _DEEPEST:
            raise UnsupportedError("it is nested too deep")
        if isinstance(thing, np.generic):
            thing = thing.item()
        if thing is None or isinstance(thing, (bool, int, str)):
            return thing
        if isinstance(thing, float):
            return thing if math.isfinite(thing) else {"is": "float", "text": repr(thing)}
        return self._array(thing, depth) if isinstance(thing, np.ndarray) else self._container(thing, depth)

    def _container(self, thing: Any, depth: int) -> Any:
        if isinstance(thing, (list, tuple)):
            return {"is": "list", "items": [self.spell(item, depth + 1) for item in thing]}
        if isinstance(thing, dict):
            named = {name: self.spell(value, depth + 1) for name, value in thing.items() if isinstance(name, str)}
            return {"is": "dict", "items": named}
        if type(thing).__module__.partition(".")[0] == "sklearn":
            return self._object(thing, depth)
        return None

    def _array(self, array: Any, depth: int) -> Any:
        if array.dtype.kind in "biuf":
            data = array.astype("<f8" if array.dtype.kind == "f" else "<i8").tobytes()
            told = {"is": "array", "at": self.size, "shape": list(array.shape), "float": array.dtype.kind == "f"}
            self.parts.append(data)
            self.size += len(data)
            return told
        if array.dtype.kind in "UO":
            items = [self.spell(item, depth + 1) for item in array.ravel().tolist()]
            return {"is": "objects", "items": items, "shape": list(array.shape)}
        return None

    def _object(self, thing: Any, depth: int) -> Any:
        name = type(thing).__name__
        if name == "Tree":
            told = {key: getattr(thing, key) for key in ("children_left", "children_right", "feature", "threshold", "value")}
        else:
            told = dict(getattr(thing, "__dict__", {}))
        if name.startswith("GradientBoosting"):
            told["start"] = _start(thing)
        return {"is": "object", "name": name, "has": {key: self.spell(value, depth + 1) for key, value in told.items()}}


def _start(model: Any) -> Any:
    """What a boosting adds its trees to, where that is the same for every row; else None."""
    import numpy as np

    ask = getattr(model, "_raw_predict_init", None) or getattr(model, "_init_decision_function", None)
    if ask is None:
        return None
    rows = np.stack([np.zeros(width(model)), np.full(width(model), 3.0)]).astype(np.float32)
    found = np.asarray(ask(rows), dtype=np.float64)
    return found[0] if np.array_equal(found[0], found[1]) else None


def serialize(vectorizer: Any, model: Any) -> tuple[Any, ...]:
    """The two as JSON, and the bytes of the arrays that it names by their place. Raises Unable."""
    speller = _Serializer()
    spelled = {"vectorizer": speller.spell(vectorizer), "model": speller.spell(model), "width": _width_or_none(model)}
    return spelled, b"".join(speller.parts)


def _width_or_none(model: Any) -> Any:
    try:
        return width(model)
    except UnsupportedError:
        return None
