"""Quantizes a model to float16 or static INT8, calibrated on the samples, and limits the accuracy loss.

    ConvertedModel, samples ─ float16 | INT8 ─► smaller ONNX ─ run the samples ─► agreement, metric ─┬─► QuantizedModel
                                                                          loss above max_loss ───────┴─► QuantizationLossError

Two losses are measured: the share of samples whose label changes, and the drop of the metric.
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
#: Samples for the calibration of activation ranges, and their batch size.
_CALIBRATION_ROWS, _CALIBRATION_BATCH = 128, 8
#: Factor on the observed difference, since integer arithmetic differs between processors.
_CPU_MARGIN = 1.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QuantizedModel:
    """The quantized model and its measured loss. Lifetime: one packing."""

    converted: ConvertedModel
    served: NDArray[np.float64]  # its scores of the samples, (n, columns)
    precision: Precision


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
    """Quantizes the model. served: scores of the original model; truth: label indices or numbers, (n,), where known.

    max_loss: maximum share of samples whose label changes, and maximum drop of accuracy (or R²), each 0..1.
    Raises QuantizationLossError with the measured loss, MissingDependencyError, ConversionError.
    """
    onnx = _quantize_onnx(converted, samples, numbers)
    quantized = replace(converted, onnx=onnx)
    try:
        scores = score_as_served(quantized, samples)
    except RelevoError as cause:
        raise ConversionError(reason=f"the model in {numbers} does not run ({cause})") from cause
    precision = Precision(
        dtype=numbers,
        rows=len(served),
        labels_agreeing=_agreement(manifest, served, scores),
        largest_difference=float(np.abs(scores - served).max()),
        bytes_before=len(converted.onnx),
        bytes_after=len(onnx),
        max_accuracy_drop=max_loss,
        **_metric_change(manifest, served, scores, truth),
    )
    _check_loss(precision)
    return QuantizedModel(converted=quantized, served=scores, precision=precision)


def golden_tolerance(precision: Precision, before: float) -> float:
    """Golden tolerance of the quantized model. before: the tolerance in full precision."""
    return before + _CPU_MARGIN * precision.largest_difference


def _agreement(manifest: Manifest, before: NDArray[np.float64], after: NDArray[np.float64]) -> float:
    """Share of samples with the same label; for a regression, of values that moved by at most 1 % of their range."""
    if not np.isfinite(after).all():
        return 0.0
    if manifest.output.task is Task.REGRESSION:
        spread = float(np.ptp(before)) or 1.0
        return float((np.abs(after - before)[:, 0] <= spread / 100).mean())
    results_before, results_after = (decide(scores, manifest.output, manifest.decision) for scores in (before, after))
    return sum(old.predicted_label == new.predicted_label for old, new in zip(results_before, results_after, strict=True)) / len(
        results_before
    )


def _metric_change(
    manifest: Manifest, before: NDArray[np.float64], after: NDArray[np.float64], truth: NDArray[Any] | None
) -> dict[str, Any]:
    if truth is None or not np.isfinite(after).all():
        return {}
    metrics = [measure(manifest, scores, truth) for scores in (before, after)]
    if manifest.output.task is Task.REGRESSION:
        values = [entry["r2"] for entry in metrics]
        return {"metric": "r2", "before": values[0], "after": values[1]} if None not in values else {}
    return {"metric": "accuracy", "before": metrics[0]["accuracy"]["value"], "after": metrics[1]["accuracy"]["value"]}


def _check_loss(precision: Precision) -> None:
    losses = []
    if 1 - precision.labels_agreeing > precision.max_accuracy_drop + 1e-9:
        losses.append(f"{100 * (1 - precision.labels_agreeing):.3g} % of {precision.rows} samples are answered otherwise")
    if precision.metric and precision.before - precision.after > precision.max_accuracy_drop + 1e-9:
        losses.append(f"{precision.metric} falls from {precision.before:.4g} to {precision.after:.4g}")
    if losses:
        raise QuantizationLossError(numbers=precision.dtype, loss="; ".join(losses), allowed=f"{precision.max_accuracy_drop:g}")


# --- the conversion -------------------------------------------------------------------------------------------------------


def _quantize_onnx(converted: ConvertedModel, samples: Samples, numbers: Numbers) -> bytes:
    try:
        import onnx
        from onnxruntime import quantization
    except ImportError as cause:
        raise MissingDependencyError(extra="sklearn") from cause
    if numbers not in ("float16", "int8"):
        raise InvalidOptionsError(options="a precision that is known: float32, float16 or int8")
    model = onnx.load_model_from_string(converted.onnx)
    try:
        return _to_float16(model) if numbers == "float16" else _to_int8(quantization, model, converted, samples)
    except Exception as cause:
        raise ConversionError(reason=f"the model cannot be written in {numbers} ({type(cause).__name__}: {cause})") from cause


def _to_float16(model: Any) -> bytes:
    """Weights and arithmetic in half precision; inputs and outputs keep their type."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    return bytes(convert_float_to_float16(model, keep_io_types=True).SerializeToString(deterministic=True))


def _to_int8(library: Any, model: Any, converted: ConvertedModel, samples: Samples) -> bytes:
    """Weights and activations as INT8 with a scale each, calibrated on the first samples."""
    from pathlib import Path

    with TemporaryDirectory(prefix="relevo-int8-") as folder:
        before, after = Path(folder) / "before.onnx", Path(folder) / "after.onnx"
        library.shape_inference.quant_pre_process(model, before, skip_symbolic_shape=True)
        library.quantize_static(
            before,
            after,
            _calibration_reader(library, converted, samples),
            quant_format=library.QuantFormat.QDQ,
            activation_type=library.QuantType.QUInt8,
            weight_type=library.QuantType.QInt8,
            per_channel=True,
            # 7-bit weights: processors without VNNI accumulate in 16 bits, which products of 8-bit weights would overflow silently.
            reduce_range=True,
        )
        return after.read_bytes()


def _calibration_reader(library: Any, converted: ConvertedModel, samples: Samples) -> Any:
    model = build_runnable(converted)
    rows = preprocess_samples(model, samples)[:_CALIBRATION_ROWS]
    starts = range(0, len(rows), _CALIBRATION_BATCH)
    batches: Iterator[dict[str, Any]] = (model.build_inputs(rows[start : start + _CALIBRATION_BATCH]) for start in starts)

    class Reader(library.CalibrationDataReader):  # type: ignore[misc]  # it ships no types
        """The samples as model inputs, batch by batch."""

        def get_next(self) -> dict[str, Any] | None:
            return next(batches, None)

    return Reader()
