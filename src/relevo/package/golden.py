"""Raw inputs with the answers the original gave: the proof a package carries with it.

    samples + original scores ─ choose a spread ─► golden/golden.json, 000.png …, scores.npy
    files ─► Golden ─ replay through the runtime ─► largest difference | GoldenMismatchError

Replayed after conversion, at load, at promotion and by `relevo verify`; serving also warms up with them.
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
MOST = 32
_WHOLE_PIXELS = ImageLimits().max_pixels
_ENDINGS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "BMP": "bmp", "TIFF": "tif", "PPM": "ppm"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Golden:
    """Examples as a caller would send them, and the scores the original gave."""

    payloads: tuple[bytes | dict[str, Any], ...]
    scores: NDArray[np.float64]  # (n, columns)
    #: The labels the original answered; none for a regression, and in packages of before.
    labels: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Count the examples."""
        return len(self.payloads)


def select_rows(scores: NDArray[np.float64], output: Output, most: int = MOST) -> list[int]:
    """Rows to keep, in order: for each class the surest one, then the least sure of all, then an even spread.

    scores: (n, columns), the original's. A regression keeps the smallest, the largest and an even spread between.
    """
    if output.task is Task.REGRESSION:
        return _spread(np.argsort(scores[:, 0], kind="stable"), most)
    table = probabilities_of(scores, output)
    order = np.sort(table, axis=1)
    margin = order[:, -1] - order[:, -2]
    winners = table.argmax(axis=1)
    surest = [int(np.where(winners == label, margin, -1.0).argmax()) for label in range(table.shape[1]) if (winners == label).any()]
    picked = dict.fromkeys(surest[:most])
    by_margin = np.argsort(margin, kind="stable")
    for row in [*by_margin[: most // 4].tolist(), *_spread(by_margin, most)]:
        if len(picked) < most:
            picked.setdefault(int(row))
    return sorted(picked)


def _spread(order: NDArray[np.intp], most: int) -> list[int]:
    positions = np.unique(np.linspace(0, len(order) - 1, min(most, len(order))).round().astype(int))
    return sorted(int(order[position]) for position in positions)


def make_golden(samples: Samples, scores: NDArray[np.float64], rows: Sequence[int], wanted: Input, steps: Steps) -> Golden:
    """Those rows of the samples with the original's scores, as examples."""
    payloads = tuple(_sendable(samples.payload(row), wanted, steps) for row in rows)
    return Golden(payloads=payloads, scores=np.ascontiguousarray(scores[list(rows)]))


def with_labels(golden: Golden, output: Output, rule: Decision) -> Golden:
    """The same examples with the labels that the original answered; none of a regression."""
    if output.task is not Task.CLASSIFICATION:
        return golden
    return replace(golden, labels=tuple(str(answer.label) for answer in decide(golden.scores, output, rule)))


def _sendable(payload: bytes | dict[str, Any], wanted: Input, steps: Steps) -> bytes | dict[str, Any]:
    if isinstance(payload, bytes):
        if not isinstance(wanted, ImageInput) or not isinstance(steps, ImageSteps) or prod(header_size(payload)) <= _WHOLE_PIXELS:
            return payload
        # A server may be told to take no picture as large as that; the example then is what the model sees of it.
        return png(decode(payload, wanted, steps, OWN_FILES))
    return {name: value for name, value in payload.items() if value is not None}


def golden_files(golden: Golden) -> dict[str, bytes]:
    """The examples as files of a package."""
    files = {SCORES: array_bytes(golden.scores)}
    index: dict[str, Any] = {"kind": "record", "records": list(golden.payloads)}
    pictures = [payload for payload in golden.payloads if isinstance(payload, bytes)]
    if pictures:
        names = [f"{number:03}.{_ENDINGS[image_format(data)]}" for number, data in enumerate(pictures)]
        files |= {f"golden/{name}": data for name, data in zip(names, pictures, strict=True)}
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
        payloads = tuple(_picture(files, f"golden/{name}") for name in index.files)
    scores = read_array(files[SCORES], SCORES).astype(np.float64)
    if not payloads or scores.ndim != 2 or len(scores) != len(payloads):
        raise PackageError(reason="its golden examples and their scores do not match in number")
    if index.labels and len(index.labels) != len(payloads):
        raise PackageError(reason="its golden examples and their labels do not match in number")
    return Golden(payloads=payloads, scores=scores, labels=tuple(index.labels))


def _picture(files: Mapping[str, bytes], path: str) -> bytes:
    if path not in files:
        raise MissingFileError(path=path)
    try:
        image_format(files[path])
    except UnsupportedImageError as cause:
        raise PackageError(reason=f"'{path}' is no picture") from cause
    return files[path]


def replay(model: RunnableModel, golden: Golden) -> float:
    """Answer every example and return the largest absolute difference in scores.

    Raises GoldenMismatchError above the manifest's tolerance, InvalidInputError when an example does not fit the signature, ModelError.
    """
    scores = np.asarray(model.run([model.prepare(payload) for payload in golden.payloads]), dtype=np.float64)
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
    """Raises GoldenMismatchError where a label is another one and the scores are no tie."""
    if not golden.labels:
        return
    ours = model.finish(scores)
    theirs = model.finish(golden.scores)
    for place, (label, now, then) in enumerate(zip(golden.labels, ours, theirs, strict=True)):
        # On another machine the scores may fall on the other side of a tie; then the kept scores still say the label.
        if label not in (now.label, then.label):
            raise GoldenMismatchError(example=place, difference=1.0, tolerance=model.manifest.golden_tolerance)
