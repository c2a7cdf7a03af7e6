"""Converts LightGBM models: our parser reads the text format, and the LightGBM library computes the reference predictions.

text ─┬─ read_text ─► to_ensemble ─► ONNX graph
      └─ lightgbm.Booster ─► the original's predictions
JSON dump ─► rejected: no library can load it completely
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from relevo.converters.boosting.booster import ParsedBooster
from relevo.converters.boosting.files import open_booster
from relevo.converters.boosting.lightgbm_text import LightGBMText, features_with_missing, read_text, thresholds, to_ensemble
from relevo.converters.sklearn.estimator import one_line
from relevo.errors import ConversionError, MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from relevo.converters.base import ConversionRequest, ConversionResult
    from relevo.converters.boosting.booster import Scale
    from relevo.converters.graphs.trees import Ensemble
    from relevo.package.samples import Samples


#: Display name.
NAME = "LightGBM"


def release() -> str:
    """The installed version. Raises MissingDependencyError."""
    return str(_library().__version__)


def open_file(request: ConversionRequest, bodies: Sequence[bytes], samples: Samples | None) -> ConversionResult:
    """Converts a LightGBM text file. Raises InvalidOptionsError, ConversionError, MissingDependencyError."""
    return open_booster(request.options, read_file(bodies[0], request.options.iterations), samples)


def read_file(data: bytes, rounds: int = 0) -> ParsedBooster:
    """Parses the model in a text file. Raises ConversionError, MissingDependencyError."""
    text = read_text(data)
    structure = to_ensemble(text, rounds)
    library = _library()
    try:
        booster = library.Booster(model_str=data.decode("utf-8", "replace"))
    except library.basic.LightGBMError as cause:
        raise ConversionError(reason=f"LightGBM {library.__version__} cannot load it ({one_line(cause)})") from cause
    return _to_parsed(text, structure, _predict_function(booster, text, rounds), library)


def _to_parsed(text: LightGBMText, structure: Ensemble, predict: Callable[..., NDArray[np.float64]], library: Any) -> ParsedBooster:
    indices = {name: index for index, name in enumerate(text.names)}
    return ParsedBooster(
        framework=f"LightGBM (text {text.version})",
        names=text.names,
        classes=text.classes,
        structure=structure,
        predict=predict,
        thresholds={indices[name]: splits for name, splits in thresholds(text).items()},
        optional=frozenset(indices[name] for name in features_with_missing(text)),
        library={"lightgbm": str(library.__version__)},
    )


def _library() -> Any:
    try:
        import lightgbm
    except ImportError as cause:
        raise MissingDependencyError(extra="lightgbm") from cause
    return lightgbm


def _predict_function(booster: Any, text: LightGBMText, rounds: int) -> Callable[..., NDArray[np.float64]]:
    """Returns the library's predict function; for an old forest it averages the raw sums, as the release that wrote it did."""

    def predict(matrix: NDArray[np.float64], scale: Scale) -> NDArray[np.float64]:
        options = {"num_iteration": rounds} if rounds else {}
        averages_probabilities = not text.links_average
        raw = scale == "margin" or averages_probabilities
        # One thread: the sandbox does not allow more.
        predicted = np.asarray(booster.predict(matrix, raw_score=raw, num_threads=1, **options), dtype=np.float64)
        return predicted / ((rounds or len(text.trees) // text.columns) if text.averaged and raw else 1)

    return predict


# --- live models ------------------------------------------------------------------------------------------------------


def from_booster(booster: Any) -> ParsedBooster:
    """Parses a live Booster; of an early-stopped one the rounds up to the best, like its own predict."""
    text = read_text(booster.model_to_string().encode())
    return _to_parsed(text, to_ensemble(text), _predict_function(booster, text, 0), _library())


def structure_of_fitted(model: Any) -> Ensemble:
    """The trees of a fitted model with the scikit-learn interface."""
    return to_ensemble(read_text(model.booster_.model_to_string().encode()))
