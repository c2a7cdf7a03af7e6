"""Fast path for small standard PNGs, without Pillow's file machinery, which costs more than the pixels of such an image.

    bytes ─ header, chunks, checksums ─ all standard? ─► Pillow's decoder ─► canvas ─► copy of its pixels
                                        └ no ─► None: the caller uses `runtime.image`

Standard means: exactly the model's size and mode, 8 bits, not interlaced, only IHDR, IDAT and IEND chunks, valid checksums.
Pillow decodes, so the pixels equal Pillow's. Every other file is left to `runtime.image`, which also reports errors.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from relevo.domain.signature import ImageInput

#: PNG signature, length and type of IHDR (PNG 3rd edition §5.2, §11.2.1).
_SIGNATURE_AND_IHDR = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
_AFTER_IHDR = 33
#: Bit depth 8, colour type, compression 0, filter 0, not interlaced; by Pillow mode.
_IHDR_END = {"L": b"\x08\x00\x00\x00\x00", "RGB": b"\x08\x02\x00\x00\x00"}
#: A larger image gains nothing here.
_MAX_PIXELS = 65_536
_MAX_BYTES = 1 << 18


class FastPngDecoder:
    """Decodes standard PNGs of one size and mode. Lifetime: the model. One thread at a time uses the canvas."""

    def __init__(self, expected: ImageInput) -> None:
        width, height = expected.width, expected.height
        self._mode = expected.mode
        self._prefix = _SIGNATURE_AND_IHDR + width.to_bytes(4, "big") + height.to_bytes(4, "big") + _IHDR_END[expected.mode]
        self._is_supported = width * height <= _MAX_PIXELS
        shape = (height, width) if expected.mode == "L" else (height, width, 3)
        self._canvas: NDArray[np.uint8] = np.zeros(shape if self._is_supported else (1, 1), dtype=np.uint8)
        self._canvas_lock = threading.Lock()
        # Shares the memory of the canvas: NumPy sees at once what Pillow's decoder writes.
        self._canvas_image = Image.frombuffer("L", (width, height), self._canvas, "raw", "L", 0, 1) if self._shares_memory else None

    @property
    def _shares_memory(self) -> bool:
        # Pillow stores greyscale pixels as NumPy does; colour pixels have a fourth byte, so they must be copied out.
        return self._is_supported and self._mode == "L"

    def pixels(self, data: bytes) -> NDArray[np.uint8] | None:
        """Pixels of shape (height, width) for L and (height, width, 3) for RGB; None if this is not a standard PNG of that size."""
        if not self._is_supported or len(data) > _MAX_BYTES or not data.startswith(self._prefix):
            return None
        if crc32(data[12:29]) != int.from_bytes(data[29:33], "big"):
            return None
        compressed = _image_data(data)
        if compressed is None:
            return None
        try:
            return self._decode_chunks(compressed)
        except (ValueError, OSError):
            return None

    def _decode_chunks(self, compressed: bytes) -> NDArray[np.uint8] | None:
        if self._canvas_image is None:
            height, width = self._canvas.shape[:2]
            image = Image.frombytes(self._mode, (width, height), compressed, "zip", self._mode, 0)
            return np.frombuffer(image.tobytes(), dtype=np.uint8).reshape(self._canvas.shape)
        # Race: two threads may prepare at once; the second uses `runtime.image` instead of waiting.
        if not self._canvas_lock.acquire(blocking=False):
            return None
        try:
            # For truncated data Pillow reports no error and leaves the remaining lines unchanged: those of an earlier caller.
            self._canvas.fill(0)
            self._canvas_image.frombytes(compressed, "zip", "L", 0)
            return self._canvas.copy()
        finally:
            self._canvas_lock.release()


def _image_data(data: bytes) -> bytes | None:
    """The joined IDAT chunks of a PNG that has only IHDR, IDAT and a final IEND; else None."""
    chunks: list[bytes] = []
    position = _AFTER_IHDR
    while position + 12 <= len(data):
        crc_start = position + 8 + int.from_bytes(data[position : position + 4], "big")
        chunk_type = data[position + 4 : position + 8]
        if crc32(data[position + 4 : crc_start]) != int.from_bytes(data[crc_start : crc_start + 4], "big"):
            return None
        if chunk_type == b"IEND":
            return b"".join(chunks)
        if chunk_type != b"IDAT":
            return None
        chunks.append(data[position + 8 : crc_start])
        position = crc_start + 4
    return None
