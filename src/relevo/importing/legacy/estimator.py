"""A model that the libraries of its time spelled out in plain words, rebuilt as far as our own exact graphs need it.

    Answered ─ spelling (JSON), arrays ─► stand-ins with the names and numbers of the fitted objects ─► linear | trees ─► Converted
             └ the original's answers ─► what the stand-in says when it is asked

For models that today's library cannot load, or would read with another meaning. Nothing here runs any code of the file: a
stand-in is a name, numbers and texts.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from relevo.converters.base import ConversionResult
from relevo.converters.graphs.linear import read_linear
from relevo.converters.graphs.trees import read_ensemble
from relevo.converters.sklearn.convert import convert_sklearn
from relevo.converters.sklearn.dict_vectorizer import convert_dictvectorizer
from relevo.errors import ConversionError
from relevo.importing.sandbox import protocol
from relevo.package.conversion import ConversionHints
from relevo.package.samples import RecordSamples, from_records

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from relevo.converters.options import ConversionOptions
    from relevo.package.samples import Samples

_LARGEST = 2**28  # numbers in one array


class FrozenEstimator:
    """Has the class name and the attributes of a fitted object, and answers what the original answered."""

    answers: NDArray[np.float64]

    def predict(self, rows: Any) -> NDArray[np.float64]:
        """The original's answers to the samples, in their order; nothing is computed."""
        del rows
        return self.answers[:, 0]


class _Probable(FrozenEstimator):
    def predict_proba(self, rows: Any) -> NDArray[np.float64]:
        del rows
        return self.answers


class _Deciding(FrozenEstimator):
    def decision_function(self, rows: Any) -> NDArray[np.float64]:
        del rows
        return self.answers


class _Vectorizing(FrozenEstimator):
    def transform(self, records: Any) -> Any:
        return records


_ASKED_BY = {"predict_proba": _Probable, "decision_function": _Deciding, "predict": FrozenEstimator}


def open_file(task: ConversionOptions, bodies: Sequence[bytes], samples: Samples | None) -> ConversionResult:
    """Convert an `Answered` frame, the first body. Raises ConversionError when no exact graph of ours knows the model."""
    frame = next(iter(protocol.frames(bodies[0], protocol.LegacyOutputsMessage)))
    outputs, records, spelling, arrays = frame.bodies
    given = samples if samples is not None else from_records(msgspec.json.decode(records))
    told = msgspec.json.decode(spelling)
    reader = _Reader(arrays)
    model = reader.read(told["model"], _ASKED_BY[frame.header.method])
    _finish(model, told["width"], protocol.numbers_in(outputs, frame.header.outputs))
    _refuse_unless_exact(model, task.source)
    hints = ConversionHints(labels=task.labels, renamed=task.renamed, features=task.features, unit=task.unit)
    if samples is None and isinstance(given, RecordSamples) and not hints.features:
        # Made up in the model's own order.
        hints = replace(hints, features=given.names)
    if told["vectorizer"] is None:
        converted = convert_sklearn(model, given, hints)
    else:
        converted = convert_dictvectorizer((reader.read(told["vectorizer"], _Vectorizing), model), given, hints)
    return ConversionResult(converted=replace(converted, framework=task.source), samples=given, generated=samples is None)


def _finish(model: Any, width: int | None, answers: NDArray[np.float64]) -> None:
    """What today's code asks of a model and older releases called otherwise."""
    if not isinstance(model, FrozenEstimator):
        raise ConversionError(reason="the libraries of its time do not tell what the model is made of")
    model.answers = answers
    facts = vars(model)
    if width is not None:
        facts["n_features_in_"] = width
    if facts.get("classes_", ()) is None:
        # A regression's, before 0.22.
        del facts["classes_"]
    start = facts.pop("start", None)
    if isinstance(start, np.ndarray):
        facts.update(init_="constant", _raw_predict_init=lambda _rows: start[None, :])


def _refuse_unless_exact(model: Any, source: str) -> None:
    try:
        known = read_linear(model) is not None or read_ensemble(model) is not None
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as cause:
        raise ConversionError(reason=f"its {type(model).__name__} is not built as expected ({type(cause).__name__})") from cause
    if not known:
        raise ConversionError(
            reason=f"today's library does not read this {type(model).__name__} of {source or 'another time'}, and of "
            "such only linear models, trees, forests and gradient boostings can be converted. Fit it again with a newer release"
        )


class _Reader:
    """Rebuilds what was spelled; lives as long as one conversion."""

    def __init__(self, arrays: bytes) -> None:
        self._arrays = arrays

    def read(self, told: Any, outermost: type[FrozenEstimator] = FrozenEstimator) -> Any:
        """A stand-in, an array, a list, a dict or a plain value."""
        if not isinstance(told, dict):
            return told
        kind = told["is"]
        if kind == "float":
            return float(told["text"])
        return self._object(told, outermost) if kind == "object" else self._container(kind, told)

    def _container(self, kind: str, told: dict[str, Any]) -> Any:
        if kind == "list":
            return [self.read(item) for item in told["items"]]
        if kind == "dict":
            return {name: self.read(item) for name, item in told["items"].items()}
        if kind == "array":
            return self._array(told)
        return self._objects(told)

    def _object(self, told: dict[str, Any], outermost: type[FrozenEstimator]) -> FrozenEstimator:
        stand_in: FrozenEstimator = type(str(told["name"]), (outermost,), {})()
        for name, value in told["has"].items():
            vars(stand_in)[name] = self.read(value)
        return stand_in

    def _array(self, told: dict[str, Any]) -> NDArray[Any]:
        shape = tuple(told["shape"])
        count = math.prod(shape)
        if not 0 <= count <= _LARGEST:
            raise ConversionError(reason="an array of it is larger than any honest model's")
        return np.frombuffer(self._arrays, "<f8" if told["float"] else "<i8", count, told["at"]).reshape(shape).copy()

    def _objects(self, told: dict[str, Any]) -> NDArray[Any]:
        items = np.empty(len(told["items"]), dtype=object)
        for place, item in enumerate(told["items"]):
            items[place] = self.read(item)
        return items.reshape(tuple(told["shape"]))
