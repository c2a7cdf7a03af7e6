"""Determines what a model's scores are: logits, probabilities, independent probabilities, percentages, or a number.

    graph ── its output head ─────────────────────────┐
    samples, and perturbed samples ─ measured ────────┼─► Output, or an error that requires `scores`
    training loss, where the file contains it ────────┘

Scores are served as probabilities only if they are valid for perturbed inputs too: a logit may lie in 0..1 on every sample. If graph
and measurement leave a doubt, the user must say; no second softmax or sigmoid is ever applied on a guess.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from relevo.converters.onnx_output import OutputHead, find_output_head
from relevo.domain.signature import Output, Task
from relevo.errors import ConversionError, InvalidOptionsError, ModelError
from relevo.package.class_names import display_names
from relevo.package.parity import build_runnable, in_batches, preprocess_samples
from relevo.package.probabilities import ROUNDING, are_shares, lies_within
from relevo.package.samples import ImageSamples

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from relevo.package.conversion import ConversionHints, ConvertedModel
    from relevo.package.samples import Samples
    from relevo.runtime.model import RunnableModel

#: Kind of scores that the loss expects; "logits" when the loss says from_logits.
Loss = Literal["", "logits", "probabilities", "numbers"]
#: Values of the option `scores`.
CHOICES = ("logits", "probabilities", "percent", "numbers")

#: Measured samples: more would give the same result, and take as long as the parity check.
_MEASURED_ROWS = 256
#: Perturbed rows; fewer for a large model, which is slow on each row.
_PERTURBED_ROWS, _LARGE_MODEL_ROWS = 16, 2
_LARGE_MODEL_BYTES = 2**24
#: Range of a linear unit's outputs when it was fitted to targets of 0 and 1; logits of a fitted model lie outside.
_FITTED_RANGE = (-0.5, 1.5)
_FITTED_SUM = 0.1
_HEAD_NAMES = {
    "softmax": "a softmax",
    "log_softmax": "a log-softmax",
    "sigmoid": "a sigmoid",
    "bounded": "a function bounded by 0 and 1",
    "tanh": "a tanh",
    "relu": "a ReLU",
    "linear": "a linear layer",
    "other": "no function that is known",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreStatistics:
    """Statistics of the scores on the samples and on perturbed inputs."""

    columns: int
    low: float  # on the samples
    high: float
    in_unit_range: bool  # whether all lie in 0..1
    sums_to: float  # 1 or 100 if every row sums to it, with values between 0 and it; else 0
    log_sums: bool  # whether exp(scores) sums to 1
    fitted: bool  # whether the samples' scores look fitted to targets of 0 and 1


def infer_output(
    first: ConvertedModel,
    samples: Samples,
    hints: ConversionHints,
    *,
    labels: tuple[str, ...],
    loss: Loss = "",
    generated: bool = False,
) -> Output:
    """Returns the output of a conversion of which only the output's name is known.

    labels: the model's own class names, in the order of the scores. loss: its training loss, where known.
    generated: whether the samples are synthetic, so that they do not show what the model was fitted to.
    Raises InvalidOptionsError naming the missing options, ConversionError when an option contradicts the model.
    """
    stated = hints.output
    if stated is not None and (stated.task is Task.REGRESSION or stated.activation != "none"):
        return stated
    model_labels = () if hints.scores == "numbers" else labels
    labels = (() if stated is None else stated.labels) or display_names(model_labels, hints.labels, hints.renamed)
    model, samples = build_runnable(first), _limit_rows(samples)
    statistics = _measure(
        model, in_batches(model.run, preprocess_samples(model, samples)), samples, large=len(first.onnx) > _LARGE_MODEL_BYTES
    )
    if generated and statistics.columns == 1:
        statistics = replace(statistics, fitted=True)
    return _decide(first.output.name, find_output_head(first.onnx, first.output.name), statistics, hints, labels, loss)


def _measure(model: RunnableModel, served: NDArray[np.float64], samples: Samples, *, large: bool) -> ScoreStatistics:
    """Measures the served scores of the samples (n, columns), and the model's scores for perturbed samples."""
    parts = [served, *_perturbed_scores(model, samples, served.shape[1], _LARGE_MODEL_ROWS if large else _PERTURBED_ROWS)]
    scores = np.concatenate(parts)
    scores = scores[np.isfinite(scores).all(axis=1)]
    low, high = float(served.min()), float(served.max())
    sums = served.sum(axis=1)
    fitted = (
        _FITTED_RANGE[0] <= low
        and high <= _FITTED_RANGE[1]
        and (served.shape[1] == 1 or bool((np.abs(sums - 1) < _FITTED_SUM).all()))
    )
    return ScoreStatistics(
        columns=served.shape[1],
        low=low,
        high=high,
        in_unit_range=lies_within(scores, 1.0),
        sums_to=next((total for total in (1.0, 100.0) if are_shares(scores, total)), 0.0),
        log_sums=served.shape[1] > 1 and bool((scores <= ROUNDING).all()) and are_shares(np.exp(scores), 1.0),
        fitted=fitted,
    )


