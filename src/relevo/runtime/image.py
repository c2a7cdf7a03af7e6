"""Image bytes to pixels exactly as Pillow gives them, and pixels to the model's tensor.

    bytes ─ magic ─ header ─ limits ─ decode ─ orient ─ convert ─ resize ─► uint8 (h, w[, 3])          one image
    pixels ─ stack ─ × scale ─ − mean ─ ÷ std ─ layout ─► tensor (n, …)                               one batch

The header is judged before a pixel is decoded. Refused: anything but JPEG, PNG and WebP, and pixels of more than 8 bits.
Limits are in pixels, since memory and time follow them and not the bytes of the file.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from relevo.errors import BrokenImage, ImageTooLarge, UnsupportedImage
from relevo.runtime.image_structure import check_structure, jpeg_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from relevo.domain.preprocessing import ImageSteps
    from relevo.domain.signature import ImageInput

_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"})
#: Half a million pixels of a JPEG take Pillow about 3 ms on one core of the 2020s.
_LARGE_PIXELS = 500_000
_ORIENTATION = 0x0112  # EXIF tag
#: What Pillow may raise on hostile bytes, beside its own classes.
_DECODE_FAILURES = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError, MemoryError)
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLimits:
    """How large a picture may be."""

    max_pixels: int = 40_000_000
    max_side: int = 16_384


def image_format(data: bytes) -> str:
    """JPEG, PNG or WEBP, by the first bytes alone. Raises UnsupportedImage."""
    if data[:3] == b"\xff\xd8\xff":
        return "JPEG"
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "PNG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    raise UnsupportedImage(reason="the first bytes are those of no JPEG, PNG or WebP")


def decode(data: bytes, wanted: ImageInput, steps: ImageSteps, limits: ImageLimits) -> NDArray[np.uint8]:
    """Pixels as the model was trained on them: shape (height, width) for L, (height, width, 3) for RGB.

    Equal bit for bit to Pillow's open, exif_transpose, convert and resize. Raises UnsupportedImage, ImageTooLarge, BrokenImage.
    """
    picture = open_checked(data, limits)
    try:
        picture.load()
        if steps.orientation == "apply":
            picture = _upright(picture)
        if picture.mode != wanted.mode:
            # Which colour counts as clear changes no pixel of L or RGB; Pillow would warn of a palette that names several.
            picture.info.pop("transparency", None)
            picture = picture.convert(wanted.mode)
        if picture.size != (wanted.width, wanted.height):
            picture = picture.resize((wanted.width, wanted.height), Image.Resampling[steps.resample.upper()])
        # Half the price of np.asarray, which goes through Pillow's array interface.
        pixels = np.frombuffer(picture.tobytes(), dtype=np.uint8)
        return pixels.reshape((wanted.height, wanted.width) if wanted.mode == "L" else (wanted.height, wanted.width, 3))
    except _DECODE_FAILURES as cause:
        raise BrokenImage from cause


def looks_large(data: bytes) -> bool:
    """Whether decoding may take long enough to hold others up, judged by the header; what will be refused is not large."""
    try:
        width, height = claimed_size(data)
    except (UnsupportedImage, BrokenImage):
        return False
    return width * height > _LARGE_PIXELS


def claimed_size(data: bytes) -> tuple[int, int]:
    """Width and height as the header tells them, true or not. Raises UnsupportedImage, BrokenImage."""
    kind = image_format(data)
    if kind == "PNG":
        # IHDR is always the first chunk (PNG 3rd edition §5.6).
        return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if kind == "WEBP":
        return _webp_size(data)
    return jpeg_size(data)


def open_checked(data: bytes, limits: ImageLimits) -> Image.Image:
    """Read the header only, and hold it against the limits. Raises UnsupportedImage, ImageTooLarge, BrokenImage."""
    kind = image_format(data)
    check_structure(data, kind)
    if kind == "WEBP":
        # Pillow's WebP reader allots the whole canvas while it opens the file.
        _check_size(*_webp_size(data), limits)
    try:
        picture = Image.open(io.BytesIO(data), formats=(kind,))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as cause:
        raise ImageTooLarge(width="?", height="?", max_pixels=limits.max_pixels, max_side=limits.max_side) from cause
    except UnidentifiedImageError as cause:
        raise BrokenImage from cause
    except _DECODE_FAILURES as cause:
        raise BrokenImage from cause
    _check_size(*picture.size, limits)
    if picture.mode not in _MODES:
        raise UnsupportedImage(reason="its pixels are not of the usual 8-bit kinds")
    return picture


def _check_size(width: int, height: int, limits: ImageLimits) -> None:
    if width < 1 or height < 1:
        raise BrokenImage
    if width * height > limits.max_pixels or max(width, height) > limits.max_side:
        raise ImageTooLarge(width=width, height=height, max_pixels=limits.max_pixels, max_side=limits.max_side)


def _webp_size(data: bytes) -> tuple[int, int]:
    """Canvas size from the first chunk (RFC 9649 §2.5–2.7)."""
    chunk, body = data[12:16], data[20:30]
    if len(body) < 10:
        raise BrokenImage
    if chunk == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if chunk == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if chunk == b"VP8 ":
        return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
    raise BrokenImage


def _upright(picture: Image.Image) -> Image.Image:
    if not {"exif", "xmp", "Raw profile type exif", "XML:com.adobe.xmp"} & picture.info.keys():
        return picture
    try:
        turn = _TURNS.get(picture.getexif().get(_ORIENTATION, 1))
    except Exception:  # noqa: BLE001 - broken metadata must not hide a good picture
        return picture
    return picture if turn is None else picture.transpose(turn)


def tensor(pixels: Sequence[NDArray[np.uint8]], steps: ImageSteps) -> NDArray[Any]:
    """One batch for the session from decoded images of equal shape, in order.

    pixels: n arrays (h, w) or (h, w, 3). Returns (n, h, w, c), (n, c, h, w), (n, h, w) or (n, h·w·c) by `steps.layout`.
    """
    stacked = np.stack(pixels)
    if stacked.ndim == 3:
        stacked = stacked[..., None]
    if steps.channels == "BGR":
        stacked = stacked[..., ::-1]
    values = _scaled(stacked, steps)
    if steps.layout == "NCHW":
        values = values.transpose(0, 3, 1, 2)
    elif steps.layout == "NHW":
        values = values[..., 0]
    elif steps.layout == "flat":
        values = values.reshape(len(values), -1)
    return np.ascontiguousarray(values)


def _scaled(stacked: NDArray[np.uint8], steps: ImageSteps) -> NDArray[Any]:
    if steps.dtype == "uint8":
        return stacked
    kind = np.dtype(steps.dtype)
    values = stacked.astype(kind)
    if steps.scale != 1.0:
        values *= kind.type(steps.scale)
    if steps.mean:
        values -= np.asarray(steps.mean, dtype=kind)
    if steps.std:
        values /= np.asarray(steps.std, dtype=kind)
    return values
