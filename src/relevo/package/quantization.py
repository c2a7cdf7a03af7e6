"""A heavy network in smaller numbers, if it answers nearly as before: INT8 calibrated on the samples, or half precision.

    Converted, samples ─ float16 | static INT8 ─► smaller ONNX ─ serve the samples ─► agreement, figure ─┬─► Light
                                                                               loss above max_loss ──────┴─► QuantizationLossError

What is lost is counted twice: in samples that get another label, and in the figure that the model is measured by.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from relevo.domain.decision import decide
from relevo.domain.manifest import Precision
from relevo.domain.signature import Task
from relevo.errors import ConversionError, InvalidOptionsError, MissingDependencyError, QuantizationLossError, RelevoError
from relevo.package.metrics import measure
from relevo.package.parity import build_runnable, preprocess_samples, score_as_served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from relevo.domain.manifest import Manifest
    from relevo.package.conversion import ConvertedModel
    from relevo.package.samples import Samples

Numbers = Literal["float32", "float16", "int8"]
#: Samples that tell the range of every activation, and how many of them run at once.
_CALIBRATED_ON, _AT_ONCE = 128, 8
#: How far another processor's integers may lead from what was seen here.
_ELSEWHERE = 1.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QuantizedModel:
    """The smaller model and what it costs; lives as long as one packing."""

    converted: ConvertedModel
    served: NDArray[np.float64]  # what it answers to the samples, (n, columns)
    told: Precision


def quantize(
    manifest: Manifest,
    converted: ConvertedModel,
    samples: Samples,
    served: NDArray[np.float64],
    *,
    numbers: Numbers,
    max_loss: float,
    truth: NDArray[Any] | None,
) -> QuantizedModel:
    """The model in smaller numbers. served: what it answers as it is; truth: positions or numbers, (n,), where it is known.

    max_loss: share of samples that may get another label, and what accuracy (or R²) may fall by, each 0..1.
    Raises QuantizationLossError with the figures, MissingDependencyError, ConversionError.
    """
    onnx = _smaller(converted, samples, numbers)
    light = replace(converted, onnx=onnx)
    try:
        now = score_as_served(light, samples)
    except RelevoError as cause:
        raise ConversionError(reason=f"the model in {numbers} does not run ({cause})") from cause
    told = Precision(
        numbers=numbers,
        rows=len(served),
        labels_agreeing=_agreeing(manifest, served, now),
        largest_difference=float(np.abs(now - served).max()),
        bytes_before=len(converted.onnx),
        bytes_after=len(onnx),
        max_loss=max_loss,
        **_measured(manifest, served, now, truth),
    )
    _refuse_loss(told)
    return QuantizedModel(converted=light, served=now, told=told)


def golden_tolerance(told: Precision, before: float) -> float:
    """What a golden example's score may differ by from the original's, when it was `before` in full precision."""
    return before + _ELSEWHERE * told.largest_difference


def _agreeing(manifest: Manifest, before: NDArray[np.float64], now: NDArray[np.float64]) -> float:
    """The share of samples with the same label; of a regression, of values that moved by less than a hundredth of their range."""
    if not np.isfinite(now).all():
        return 0.0
    if manifest.output.task is Task.REGRESSION:
        spread = float(np.ptp(before)) or 1.0
        return float((np.abs(now - before)[:, 0] <= spread / 100).mean())
    theirs, ours = (decide(scores, manifest.output, manifest.decision) for scores in (before, now))
    return sum(one.label == other.label for one, other in zip(theirs, ours, strict=True)) / len(theirs)


def _measured(
    manifest: Manifest, before: NDArray[np.float64], now: NDArray[np.float64], truth: NDArray[Any] | None
) -> dict[str, Any]:
    if truth is None or not np.isfinite(now).all():
        return {}
    figures = [measure(manifest, scores, truth) for scores in (before, now)]
    if manifest.output.task is Task.REGRESSION:
        values = [figure["r2"] for figure in figures]
        return {"metric": "r2", "before": values[0], "after": values[1]} if None not in values else {}
    return {"metric": "accuracy", "before": figures[0]["accuracy"]["value"], "after": figures[1]["accuracy"]["value"]}


def _refuse_loss(told: Precision) -> None:
    lost = []
    if 1 - told.labels_agreeing > told.max_loss + 1e-9:
        lost.append(f"{100 * (1 - told.labels_agreeing):.3g} % of {told.rows} samples are answered otherwise")
    if told.metric and told.before - told.after > told.max_loss + 1e-9:
        lost.append(f"{told.metric} falls from {told.before:.4g} to {told.after:.4g}")
    if lost:
        raise QuantizationLossError(numbers=told.numbers, loss="; ".join(lost), allowed=f"{told.max_loss:g}")


# --- the conversion -------------------------------------------------------------------------------------------------------


def _smaller(converted: ConvertedModel, samples: Samples, numbers: Numbers) -> bytes:
    try:
        import onnx
        from onnxruntime import quantization
    except ImportError as cause:
        raise MissingDependencyError(extra="sklearn") from cause
    if numbers not in ("float16", "int8"):
        raise InvalidOptionsError(options="a precision that is known: float32, float16 or int8")
    model = onnx.load_model_from_string(converted.onnx)
    try:
        return _halved(model) if numbers == "float16" else _in_integers(quantization, model, converted, samples)
    except Exception as cause:
        raise ConversionError(reason=f"the model cannot be written in {numbers} ({type(cause).__name__}: {cause})") from cause


def _halved(model: Any) -> bytes:
    """Weights and arithmetic in half precision; inputs and scores stay as they are."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    return bytes(convert_float_to_float16(model, keep_io_types=True).SerializeToString(deterministic=True))


def _in_integers(library: Any, model: Any, converted: ConvertedModel, samples: Samples) -> bytes:
    """Weights and activations as INT8 with a scale each, calibrated on the first samples."""
    from pathlib import Path

    with TemporaryDirectory(prefix="relevo-int8-") as folder:
        before, after = Path(folder) / "before.onnx", Path(folder) / "after.onnx"
        library.shape_inference.quant_pre_process(model, before, skip_symbolic_shape=True)
        library.quantize_static(
            before,
            after,
            _reader(library, converted, samples),
            quant_format=library.QuantFormat.QDQ,
            activation_type=library.QuantType.QUInt8,
            weight_type=library.QuantType.QInt8,
            per_channel=True,
            # Weights of seven bits: processors without VNNI add products in sixteen, which eight bits would overflow unnoticed.
            reduce_range=True,
        )
        return after.read_bytes()


def _reader(library: Any, converted: ConvertedModel, samples: Samples) -> Any:
    model = build_runnable(converted)
    rows = preprocess_samples(model, samples)[:_CALIBRATED_ON]
    batches: Iterator[dict[str, Any]] = (model.feeds(rows[start : start + _AT_ONCE]) for start in range(0, len(rows), _AT_ONCE))

    class Reader(library.CalibrationDataReader):  # type: ignore[misc]  # it ships no types
        """The samples as the model is fed with them, batch by batch."""

        def get_next(self) -> dict[str, Any] | None:
            return next(batches, None)

    return Reader()
