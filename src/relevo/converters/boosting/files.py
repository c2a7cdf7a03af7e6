"""A booster's file: what a person must still tell, samples where there are none, and the conversion.

    ConversionOptions, Read ─ labels? features? ─► Boosting ─┐
    samples, or rows about the thresholds ──────┴─ convert_sklearn ─► Done

A file without samples is asked where its answers change: on both sides of its own thresholds, and with values missing.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from relevo.converters.base import ConversionResult
from relevo.converters.boosting.booster import BoosterEstimator, MarginEstimator, Read
from relevo.converters.graphs.linear import Linear
from relevo.converters.onnx_options import ask_for_kind, picture_hints
from relevo.converters.sklearn.convert import convert_sklearn
from relevo.converters.sklearn.input_layouts import order_missing
from relevo.errors import InvalidOptionsError
from relevo.package.conversion import ConversionHints
from relevo.package.samples import RecordSamples, normalize_samples
from relevo.package.synthetic_samples import generate_samples

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from relevo.converters.options import ConversionOptions
    from relevo.package.samples import Samples

ROWS = 256
#: What the libraries call features that nobody named.
_COUNTED = re.compile(r"(f|Column_)\d+")
_MISSING = 0.1  # share of absent values in samples that we make


def open_booster(task: ConversionOptions, read: Read, samples: Samples | None) -> ConversionResult:
    """A file's booster as a conversion. Raises InvalidOptionsError naming every missing flag, ConversionError, MissingDependencyError."""
    _ask_for(task, read)
    kind = MarginEstimator if task.output == "margin" else BoosterEstimator
    model = kind(read, features=task.features)
    hints = ConversionHints(
        labels=task.labels,
        renamed=task.renamed,
        features=task.features,
        scale=task.scale if task.told else None,
        unit=task.unit,
    )
    if all(_COUNTED.fullmatch(name) for name in read.names):
        ask_for_kind(int(getattr(model, "n_features_in_", 0)), task, samples)
        _ask_for_order(task, read, samples)
    if task.kind == "image":
        hints = picture_hints(model, task, hints)
    given = samples if samples is not None else _made(model) if hints.input is None else generate_samples(hints.input)
    converted = convert_sklearn(model, given, hints)
    tools = {**read.library, **converted.converter}
    outputs = converted.outputs if read.proved else None
    return ConversionResult(
        converted=replace(converted, converter=tools, outputs=outputs), samples=given, generated=samples is None
    )


def _ask_for(task: ConversionOptions, read: Read) -> None:
    asked = []
    if read.classes and len(task.labels or task.renamed) != read.classes:
        guess = ",".join(str(number) for number in range(min(read.classes, 20)))
        asked.append(
            f"--labels ({read.classes} of them, in the order of the model's classes; --labels {guess} where they have no names)"
        )
    if task.features and len(task.features) != len(read.names):
        asked.append(f"--features ({len(read.names)} of them, in the order of the model's features)")
    if task.output not in ("", "margin"):
        asked.append("--output margin, or none of it: a booster answers with probabilities or values, or with the raw score")
    if asked:
        raise InvalidOptionsError(options="; ".join(asked))


def _ask_for_order(task: ConversionOptions, read: Read, samples: Samples | None) -> None:
    """Records tell no order, and a file without names neither. Raises InvalidOptionsError."""
    if task.features or not isinstance(samples, RecordSamples) or samples.table is not None:
        return
    if not set(samples.names) & set(read.names):
        raise order_missing(samples)


def _made(model: BoosterEstimator) -> Samples:
    """Rows on both sides of the model's thresholds and on them, the same each time."""
    draw = np.random.default_rng(0)
    columns = [_column(model.read, place, draw) for place in range(model.n_features_in_)]
    return normalize_samples(np.stack(columns, axis=1), [str(name) for name in model.feature_names_in_])


def _column(read: Read, place: int, draw: np.random.Generator) -> NDArray[np.float64]:
    splits = np.array(sorted(set(read.thresholds.get(place, ()))) or [0.0])
    known = splits[np.isfinite(splits)]
    single = isinstance(read.body, Linear) or read.body.single
    at = draw.choice(known if len(known) else np.zeros(1), ROWS)
    kind = np.float32 if single else np.float64
    exact = at.astype(kind)
    near = np.where(draw.random(ROWS) < 0.5, np.nextafter(exact, kind(np.inf)), np.nextafter(exact, kind(-np.inf)))
    spread = at + draw.normal(size=ROWS) * draw.choice((0.1, 1.0, 10.0, 100.0), ROWS)
    which = draw.integers(0, 4, ROWS)
    values: NDArray[np.float64] = np.choose(which, (exact, near, np.round(spread, 3), np.round(at))).astype(np.float64)
    if place in read.optional:
        values[draw.random(ROWS) < _MISSING] = np.nan
    return values
