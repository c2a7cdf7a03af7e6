"""Golden tests of a package: raw inputs with the scores and labels of the original model.

    samples + original scores ─ select_rows ─► golden/golden.json, 000.png …, scores.npy
    files ─► Golden ─ replay through the runtime ─► largest difference | GoldenMismatchError

Replayed after conversion, at load, at promotion and by `relevo verify`. Serving also warms up with them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from relevo.domain.decision import decide, probabilities_of
from relevo.domain.preprocessing import ImageSteps
from relevo.domain.signature import ImageInput, Output, Task
from relevo.errors import GoldenMismatchError, MissingFileError, PackageError, UnsupportedImageError
from relevo.package.npz import array_bytes, read_array
from relevo.package.samples import png
from relevo.runtime.image import OWN_FILES, ImageLimits, decode, header_size, image_format

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from relevo.domain.decision import Decision
    from relevo.domain.preprocessing import Steps
    from relevo.domain.signature import Input
    from relevo.package.samples import Samples
    from relevo.runtime.model import RunnableModel

INDEX, SCORES = "golden/golden.json", "golden/scores.npy"
MAX_EXAMPLES = 32
_MAX_PIXELS = ImageLimits().max_pixels
_SUFFIXES = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "BMP": "bmp", "TIFF": "tif", "PPM": "ppm"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Golden:
    """Examples as a client would send them, with the scores of the original."""

    payloads: tuple[bytes | dict[str, Any], ...]
    scores: NDArray[np.float64]  # (n, columns)
    #: The labels of the original; empty for a regression, and in packages of earlier releases.
    labels: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.payloads)


def select_rows(scores: NDArray[np.float64], output: Output, limit: int = MAX_EXAMPLES) -> list[int]:
    """Indices of the rows to keep, sorted: the most certain of each class, then the least certain overall, then an even spread.

    scores: (n, columns) of the original. A regression keeps the smallest, the largest and an even spread between.
    """
    if output.task is Task.REGRESSION:
        return _spread(np.argsort(scores[:, 0], kind="stable"), limit)
    table = probabilities_of(scores, output)
    order = np.sort(table, axis=1)
    margin = order[:, -1] - order[:, -2]
    predicted = table.argmax(axis=1)
    most_certain = [int(np.where(predicted == label, margin, -1.0).argmax()) for label in np.unique(predicted).tolist()]
    selected = dict.fromkeys(most_certain[:limit])
    by_margin = np.argsort(margin, kind="stable")
    for row in [*by_margin[: limit // 4].tolist(), *_spread(by_margin, limit)]:
        if len(selected) < limit:
            selected.setdefault(int(row))
    return sorted(selected)


def _spread(order: NDArray[np.intp], limit: int) -> list[int]:
    positions = np.unique(np.linspace(0, len(order) - 1, min(limit, len(order))).round().astype(int))
    return sorted(int(order[position]) for position in positions)


def make_golden(samples: Samples, scores: NDArray[np.float64], rows: Sequence[int], signature: Input, steps: Steps) -> Golden:
    """Golden examples of the given rows, with the scores of the original."""
    payloads = tuple(_to_payload(samples.payload(row), signature, steps) for row in rows)
    return Golden(payloads=payloads, scores=np.ascontiguousarray(scores[list(rows)]))


def with_labels(golden: Golden, output: Output, rule: Decision) -> Golden:
    """The same examples with the labels of the original; without labels for a regression."""
    if output.task is not Task.CLASSIFICATION:
        return golden
    return replace(golden, labels=tuple(str(answer.predicted_label) for answer in decide(golden.scores, output, rule)))


def _to_payload(payload: bytes | dict[str, Any], signature: Input, steps: Steps) -> bytes | dict[str, Any]:
    if isinstance(payload, bytes):
        if not isinstance(signature, ImageInput) or not isinstance(steps, ImageSteps) or prod(header_size(payload)) <= _MAX_PIXELS:
            return payload
        # A server may reject so large an image by its settings; the example then is the image as the model sees it.
        return png(decode(payload, signature, steps, OWN_FILES))
    return {name: value for name, value in payload.items() if value is not None}


def golden_files(golden: Golden) -> dict[str, bytes]:
    """The examples as package files."""
    files = {SCORES: array_bytes(golden.scores)}
    index: dict[str, Any] = {"kind": "record", "records": list(golden.payloads)}
    images = [payload for payload in golden.payloads if isinstance(payload, bytes)]
    if images:
        names = [f"{number:03}.{_SUFFIXES[image_format(data)]}" for number, data in enumerate(images)]
        files |= {f"golden/{name}": data for name, data in zip(names, images, strict=True)}
        index = {"kind": "image", "files": names}
    if golden.labels:
        index["labels"] = list(golden.labels)
    files[INDEX] = msgspec.json.format(msgspec.json.encode(index, order="deterministic"), indent=1) + b"\n"
    return files


class _Index(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    kind: str
    records: list[dict[str, Any]] = []
    files: list[str] = []
    labels: list[str] = []


def read_golden(files: Mapping[str, bytes]) -> Golden:
    """The examples of a package. Raises MissingFileError, PackageError."""
    for path in (INDEX, SCORES):
        if path not in files:
            raise MissingFileError(path=path)
    try:
        index = msgspec.json.decode(files[INDEX], type=_Index)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as cause:
        raise PackageError(reason=f"'{INDEX}' is not valid") from cause
    payloads: tuple[bytes | dict[str, Any], ...] = tuple(index.records)
    if index.kind == "image":
        payloads = tuple(_read_image(files, f"golden/{name}") for name in index.files)
    scores = read_array(files[SCORES], SCORES).astype(np.float64)
    if not payloads or scores.ndim != 2 or len(scores) != len(payloads):
        raise PackageError(reason="its golden examples and their scores do not match in number")
    if index.labels and len(index.labels) != len(payloads):
        raise PackageError(reason="its golden examples and their labels do not match in number")
    return Golden(payloads=payloads, scores=scores, labels=tuple(index.labels))


def _read_image(files: Mapping[str, bytes], path: str) -> bytes:
    if path not in files:
        raise MissingFileError(path=path)
    try:
        image_format(files[path])
    except UnsupportedImageError as cause:
        raise PackageError(reason=f"'{path}' is no picture") from cause
    return files[path]


def replay(model: RunnableModel, golden: Golden) -> float:
    """Runs every example and returns the largest absolute difference in scores.

    Raises GoldenMismatchError above the manifest's tolerance, InvalidInputError when an example does not fit the signature, ModelError.
    """
    scores = np.asarray(model.run([model.preprocess(payload) for payload in golden.payloads]), dtype=np.float64)
    scores = scores.reshape(len(golden), -1)
    tolerance = model.manifest.golden_tolerance
    if scores.shape != golden.scores.shape:
        raise GoldenMismatchError(example=0, difference=float("inf"), tolerance=tolerance)
    gaps = np.abs(scores - golden.scores)
    gaps = np.where(np.isfinite(gaps), gaps, np.inf).max(axis=1)
    worst = int(gaps.argmax())
    if gaps[worst] > tolerance:
        raise GoldenMismatchError(example=worst, difference=float(gaps[worst]), tolerance=tolerance)
    _replay_labels(model, golden, scores)
    return float(gaps[worst])


def _replay_labels(model: RunnableModel, golden: Golden, scores: NDArray[np.float64]) -> None:
    """Raises GoldenMismatchError where a label differs and the scores are not tied."""
    if not golden.labels:
        return
    current = model.postprocess(scores)
    original = model.postprocess(golden.scores)
    for index, (label, result, expected) in enumerate(zip(golden.labels, current, original, strict=True)):
        # On another machine tied scores may order differently; then the stored scores still give the stored label.
        if label not in (result.predicted_label, expected.predicted_label):
            raise GoldenMismatchError(example=index, difference=1.0, tolerance=model.manifest.golden_tolerance)
