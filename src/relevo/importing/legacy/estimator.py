"""Rebuilds a model that the legacy worker serialized, as far as Relevo's own exact converters need it.

    LegacyOutputsMessage ─ document (JSON), arrays ─► FrozenEstimators with the fitted attributes ─► linear | trees ─► ConvertedModel
                         └ the original's outputs ─► what a FrozenEstimator predicts

For models that the current library cannot load, or would interpret differently. No code of the file runs here: a FrozenEstimator
is a name, numbers and texts.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from relevo.converters.base import ConversionRequest, ConversionResult
from relevo.converters.graphs.linear import read_linear
from relevo.converters.graphs.trees import read_ensemble
from relevo.converters.sklearn.convert import convert_sklearn
from relevo.converters.sklearn.dict_vectorizer import convert_dictvectorizer
from relevo.errors import ConversionError
from relevo.importing.sandbox import protocol
from relevo.package.samples import RecordSamples, from_records

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from relevo.package.samples import Samples

_MAX_ARRAY_SIZE = 2**28  # values in one array


class FrozenEstimator:
    """Has the class name and the attributes of a fitted object, and predicts the outputs of the original."""

    outputs: NDArray[np.float64]

    def predict(self, rows: Any) -> NDArray[np.float64]:
        """Return the original's outputs for the samples, in their order; computes nothing."""
        del rows
        return self.outputs[:, 0]


class _ProbabilityEstimator(FrozenEstimator):
    def predict_proba(self, rows: Any) -> NDArray[np.float64]:
        del rows
        return self.outputs


class _DecisionFunctionEstimator(FrozenEstimator):
    def decision_function(self, rows: Any) -> NDArray[np.float64]:
        del rows
        return self.outputs


class _FrozenVectorizer(FrozenEstimator):
    def transform(self, records: Any) -> Any:
        return records


_ESTIMATOR_BY_METHOD = {
    "predict_proba": _ProbabilityEstimator,
    "decision_function": _DecisionFunctionEstimator,
    "predict": FrozenEstimator,
}


def open_file(request: ConversionRequest, bodies: Sequence[bytes], samples: Samples | None) -> ConversionResult:
    """Convert a `LegacyOutputsMessage` frame, the first body. Raises ConversionError when no exact converter knows the model."""
    frame = next(iter(protocol.frames(bodies[0], protocol.LegacyOutputsMessage)))
    outputs, records, document_bytes, arrays = frame.bodies
    used_samples = samples if samples is not None else from_records(msgspec.json.decode(records))
    document = msgspec.json.decode(document_bytes)
    reader = _Deserializer(arrays)
    model = reader.read(document["model"], _ESTIMATOR_BY_METHOD[frame.header.method])
    _complete_attributes(model, document["width"], protocol.decode_matrix(outputs, frame.header.outputs))
    _require_exact_converter(model, request.source)
    options = request.options
    if samples is None and isinstance(used_samples, RecordSamples) and not options.features:
        # Generated in the model's own column order.
        options = replace(options, features=used_samples.names)
    if document["vectorizer"] is None:
        converted = convert_sklearn(model, used_samples, options)
    else:
        converted = convert_dictvectorizer((reader.read(document["vectorizer"], _FrozenVectorizer), model), used_samples, options)
    return ConversionResult(converted=replace(converted, framework=request.source), samples=used_samples, generated=samples is None)


def _complete_attributes(model: Any, feature_count: int | None, outputs: NDArray[np.float64]) -> None:
    """Set the attributes that the converters read and older releases named differently."""
    if not isinstance(model, FrozenEstimator):
        raise ConversionError(reason="the libraries of its time do not tell what the model is made of")
    model.outputs = outputs
    attributes = vars(model)
    if feature_count is not None:
        attributes["n_features_in_"] = feature_count
    if attributes.get("classes_", ()) is None:
        # A regression before 0.22 has classes_ = None.
        del attributes["classes_"]
    initial = attributes.pop("start", None)
    if isinstance(initial, np.ndarray):
        attributes.update(init_="constant", _raw_predict_init=lambda _rows: initial[None, :])


def _require_exact_converter(model: Any, source: str) -> None:
    try:
        known = read_linear(model) is not None or read_ensemble(model) is not None
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as cause:
        raise ConversionError(reason=f"its {type(model).__name__} is not built as expected ({type(cause).__name__})") from cause
    if not known:
        raise ConversionError(
            reason=f"today's library does not read this {type(model).__name__} of {source or 'another time'}, and of "
            "such only linear models, trees, forests and gradient boostings can be converted. Fit it again with a newer release"
        )


class _Deserializer:
    """Rebuilds the serialized objects. Lifetime: one conversion."""

    def __init__(self, arrays: bytes) -> None:
        self._arrays = arrays

    def read(self, entry: Any, base: type[FrozenEstimator] = FrozenEstimator) -> Any:
        """Return a FrozenEstimator, an array, a list, a dict or a plain value."""
        if not isinstance(entry, dict):
            return entry
        kind = entry["is"]
        if kind == "float":
            return float(entry["text"])
        return self._object(entry, base) if kind == "object" else self._container(kind, entry)

    def _container(self, kind: str, entry: dict[str, Any]) -> Any:
        if kind == "list":
            return [self.read(item) for item in entry["items"]]
        if kind == "dict":
            return {name: self.read(item) for name, item in entry["items"].items()}
        if kind == "array":
            return self._array(entry)
        return self._objects(entry)

    def _object(self, entry: dict[str, Any], base: type[FrozenEstimator]) -> FrozenEstimator:
        estimator: FrozenEstimator = type(str(entry["name"]), (base,), {})()
        for name, value in entry["has"].items():
            vars(estimator)[name] = self.read(value)
        return estimator

    def _array(self, entry: dict[str, Any]) -> NDArray[Any]:
        shape = tuple(entry["shape"])
        count = math.prod(shape)
        if not 0 <= count <= _MAX_ARRAY_SIZE:
            raise ConversionError(reason="an array of it is larger than any honest model's")
        return np.frombuffer(self._arrays, "<f8" if entry["float"] else "<i8", count, entry["at"]).reshape(shape).copy()

    def _objects(self, entry: dict[str, Any]) -> NDArray[Any]:
        items = np.empty(len(entry["items"]), dtype=object)
        for index, item in enumerate(entry["items"]):
            items[index] = self.read(item)
        return items.reshape(tuple(entry["shape"]))