def _limit_rows(samples: Samples) -> Samples:
    """Returns as many of the samples as the measurement needs."""
    if len(samples) <= _MEASURED_ROWS:
        return samples
    if isinstance(samples, ImageSamples):
        return replace(samples, files=samples.files[:_MEASURED_ROWS], pixels=samples.pixels[:_MEASURED_ROWS])
    return replace(samples, records=samples.records[:_MEASURED_ROWS], table=None)


def _perturbed_scores(model: RunnableModel, samples: Samples, columns: int, max_rows: int) -> Iterator[NDArray[np.float64]]:
    """Yields the model's scores for perturbed inputs; skips inputs on which it fails."""
    count = min(len(samples), max_rows)
    rows = [model.preprocess(_without_nulls(samples.payload(index))) for index in range(count)]
    for feeds in _perturb(model.build_inputs(rows)):
        try:
            scores = np.asarray(model.run_feeds(feeds), dtype=np.float64)
        except ModelError:
            continue
        if scores.size == count * columns:
            yield scores.reshape(count, columns)


def _without_nulls(payload: bytes | dict[str, Any]) -> bytes | dict[str, Any]:
    return payload if isinstance(payload, bytes) else {name: value for name, value in payload.items() if value is not None}


def _perturb(feeds: dict[str, NDArray[Any]]) -> Iterator[dict[str, NDArray[Any]]]:
    """Yields scaled, negated, random and column-shuffled inputs, deterministically. Integers and texts are only shuffled."""
    draw = np.random.default_rng(0)
    for factor in (10.0, -1.0, 1000.0, 0.0):
        yield {name: array * array.dtype.type(factor) if array.dtype.kind == "f" else array for name, array in feeds.items()}
    yield {
        name: (draw.normal(size=array.shape) * (1 + np.abs(np.nan_to_num(array)))).astype(array.dtype)
        if array.dtype.kind == "f"
        else array
        for name, array in feeds.items()
    }
    yield {name: draw.permuted(array, axis=0) for name, array in feeds.items()}


# --- decision --------------------------------------------------------------------------------------------------------


def _decide(
    name: str, head: OutputHead, statistics: ScoreStatistics, hints: ConversionHints, labels: tuple[str, ...], loss: Loss
) -> Output:
    if hints.scores == "numbers" or (not labels and not hints.scores and _is_number(head, statistics, loss)):
        return _number_output(name, statistics, hints, labels)
    if not labels and statistics.columns > 1 and loss == "numbers" and not head.is_final:
        raise _several_numbers(statistics)
    if len(labels) != statistics.columns and (statistics.columns, len(labels)) != (1, 2):
        raise InvalidOptionsError(options=labels_request(statistics.columns))
    activation = _stated_activation(head, statistics, hints.scores) if hints.scores else _infer_activation(head, statistics, loss)
    independent = activation == "none" and statistics.columns > 1 and not statistics.sums_to
    return Output(name=name, labels=labels, activation=activation, independent=independent)


