"""Converts a booster's file: checks the options it still needs, generates samples if there are none, and converts it.

    ConversionOptions, ParsedBooster ─ labels? features? ─► BoosterEstimator ─┐
    samples, or rows around the thresholds ───────────────────────────────────┴─ convert_sklearn ─► ConversionResult

Without samples, rows are generated where predictions change: on both sides of the model's thresholds, and with missing values.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from relevo.converters.base import ConversionResult
from relevo.converters.boosting.booster import BoosterEstimator, MarginEstimator, ParsedBooster
from relevo.converters.graphs.linear import Linear
from relevo.converters.onnx_options import picture_hints, require_input_kind
from relevo.converters.sklearn.convert import convert_sklearn
from relevo.converters.sklearn.input_layouts import unknown_column_order
from relevo.errors import InvalidOptionsError
from relevo.package.conversion import ConversionHints
from relevo.package.samples import RecordSamples, normalize_samples
from relevo.package.synthetic_samples import generate_samples

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from relevo.converters.options import ConversionOptions
    from relevo.package.samples import Samples

ROWS = 256
#: Default feature names of the libraries.
_DEFAULT_NAME = re.compile(r"(f|Column_)\d+")
_MISSING = 0.1  # share of missing values in generated samples


def open_booster(task: ConversionOptions, parsed: ParsedBooster, samples: Samples | None) -> ConversionResult:
    """Converts a file's booster. Raises InvalidOptionsError naming every missing flag, ConversionError, MissingDependencyError."""
    _require_options(task, parsed)
    estimator_class = MarginEstimator if task.output == "margin" else BoosterEstimator
    model = estimator_class(parsed, features=task.features)
    hints = ConversionHints(
        labels=task.labels,
        renamed=task.renamed,
        features=task.features,
        scale=task.scale if task.told else None,
        unit=task.unit,
    )
    if all(_DEFAULT_NAME.fullmatch(name) for name in parsed.names):
        require_input_kind(int(getattr(model, "n_features_in_", 0)), task, samples)
        _require_order(task, parsed, samples)
    if task.kind == "image":
        hints = picture_hints(model, task, hints)
    used_samples = (
        samples if samples is not None else _generate_samples(model) if hints.input is None else generate_samples(hints.input)
    )
    converted = convert_sklearn(model, used_samples, hints)
    libraries = {**parsed.library, **converted.converter}
    outputs = converted.outputs if parsed.proved else None
    return ConversionResult(
        converted=replace(converted, converter=libraries, outputs=outputs), samples=used_samples, generated=samples is None
    )


def _require_options(task: ConversionOptions, parsed: ParsedBooster) -> None:
    missing = []
    if parsed.classes and len(task.labels or task.renamed) != parsed.classes:
        example = ",".join(str(number) for number in range(min(parsed.classes, 20)))
        missing.append(
            f"--labels ({parsed.classes} of them, in the order of the model's classes; --labels {example} where they have no names)"
        )
    if task.features and len(task.features) != len(parsed.names):
        missing.append(f"--features ({len(parsed.names)} of them, in the order of the model's features)")
    if task.output not in ("", "margin"):
        missing.append("--output margin, or none of it: a booster answers with probabilities or values, or with the raw score")
    if missing:
        raise InvalidOptionsError(options="; ".join(missing))


def _require_order(task: ConversionOptions, parsed: ParsedBooster, samples: Samples | None) -> None:
    """Requires --features for records when the file has no feature names: neither has an order. Raises InvalidOptionsError."""
    if task.features or not isinstance(samples, RecordSamples) or samples.table is not None:
        return
    if not set(samples.names) & set(parsed.names):
        raise unknown_column_order(samples)


def _generate_samples(model: BoosterEstimator) -> Samples:
    """Generates rows on both sides of the model's thresholds and on them, deterministically."""
    draw = np.random.default_rng(0)
    columns = [_generate_column(model.parsed, index, draw) for index in range(model.n_features_in_)]
    return normalize_samples(np.stack(columns, axis=1), [str(name) for name in model.feature_names_in_])


def _generate_column(parsed: ParsedBooster, index: int, draw: np.random.Generator) -> NDArray[np.float64]:
    splits = np.array(sorted(set(parsed.thresholds.get(index, ()))) or [0.0])
    finite = splits[np.isfinite(splits)]
    is_single = isinstance(parsed.structure, Linear) or parsed.structure.single
    thresholds = draw.choice(finite if len(finite) else np.zeros(1), ROWS)
    dtype = np.float32 if is_single else np.float64
    exact = thresholds.astype(dtype)
    near = np.where(draw.random(ROWS) < 0.5, np.nextafter(exact, dtype(np.inf)), np.nextafter(exact, dtype(-np.inf)))
    spread = thresholds + draw.normal(size=ROWS) * draw.choice((0.1, 1.0, 10.0, 100.0), ROWS)
    choice = draw.integers(0, 4, ROWS)
    values: NDArray[np.float64] = np.choose(choice, (exact, near, np.round(spread, 3), np.round(thresholds))).astype(np.float64)
    if index in parsed.optional:
        values[draw.random(ROWS) < _MISSING] = np.nan
    return values
