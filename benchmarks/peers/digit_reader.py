"""What every peer does with a digit: PNG bytes ─ OpenCV ─► 28×28 ─ ONNX Runtime, one thread ─► answer.

OpenCV decodes a small PNG in about a third of Pillow's time: the peers get the faster decoder. They neither validate nor record.
The model's path comes in DIGITS_ONNX.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import cv2
import numpy as np
import onnxruntime

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class DigitReader:
    """A session; lives as long as its worker process."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(os.environ["DIGITS_ONNX"], options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        cv2.setNumThreads(1)

    def answers(self, pngs: Sequence[bytes]) -> list[dict[str, Any]]:
        """One answer a picture, in order; the pictures are one batch for the model."""
        batch = np.stack([_pixels(png) for png in pngs]).astype(np.float32)[..., None]
        batch *= np.float32(1 / 255)
        scores = self._session.run(None, {self._input: batch})[0]
        return [
            {"query_id": str(uuid4()), "class": best, "confidence": row[best], "probabilities": row}
            for row, best in zip(scores.tolist(), scores.argmax(axis=1).tolist(), strict=True)
        ]


def _pixels(png: bytes) -> NDArray[np.uint8]:
    grey: Any = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE)
    if grey.shape != (28, 28):
        grey = cv2.resize(grey, (28, 28), interpolation=cv2.INTER_NEAREST)
    return np.asarray(grey, dtype=np.uint8)
