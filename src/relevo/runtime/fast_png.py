"""The usual small PNG without Pillow's file machinery, which costs more than such a picture's pixels do.

    bytes ─ head, chunks, checksums ─ all as usual? ─► Pillow's own decoder ─► canvas ─► copy of its pixels
                                      └ no ─► None: the caller takes the general way

Usual is: exactly the model's size and mode, 8 bits, not interlaced, nothing but IHDR, IDAT and IEND, every checksum right. Since
Pillow decodes, the pixels are Pillow's. Whatever is odd or broken is left to the general way, which also knows how to refuse it.
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

#: Signature, length and name of IHDR (PNG 3rd edition §5.2, §11.2.1).
_START = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
_AFTER_IHDR = 33
#: Depth 8, colour type, compression 0, filter 0, not interlaced; by Pillow's mode.
_HEAD = {"L": b"\x08\x00\x00\x00\x00", "RGB": b"\x08\x02\x00\x00\x00"}
#: A larger picture gains nothing here.
_MAX_PIXELS = 65_536
_MAX_BYTES = 1 << 18


class FastPngDecoder:
    """Decodes usual PNGs of one size and mode; lives as long as its model. One thread at a time uses the canvas."""

    def __init__(self, wanted: ImageInput) -> None:
        width, height = wanted.width, wanted.height
        self._mode = wanted.mode
        self._start = _START + width.to_bytes(4, "big") + height.to_bytes(4, "big") + _HEAD[wanted.mode]
        self._fits = width * height <= _MAX_PIXELS
        shape = (height, width) if wanted.mode == "L" else (height, width, 3)
        self._canvas: NDArray[np.uint8] = np.zeros(shape if self._fits else (1, 1), dtype=np.uint8)
        self._free = threading.Lock()
        # Shares the canvas' memory: what Pillow's decoder writes is there for NumPy at once.
        self._picture = Image.frombuffer("L", (width, height), self._canvas, "raw", "L", 0, 1) if self._shares else None

    @property
    def _shares(self) -> bool:
        # Pillow keeps grey pixels as NumPy does; colour ones have a fourth byte, so they must be copied out.
        return self._fits and self._mode == "L"

    def pixels(self, data: bytes) -> NDArray[np.uint8] | None:
        """Pixels of shape (height, width) for L and (height, width, 3) for RGB; None when this is no usual PNG of that size."""
        if not self._fits or len(data) > _MAX_BYTES or not data.startswith(self._start):
            return None
        if crc32(data[12:29]) != int.from_bytes(data[29:33], "big"):
            return None
        packed = _image_data(data)
        if packed is None:
            return None
        try:
            return self._decoded(packed)
        except (ValueError, OSError):
            return None

    def _decoded(self, packed: bytes) -> NDArray[np.uint8] | None:
        if self._picture is None:
            height, width = self._canvas.shape[:2]
            picture = Image.frombytes(self._mode, (width, height), packed, "zip", self._mode, 0)
            return np.frombuffer(picture.tobytes(), dtype=np.uint8).reshape(self._canvas.shape)
        # Race: two threads may prepare at once; the second takes the general way rather than wait.
        if not self._free.acquire(blocking=False):
            return None
        try:
            # Pillow takes data that end early with a whole line and leaves the other lines as they were: a former caller's.
            self._canvas.fill(0)
            self._picture.frombytes(packed, "zip", "L", 0)
            return self._canvas.copy()
        finally:
            self._free.release()


def _image_data(data: bytes) -> bytes | None:
    """The joined IDAT chunks of a PNG that has no others but IHDR and IEND and ends with the latter; else None."""
    parts: list[bytes] = []
    at = _AFTER_IHDR
    while at + 12 <= len(data):
        stop = at + 8 + int.from_bytes(data[at : at + 4], "big")
        kind = data[at + 4 : at + 8]
        if crc32(data[at + 4 : stop]) != int.from_bytes(data[stop : stop + 4], "big"):
            return None
        if kind == b"IEND":
            return b"".join(parts)
        if kind != b"IDAT":
            return None
        parts.append(data[at + 8 : stop])
        at = stop + 4
    return None