def labels_request(columns: int, flag: str = "") -> str:
    """Returns the text that requires labels for that many scores. flag: "--" for the command line."""
    if columns == 1:
        return f"{flag}labels (two of them: what a score of 0 means, then what a score of 1 means; or scores: numbers, of a value)"
    return f"{flag}labels ({columns} of them, in the order of the model's scores; of several numbers package each by itself)"


def _is_number(head: OutputHead, statistics: ScoreStatistics, loss: Loss) -> bool:
    """Whether a single score without labels is a value."""
    if statistics.columns > 1:
        return False
    return loss in ("", "numbers") and not (head.kind in ("softmax", "sigmoid") and head.is_final)


def _number_output(name: str, statistics: ScoreStatistics, hints: ConversionHints, labels: tuple[str, ...]) -> Output:
    if labels:
        raise InvalidOptionsError(options="no labels, where the scores are numbers")
    if statistics.columns > 1:
        raise _several_numbers(statistics)
    return Output(name=name, task=Task.REGRESSION, unit=hints.unit)


def _several_numbers(statistics: ScoreStatistics) -> ConversionError:
    return ConversionError(reason=f"it answers {statistics.columns} numbers at once; package one model for each")


Activation = Literal["none", "sigmoid", "softmax", "percent", "clip"]


def _infer_activation(head: OutputHead, statistics: ScoreStatistics, loss: Loss) -> Activation:
    """Returns the activation that turns the scores into probabilities, where graph and measurement agree. Raises InvalidOptionsError."""
    activation: Activation = "sigmoid" if statistics.columns == 1 else "softmax"
    if statistics.sums_to == 1.0:
        return "none"
    if statistics.log_sums:
        return activation
    if head.is_percent:
        return "percent"
    if statistics.in_unit_range and (head.is_final or head.kind == "other"):
        return "none"
    if loss == "logits":
        return activation
    if head.kind == "linear" and not loss and not statistics.in_unit_range and not statistics.fitted and not statistics.sums_to:
        return activation
    raise InvalidOptionsError(options=_scores_request(head, statistics))


def _scores_request(head: OutputHead, statistics: ScoreStatistics, flag: str = "") -> str:
    low, high, head_name = f"{statistics.low:.4g}", f"{statistics.high:.4g}", _HEAD_NAMES[head.kind]
    if statistics.columns == 1:
        return (
            f"{flag}scores (logits, probabilities or percent; numbers without labels. They lie between {low} and {high}, and come "
            f"out of {head_name}: is a sigmoid still to make probabilities of them?)"
        )
    return (
        f"{flag}scores (logits, probabilities or percent; numbers are no classes. They lie between {low} and {high}, and come "
        f"out of {head_name}: is a softmax still to make probabilities of them?)"
    )


def _stated_activation(head: OutputHead, statistics: ScoreStatistics, stated: str) -> Activation:
    """Returns the activation for the score type that the user gave. Raises ConversionError when the model contradicts it."""
    if stated == "logits":
        if head.kind in ("softmax", "sigmoid") and head.is_final and statistics.in_unit_range:
            raise ConversionError(
                reason=f"its scores are said to be logits, and come out of {_HEAD_NAMES[head.kind]}: they are probabilities already"
            )
        return "sigmoid" if statistics.columns == 1 else "softmax"
    maximum = 100.0 if stated == "percent" else 1.0
    is_valid = lies_within(np.array([[statistics.low, statistics.high]]), maximum)
    if stated == "probabilities" and statistics.columns == 1:
        # A linear unit that was fitted to 0 and 1 slightly exceeds both.
        return "none" if statistics.in_unit_range else "clip"
    if not is_valid:
        raise ConversionError(
            reason=f"its scores are said to be {stated}, and lie between {statistics.low:.4g} and {statistics.high:.4g} on the samples"
        )
    return "percent" if stated == "percent" else "none"
