"""Computes the columns of a drift reference from held-out data: input fields, image statistics, model outputs.

RecordSamples ─► field:tenure, field:contract …      ImageSamples ─► image:brightness …      scores ─► output:log_p:yes …
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from relevo.domain.decision import probabilities_of
from relevo.domain.preprocessing import ImageSteps
from relevo.domain.signature import FieldKind, RecordInput, Task
from relevo.package.drift_reference import CategoryProfile, DriftReference, NumericProfile, profile_category, profile_number
from relevo.package.metrics import confusion
from relevo.package.samples import ImageSamples, RecordSamples
from relevo.runtime.image import OWN_FILES, open_image, plain
from relevo.stats.calibration import isotonic
from relevo.stats.image_stats import NAMES, image_statistics

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from relevo.domain.manifest import Manifest
    from relevo.package.samples import Samples

#: Lower bound of a probability before the logarithm.
_MIN_PROBABILITY = 1e-12
#: Above this many classes, only top probability, margin and entropy are columns.
_MAX_CLASSES = 50
#: Maximum number of images for the image statistics, to bound the time.
_MAX_IMAGES = 5000


def build_reference(
    manifest: Manifest, onnx: bytes, samples: Samples, scores: NDArray[np.float64], truth: NDArray[Any]
) -> DriftReference:
    """The drift reference of held-out rows. scores: (n, columns) as served; truth: label indices or numbers, (n,)."""
    # Derived from the model: the same at every packing, different between models.
    salt = hashlib.sha256(onnx).hexdigest()[:16]
    numbers: dict[str, NDArray[np.float64]] = {}
    texts: dict[str, list[str | None]] = {}
    if isinstance(samples, ImageSamples):
        assert isinstance(manifest.steps, ImageSteps)  # noqa: S101 - images have image steps
        numbers |= _image_columns(samples, manifest.steps)
    else:
        _record_columns(manifest, samples, numbers, texts)
    _output_columns(manifest, scores, numbers, texts)
    numeric: tuple[NumericProfile, ...] = tuple(profile_number(name, column, salt) for name, column in numbers.items())
    categorical: tuple[CategoryProfile, ...] = tuple(profile_category(name, column) for name, column in texts.items())
    held_out = _held_out(manifest, scores, truth)
    return DriftReference(rows=len(truth), salt=salt, numeric=numeric, categorical=categorical, held_out=held_out)


def _record_columns(
    manifest: Manifest, samples: RecordSamples, numbers: dict[str, NDArray[np.float64]], texts: dict[str, list[str | None]]
) -> None:
    assert isinstance(manifest.input, RecordInput)  # noqa: S101 - records have a record signature
    for field in manifest.input.fields:
        column = [record.get(field.name) for record in samples.records]
        if field.kind in (FieldKind.NUMBER, FieldKind.INTEGER):
            numbers[f"field:{field.name}"] = np.array([np.nan if value is None else value for value in column], dtype=np.float64)
        elif field.kind is FieldKind.BOOLEAN:
            texts[f"field:{field.name}"] = [None if value is None else str(value).lower() for value in column]
        else:
            texts[f"field:{field.name}"] = column


def _image_columns(samples: ImageSamples, steps: ImageSteps) -> dict[str, NDArray[np.float64]]:
    rows = np.unique(np.linspace(0, len(samples) - 1, min(len(samples), _MAX_IMAGES)).round().astype(int)).tolist()
    table = np.stack([_image_statistics(samples, row, steps) for row in rows])
    # A statistic without a value in any row (no file, no colour) is left out.
    return {f"image:{name}": table[:, index] for index, name in enumerate(NAMES) if not np.isnan(table[:, index]).all()}


def _image_statistics(samples: ImageSamples, row: int, steps: ImageSteps) -> NDArray[np.float64]:
    if samples.pixels:
        return image_statistics(samples.pixels[row])
    data = samples.files[row]
    image = open_image(data, OWN_FILES)
    mode = "L" if image.mode in ("1", "L", "LA") else "RGB"
    return image_statistics(np.asarray(plain(image, mode, steps)), len(data) if samples.as_sent else None)


def _output_columns(
    manifest: Manifest, scores: NDArray[np.float64], numbers: dict[str, NDArray[np.float64]], texts: dict[str, list[str | None]]
) -> None:
    if manifest.output.task is Task.REGRESSION:
        numbers["output:value"] = scores[:, 0]
        return
    labels = manifest.output.labels
    table = probabilities_of(scores, manifest.output)
    logs = np.log(np.maximum(table, _MIN_PROBABILITY))
    if len(labels) <= _MAX_CLASSES:
        numbers |= {f"output:log_p:{label}": logs[:, index] for index, label in enumerate(labels)}
    else:
        order = np.sort(table, axis=1)
        numbers["output:top"] = order[:, -1]
        numbers["output:margin"] = order[:, -1] - order[:, -2]
        numbers["output:entropy"] = -(table * logs).sum(axis=1)
    texts["output:label"] = [labels[index] for index in table.argmax(axis=1).tolist()]


def _held_out(manifest: Manifest, scores: NDArray[np.float64], truth: NDArray[Any]) -> dict[str, NDArray[Any]]:
    columns: dict[str, NDArray[Any]] = {
        "row": np.arange(len(truth), dtype=np.int64),
        "truth": truth,
        "scores": scores.astype(np.float32),
    }
    if manifest.output.task is Task.REGRESSION:
        return columns | {"loss": np.abs(scores[:, 0] - truth)}
    table = probabilities_of(scores, manifest.output)
    predicted = table.argmax(axis=1)
    rows = np.arange(len(truth))
    starts, frequencies = isotonic(table.max(axis=1), predicted == truth)
    return columns | {
        "truth": truth.astype(np.int32),
        "loss": -np.log(np.maximum(table[rows, truth], _MIN_PROBABILITY)),
        "confusion": confusion(predicted, truth, len(manifest.output.labels)) / len(truth),
        "isotonic": np.stack([starts, frequencies]),
    }
