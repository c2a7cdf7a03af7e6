"""LightGBM's models: its text read by ourselves, and answered by the library that reads the same text.

text ─┬─ read_text ─► to_ensemble ─► our graph
      └─ lightgbm.Booster ─► the original's answers
JSON dump ─► refused: neither the library nor anybody else can load it whole
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from relevo.converters.boosting.booster import Read
from relevo.converters.boosting.files import open_booster
from relevo.converters.boosting.lightgbm_text import Told, features_with_missing, read_text, thresholds, to_ensemble
from relevo.converters.sklearn.estimator import one_line
from relevo.errors import ConversionError, MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from relevo.converters.base import ConversionResult
    from relevo.converters.boosting.booster import Scale
    from relevo.converters.graphs.trees import Ensemble
    from relevo.converters.options import ConversionOptions
    from relevo.package.samples import Samples


#: As a person writes it.
NAME = "LightGBM"


def release() -> str:
    """The version that is installed. Raises MissingDependencyError."""
    return str(_library().__version__)


def open_file(task: ConversionOptions, bodies: Sequence[bytes], samples: Samples | None) -> ConversionResult:
    """A LightGBM text as a conversion. Raises InvalidOptionsError, ConversionError, MissingDependencyError."""
    return open_booster(task, read_file(bodies[0], task.rounds), samples)


def read_file(data: bytes, rounds: int = 0) -> Read:
    """The model in a text. Raises ConversionError, MissingDependencyError."""
    told = read_text(data)
    body = to_ensemble(told, rounds)
    library = _library()
    try:
        booster = library.Booster(model_str=data.decode("utf-8", "replace"))
    except library.basic.LightGBMError as cause:
        raise ConversionError(reason=f"LightGBM {library.__version__} cannot load it ({one_line(cause)})") from cause
    return _read(told, body, _asking(booster, told, rounds), library)


def _read(told: Told, body: Ensemble, ask: Callable[..., NDArray[np.float64]], library: Any) -> Read:
    places = {name: place for place, name in enumerate(told.names)}
    return Read(
        framework=f"LightGBM (text {told.version})",
        names=told.names,
        classes=told.classes,
        body=body,
        ask=ask,
        thresholds={places[name]: splits for name, splits in thresholds(told).items()},
        optional=frozenset(places[name] for name in features_with_missing(told)),
        library={"lightgbm": str(library.__version__)},
    )


def _library() -> Any:
    try:
        import lightgbm
    except ImportError as cause:
        raise MissingDependencyError(extra="lightgbm") from cause
    return lightgbm


def _asking(booster: Any, told: Told, rounds: int) -> Callable[..., NDArray[np.float64]]:
    """The library's answers; of an old forest its raw sums, averaged as the release did that wrote it."""

    def ask(matrix: NDArray[np.float64], scale: Scale) -> NDArray[np.float64]:
        taken = {"num_iteration": rounds} if rounds else {}
        old = not told.links_average
        raw = scale == "margin" or old
        # One thread: the quarantine gives no others.
        said = np.asarray(booster.predict(matrix, raw_score=raw, num_threads=1, **taken), dtype=np.float64)
        return said / ((rounds or len(told.trees) // told.columns) if told.averaged and raw else 1)

    return ask


# --- live models ------------------------------------------------------------------------------------------------------


def from_booster(booster: Any) -> Read:
    """A live Booster; of an early-stopped one the rounds up to its best, as it answers itself."""
    told = read_text(booster.model_to_string().encode())
    return _read(told, to_ensemble(told), _asking(booster, told, 0), _library())


def structure_of_fitted(model: Any) -> Ensemble:
    """The trees of a fitted model with scikit-learn's face."""
    return to_ensemble(read_text(model.booster_.model_to_string().encode()))
