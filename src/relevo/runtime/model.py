"""Combines a manifest and its ONNX session into a model with three steps: prepare, run, finish.

    payload (image bytes | record dict) ─ prepare ─► row ─┐
                                                          ├─ run ─► scores ─ finish ─► DecisionResult
    other rows ───────────────────────────────────────────┘

`prepare` and `finish` are pure and cheap; `run` takes the time of the model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from relevo.domain.decision import DecisionResult, decide
from relevo.domain.preprocessing import ImageSteps
from relevo.domain.signature import ImageInput
from relevo.errors import UnsupportedMediaTypeError
from relevo.runtime.fast_png import FastPngDecoder
from relevo.runtime.image import ImageLimits, decode, tensor
from relevo.runtime.record_encoder import RecordEncoder
from relevo.runtime.session import Session

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from relevo.domain.manifest import Manifest
    from relevo.runtime.record_encoder import Remark


class RunnableModel:
    """A model version ready to predict. Lifetime: its LoadedVersion or opened package."""

    def __init__(self, manifest: Manifest, onnx: bytes, *, threads: int = 1, limits: ImageLimits | None = None) -> None:
        """Build the session. Raises InvalidOnnxError."""
        self.manifest = manifest
        self._limits = limits or ImageLimits()
        self._session = Session(onnx, output=manifest.output.name, threads=threads)
        self._encoder: RecordEncoder | None = None
        self._fast_png: FastPngDecoder | None = None
        #: Maximum rows per session call; None: no limit.
        self.best_batch_size: int | None = None
        if isinstance(manifest.input, ImageInput):
            if manifest.input.width * manifest.input.height <= self._limits.max_pixels:
                self._fast_png = FastPngDecoder(manifest.input)
        else:
            self._encoder = RecordEncoder(manifest.input, manifest.steps)  # type: ignore[arg-type]  # manifest.check validated the pair

    def preprocess(self, payload: bytes | Mapping[str, Any]) -> Any:
        """One row from the bytes of an image or from a record. Raises subclasses of InvalidInputError."""
        if self._encoder is not None:
            if isinstance(payload, bytes):
                raise UnsupportedMediaTypeError(expected="application/json", got="a file")
            return self._encoder.check(payload)
        if not isinstance(payload, bytes):
            raise UnsupportedMediaTypeError(expected="a picture, such as image/jpeg or image/png", got="application/json")
        if self._fast_png is not None and (pixels := self._fast_png.pixels(payload)) is not None:
            return pixels
        expected, steps = self.manifest.input, self.manifest.steps
        assert isinstance(expected, ImageInput)  # noqa: S101 - narrows the union for the type checker
        assert isinstance(steps, ImageSteps)  # noqa: S101 - narrows the union for the type checker
        return decode(payload, expected, steps, self._limits)

    def remarks(self, payload: bytes | Mapping[str, Any]) -> tuple[Remark, ...]:
        """Values of a prepared record that were ignored or converted; empty for an image."""
        return () if self._encoder is None or isinstance(payload, bytes) else self._encoder.remarks(payload)

    def run(self, rows: Sequence[Any]) -> NDArray[np.floating]:
        """Scores of n prepared rows, in order. Raises ModelError."""
        limit = self.best_batch_size
        if limit is None or len(rows) <= limit:
            return self._session.run(self.build_inputs(rows))
        parts = [self._session.run(self.build_inputs(rows[start : start + limit])) for start in range(0, len(rows), limit)]
        return np.concatenate(parts)

    def run_feeds(self, feeds: dict[str, NDArray[Any]]) -> NDArray[np.floating]:
        """Scores for tensors that `feeds` returned. Raises ModelError."""
        return self._session.run(feeds)

    def build_inputs(self, rows: Sequence[Any]) -> dict[str, NDArray[Any]]:
        """The tensors that `run` passes to the session for these rows."""
        if self._encoder is not None:
            return self._encoder.stack(rows)
        steps = self.manifest.steps
        assert isinstance(steps, ImageSteps)  # noqa: S101 - narrows the union for the type checker
        return {steps.input: tensor(rows, steps)}

    def postprocess(self, scores: NDArray[np.floating]) -> list[DecisionResult]:
        """One decision per row, in order. Raises OutputNotFiniteError."""
        return decide(scores, self.manifest.output, self.manifest.decision)

    def predict(self, payload: bytes | Mapping[str, Any]) -> DecisionResult:
        """Predict for one input."""
        return self.postprocess(self.run([self.preprocess(payload)]))[0]
