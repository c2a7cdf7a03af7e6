"""A manifest and its session as one thing with three verbs: prepare, run, finish.

    payload (image bytes | record dict) ─ prepare ─► row ─┐
                                                          ├─ run ─► scores ─ finish ─► Answer
    other rows ───────────────────────────────────────────┘

`prepare` and `finish` are pure and cheap; `run` is the model's own time.
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
    """One version ready to answer; lives as long as its lane or opened package."""

    def __init__(self, manifest: Manifest, onnx: bytes, *, threads: int = 1, limits: ImageLimits | None = None) -> None:
        """Build the session. Raises InvalidOnnxError."""
        self.manifest = manifest
        self._limits = limits or ImageLimits()
        self._session = Session(onnx, output=manifest.output.name, threads=threads)
        self._encoder: RecordEncoder | None = None
        self._plain: FastPngDecoder | None = None
        #: Rows the session sees in one call; None: all that came together.
        self.rows_at_once: int | None = None
        if isinstance(manifest.input, ImageInput):
            if manifest.input.width * manifest.input.height <= self._limits.max_pixels:
                self._plain = FastPngDecoder(manifest.input)
        else:
            self._encoder = RecordEncoder(manifest.input, manifest.steps)  # type: ignore[arg-type]  # held together by manifest.check

    def prepare(self, payload: bytes | Mapping[str, Any]) -> Any:
        """One row out of an image's bytes or a record. Raises InvalidInputError of many kinds."""
        if self._encoder is not None:
            if isinstance(payload, bytes):
                raise UnsupportedMediaTypeError(expected="application/json", got="a file")
            return self._encoder.check(payload)
        if not isinstance(payload, bytes):
            raise UnsupportedMediaTypeError(expected="a picture, such as image/jpeg or image/png", got="application/json")
        if self._plain is not None and (pixels := self._plain.pixels(payload)) is not None:
            return pixels
        wanted, steps = self.manifest.input, self.manifest.steps
        assert isinstance(wanted, ImageInput)  # noqa: S101 - narrows the union for the type checker
        assert isinstance(steps, ImageSteps)  # noqa: S101 - narrows the union for the type checker
        return decode(payload, wanted, steps, self._limits)

    def remarks(self, payload: bytes | Mapping[str, Any]) -> tuple[Remark, ...]:
        """What of a payload that was prepared is taken otherwise than it came; nothing for a picture."""
        return () if self._encoder is None or isinstance(payload, bytes) else self._encoder.remarks(payload)

    def run(self, rows: Sequence[Any]) -> NDArray[np.floating]:
        """Scores of n prepared rows, in order. Raises ModelError."""
        most = self.rows_at_once
        if most is None or len(rows) <= most:
            return self._session.run(self.feeds(rows))
        parts = [self._session.run(self.feeds(rows[start : start + most])) for start in range(0, len(rows), most)]
        return np.concatenate(parts)

    def run_feeds(self, feeds: dict[str, NDArray[Any]]) -> NDArray[np.floating]:
        """Scores of tensors as `feeds` makes them. Raises ModelError."""
        return self._session.run(feeds)

    def feeds(self, rows: Sequence[Any]) -> dict[str, NDArray[Any]]:
        """The tensors that `run` gives the session for these rows."""
        if self._encoder is not None:
            return self._encoder.stack(rows)
        steps = self.manifest.steps
        assert isinstance(steps, ImageSteps)  # noqa: S101 - narrows the union for the type checker
        return {steps.input: tensor(rows, steps)}

    def finish(self, scores: NDArray[np.floating]) -> list[DecisionResult]:
        """One answer a row, in order. Raises OutputNotFiniteError."""
        return decide(scores, self.manifest.output, self.manifest.decision)

    def predict(self, payload: bytes | Mapping[str, Any]) -> DecisionResult:
        """One input from end to end."""
        return self.finish(self.run([self.prepare(payload)]))[0]
