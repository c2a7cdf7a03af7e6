"""What a model's scores are: logits, probabilities, independent probabilities, percentages, or a number.

    graph ── how it ends ──────────────────────────┐
    samples, and the same made odd ─ measured ─────┼─► Output, or `scores` is asked for
    the loss it was trained with, where it is told ┘

Served as probabilities is only what holds for odd inputs too: a logit may lie in 0..1 on every sample. Where graph and measurement
leave a doubt, a person is asked; nothing is squeezed through a second softmax or sigmoid on a guess.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from relevo.converters.onnx_output import Ending, ending_of
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

#: "numbers" and "probabilities": what the loss was made for; "logits": it says so.
Loss = Literal["", "logits", "probabilities", "numbers"]
#: What a person may say of scores.
CHOICES = ("logits", "probabilities", "percent", "numbers")

#: Samples that are measured: more would tell the same, and take as long as proving them does.
_MEASURED_ROWS = 256
#: Rows made odd; fewer of a heavy model, whose every row takes long.
_ROWS, _HEAVY_ROWS = 16, 2
_HEAVY_BYTES = 2**24
#: Targets of 0 and 1 that a linear unit was fitted to are answered within these; logits of a fitted model go beyond.
_FITTED = (-0.5, 1.5)
_FITTED_SUM = 0.1
_SAID = {
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
class Measured:
    """What the scores were, on the samples and on inputs made odd."""

    columns: int
    low: float  # on the samples
    high: float
    inside: bool  # 0..1 on all
    sums_to: float  # 1 or 100 where every row of all does, within 0 and that; else 0
    log_sums: bool  # whether the powers of e sum to one
    fitted: bool  # whether the samples' look like targets of 0 and 1


def output_of(
    first: ConvertedModel,
    samples: Samples,
    hints: ConversionHints,
    *,
    labels: tuple[str, ...],
    loss: Loss = "",
    generated: bool = False,
) -> Output:
    """The output of a conversion that has none yet but a name.

    labels: what the model itself calls its classes, in the order of the scores. loss: what it was trained with, where that is told.
    generated: whether the samples were made here, so that they say nothing about what the model was fitted to.
    Raises InvalidOptionsError naming what a person must tell, ConversionError where what was told cannot be.
    """
    told = hints.output
    if told is not None and (told.task is Task.REGRESSION or told.activation != "none"):
        return told
    found = () if hints.scores == "numbers" else labels
    labels = (() if told is None else told.labels) or display_names(found, hints.labels, hints.renamed)
    model, samples = build_runnable(first), _first(samples)
    measured = _measured(
        model, in_batches(model.run, preprocess_samples(model, samples)), samples, heavy=len(first.onnx) > _HEAVY_BYTES
    )
    if generated and measured.columns == 1:
        measured = replace(measured, fitted=True)
    return _decided(first.output.name, ending_of(first.onnx, first.output.name), measured, hints, labels, loss)


def _measured(model: RunnableModel, served: NDArray[np.float64], samples: Samples, *, heavy: bool) -> Measured:
    """Measure the served scores of the samples (n, columns), and what the model says to the first of them made odd."""
    found = [served, *_odd(model, samples, served.shape[1], _HEAVY_ROWS if heavy else _ROWS)]
    every = np.concatenate(found)
    every = every[np.isfinite(every).all(axis=1)]
    low, high = float(served.min()), float(served.max())
    sums = served.sum(axis=1)
    fitted = _FITTED[0] <= low and high <= _FITTED[1] and (served.shape[1] == 1 or bool((np.abs(sums - 1) < _FITTED_SUM).all()))
    return Measured(
        columns=served.shape[1],
        low=low,
        high=high,
        inside=lies_within(every, 1.0),
        sums_to=next((whole for whole in (1.0, 100.0) if are_shares(every, whole)), 0.0),
        log_sums=served.shape[1] > 1 and bool((every <= ROUNDING).all()) and are_shares(np.exp(every), 1.0),
        fitted=fitted,
    )


def _first(samples: Samples) -> Samples:
    """As many of the samples as measuring needs."""
    if len(samples) <= _MEASURED_ROWS:
        return samples
    if isinstance(samples, ImageSamples):
        return replace(samples, files=samples.files[:_MEASURED_ROWS], pixels=samples.pixels[:_MEASURED_ROWS])
    return replace(samples, records=samples.records[:_MEASURED_ROWS], table=None)


def _odd(model: RunnableModel, samples: Samples, columns: int, most: int) -> Iterator[NDArray[np.float64]]:
    """What the model says to odd inputs; those on which it fails say nothing."""
    count = min(len(samples), most)
    rows = [model.prepare(_present(samples.payload(index))) for index in range(count)]
    for feeds in _made_odd(model.feeds(rows)):
        try:
            said = np.asarray(model.run_feeds(feeds), dtype=np.float64)
        except ModelError:
            continue
        if said.size == count * columns:
            yield said.reshape(count, columns)


def _present(payload: bytes | dict[str, Any]) -> bytes | dict[str, Any]:
    return payload if isinstance(payload, bytes) else {name: value for name, value in payload.items() if value is not None}


def _made_odd(feeds: dict[str, NDArray[Any]]) -> Iterator[dict[str, NDArray[Any]]]:
    """Larger, negative, random, and with columns out of step; the same each time. Whole numbers and texts only change places."""
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


# --- the verdict --------------------------------------------------------------------------------------------------------


def _decided(name: str, ending: Ending, measured: Measured, hints: ConversionHints, labels: tuple[str, ...], loss: Loss) -> Output:
    if hints.scores == "numbers" or (not labels and not hints.scores and _is_number(ending, measured, loss)):
        return _number(name, measured, hints, labels)
    if not labels and measured.columns > 1 and loss == "numbers" and not ending.is_final:
        raise _several(measured)
    if len(labels) != measured.columns and (measured.columns, len(labels)) != (1, 2):
        raise InvalidOptionsError(options=ask_labels(measured.columns))
    activation = _told(ending, measured, hints.scores) if hints.scores else _found(ending, measured, loss)
    independent = activation == "none" and measured.columns > 1 and not measured.sums_to
    return Output(name=name, labels=labels, activation=activation, independent=independent)


def ask_labels(columns: int, flag: str = "") -> str:
    """The question for the labels of so many scores. flag: "--" for who imports a file."""
    if columns == 1:
        return f"{flag}labels (two of them: what a score of 0 means, then what a score of 1 means; or scores: numbers, of a value)"
    return f"{flag}labels ({columns} of them, in the order of the model's scores; of several numbers package each by itself)"


def _is_number(ending: Ending, measured: Measured, loss: Loss) -> bool:
    """Whether one score without labels is a value."""
    if measured.columns > 1:
        return False
    return loss in ("", "numbers") and not (ending.kind in ("softmax", "sigmoid") and ending.is_final)


def _number(name: str, measured: Measured, hints: ConversionHints, labels: tuple[str, ...]) -> Output:
    if labels:
        raise InvalidOptionsError(options="no labels, where the scores are numbers")
    if measured.columns > 1:
        raise _several(measured)
    return Output(name=name, task=Task.REGRESSION, unit=hints.unit)


def _several(measured: Measured) -> ConversionError:
    return ConversionError(reason=f"it answers {measured.columns} numbers at once; package one model for each")


Activation = Literal["none", "sigmoid", "softmax", "percent", "clip"]


def _found(ending: Ending, measured: Measured, loss: Loss) -> Activation:
    """What makes probabilities of the scores, where graph and measurement agree. Raises InvalidOptionsError."""
    squash: Activation = "sigmoid" if measured.columns == 1 else "softmax"
    if measured.sums_to == 1.0:
        return "none"
    if measured.log_sums:
        return squash
    if ending.is_percent:
        return "percent"
    if measured.inside and (ending.is_final or ending.kind == "other"):
        return "none"
    if loss == "logits":
        return squash
    if ending.kind == "linear" and not loss and not measured.inside and not measured.fitted and not measured.sums_to:
        return squash
    raise InvalidOptionsError(options=_question(ending, measured))


def _question(ending: Ending, measured: Measured, flag: str = "") -> str:
    low, high, end = f"{measured.low:.4g}", f"{measured.high:.4g}", _SAID[ending.kind]
    if measured.columns == 1:
        return (
            f"{flag}scores (logits, probabilities or percent; numbers without labels. They lie between {low} and {high}, and come "
            f"out of {end}: is a sigmoid still to make probabilities of them?)"
        )
    return (
        f"{flag}scores (logits, probabilities or percent; numbers are no classes. They lie between {low} and {high}, and come "
        f"out of {end}: is a softmax still to make probabilities of them?)"
    )


def _told(ending: Ending, measured: Measured, told: str) -> Activation:
    """What a person said, unless the model shows otherwise. Raises ConversionError."""
    if told == "logits":
        if ending.kind in ("softmax", "sigmoid") and ending.is_final and measured.inside:
            raise ConversionError(
                reason=f"its scores are said to be logits, and come out of {_SAID[ending.kind]}: they are probabilities already"
            )
        return "sigmoid" if measured.columns == 1 else "softmax"
    whole = 100.0 if told == "percent" else 1.0
    inside = lies_within(np.array([[measured.low, measured.high]]), whole)
    if told == "probabilities" and measured.columns == 1:
        # A linear unit that was fitted to 0 and 1 goes a little beyond both.
        return "none" if measured.inside else "clip"
    if not inside:
        raise ConversionError(
            reason=f"its scores are said to be {told}, and lie between {measured.low:.4g} and {measured.high:.4g} on the samples"
        )
    return "percent" if told == "percent" else "none"
