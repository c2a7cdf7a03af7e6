"""Decodes images to pixels exactly as Pillow does, and encodes pixels as the model's input tensor.

    bytes ─ magic number ─ header ─ limits ─ decode ─ orient ─ background ─ convert ─ resize ─► uint8 (h, w[, 3])     one image
    pixels ─ stack ─ × scale ─ − mean ─ ÷ std ─ layout ─► tensor (n, …)                                          one batch

Training, packing, golden examples and serving all decode images here. The header is checked before a pixel is decoded. Rejected
are formats other than JPEG, PNG, WebP, GIF, BMP, TIFF, PGM and PPM, and pixels of more than 8 bits. Of an animation only the first
frame is used. The limits are in pixels, because time and memory grow with them and not with the bytes of the file.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from relevo.domain.preprocessing import colour_of
from relevo.errors import BrokenImageError, ImageTooLargeError, UnsupportedImageError
from relevo.runtime.image_bounds import bmp_size, check_segment_count, gif_size, jpeg_size
from relevo.runtime.tiff_bounds import tiff_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from relevo.domain.preprocessing import ImageSteps
    from relevo.domain.signature import ImageInput

_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"})
#: Decoding a JPEG of half a million pixels takes Pillow about 3 ms on one core of the 2020s.
_LARGE_PIXELS = 500_000
#: libjpeg decodes a JPEG of more pixels at a half, quarter or eighth of its size, wherever it is read: decoding it in full
#: would take hundreds of megabytes. At least _MIN_DRAFT_FACTOR times the model's side remains, so that the resampling filter has a choice.
_MAX_FULL_DECODE_PIXELS = 40_000_000
_MIN_DRAFT_FACTOR = 2
#: Magic numbers by Pillow's format name.
_MAGIC_NUMBERS = {
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "GIF": (b"GIF87a", b"GIF89a"),
    "TIFF": (b"II*\0", b"MM\0*"),
}
#: Raw greyscale and colour images of 8 bits: size, then the maximum value; Pillow unpacks other maxima in Python.
_PNM = re.compile(rb"P[56]\s(?:\s|#[^\n]{0,200}\n)*(\d{1,6})\s+(\d{1,6})\s+255\s")
_PNM_HEADER_BYTES = 1024
_BMP_HEADER_SIZES = frozenset({12, 40, 52, 56, 64, 108, 124})
_ORIENTATION = 0x0112  # EXIF tag
#: Exceptions that Pillow may raise on hostile bytes, in addition to its own.
_DECODE_FAILURES = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError, MemoryError)
#: Inverse orientations; all others are their own inverse.
_INVERSE = {6: 8, 8: 6}
_QUARTER_TURNS = frozenset({5, 6, 7, 8})
_TRANSPOSES = {
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
    """Maximum size of an image."""

    max_pixels: int = 40_000_000
    max_side: int = 16_384


#: For trusted files: training data, and samples while packing.
OWN_FILES = ImageLimits(max_pixels=178_000_000, max_side=65_535)


def image_format(data: bytes) -> str:
    """JPEG, PNG, WEBP, GIF, BMP, TIFF or PPM, by the magic number. Raises UnsupportedImageError."""
    for kind, magic_numbers in _MAGIC_NUMBERS.items():
        if data.startswith(magic_numbers):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[:2] == b"BM" and int.from_bytes(data[14:18], "little") in _BMP_HEADER_SIZES:
        return "BMP"
    if _PNM.match(data[:_PNM_HEADER_BYTES]):
        return "PPM"
    if data[4:8] == b"ftyp":
        raise UnsupportedImageError(reason="it is HEIC, AVIF or a film")
    raise UnsupportedImageError(reason="the first bytes are those of none of these formats")


def decode(data: bytes, expected: ImageInput, steps: ImageSteps, limits: ImageLimits) -> NDArray[np.uint8]:
    """Pixels as the model was trained on them: shape (height, width) for L, (height, width, 3) for RGB.

    Bit for bit equal to Pillow's open, exif_transpose, paste on the background, convert and resize; for a JPEG of more than 40
    million pixels, after Pillow's draft. Raises UnsupportedImageError, ImageTooLargeError, BrokenImageError.
    """
    image = open_image(data, limits)
    try:
        if image.width * image.height > _MAX_FULL_DECODE_PIXELS:
            side = _MIN_DRAFT_FACTOR * max(expected.width, expected.height)
            image.draft(None, (side, side))
        image = _orient(image, follow=steps.orientation != "ignore")
        if steps.resample == "nearest":
            # It selects pixels without mixing them, so resizing first avoids converting the pixels that are dropped.
            image = _resize(image, expected, steps)
        image = _resize(_convert(image, expected.mode, steps), expected, steps)
        # Half the cost of np.asarray, which uses Pillow's array interface.
        pixels = np.frombuffer(image.tobytes(), dtype=np.uint8)
        return pixels.reshape((expected.height, expected.width) if expected.mode == "L" else (expected.height, expected.width, 3))
    except _DECODE_FAILURES as cause:
        raise BrokenImageError from cause


def plain(image: Image.Image, mode: str, steps: ImageSteps) -> Image.Image:
    """Load an image that `open_image` returned: upright, on the background, in that mode. Raises Pillow's errors."""
    return _convert(_orient(image, follow=steps.orientation != "ignore"), mode, steps)


def _resize(image: Image.Image, expected: ImageInput, steps: ImageSteps) -> Image.Image:
    size = (expected.width, expected.height)
    return image if image.size == size else image.resize(size, Image.Resampling[steps.resample.upper()])


def _convert(image: Image.Image, mode: str, steps: ImageSteps) -> Image.Image:
    colour = colour_of(steps.background)
    if colour is not None and image.has_transparency_data:
        image = _composite(colour, image)
    if image.mode != mode:
        # The transparent colour changes no pixel of L or RGB; Pillow would warn about a palette with several.
        image.info.pop("transparency", None)
        image = image.convert(mode)
    return image


def _composite(colour: tuple[int, int, int], image: Image.Image) -> Image.Image:
    """Composites the image onto a background of that colour."""
    foreground = image if image.mode in ("RGBA", "LA") else image.convert("RGBA")
    canvas = Image.new("RGB", image.size, colour)
    # Pillow reads the alpha channel in place: extracting it would double the time, and need memory.
    canvas.paste(foreground, mask=foreground)
    return canvas


def is_expensive(data: bytes) -> bool:
    """Whether decoding may take long enough to delay other requests, by the header; False for images that will be rejected."""
    try:
        width, height = header_size(data)
    except (UnsupportedImageError, BrokenImageError):
        return False
    return width * height > _LARGE_PIXELS


def header_size(data: bytes) -> tuple[int, int]:
    """Width and height as stated in the header. Raises UnsupportedImageError, BrokenImageError."""
    kind = image_format(data)
    if kind == "PNG":
        # IHDR is always the first chunk (PNG 3rd edition §5.6).
        return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if kind == "PPM":
        match = _PNM.match(data[:_PNM_HEADER_BYTES])
        return (int(match[1]), int(match[2])) if match else (0, 0)
    return {"WEBP": _webp_size, "JPEG": jpeg_size, "GIF": gif_size, "BMP": bmp_size, "TIFF": tiff_size}[kind](data)


def open_image(data: bytes, limits: ImageLimits) -> Image.Image:
    """Read only the header, and check it against the limits. Raises UnsupportedImageError, ImageTooLargeError, BrokenImageError."""
    kind = image_format(data)
    check_segment_count(data, kind)
    if kind in ("WEBP", "TIFF"):
        # Pillow's WebP reader allocates the whole canvas when it opens the file.
        _check_size(*header_size(data), limits)
    try:
        image = Image.open(io.BytesIO(data), formats=(kind,))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as cause:
        raise ImageTooLargeError(width="?", height="?", max_pixels=limits.max_pixels, max_side=limits.max_side) from cause
    except UnidentifiedImageError as cause:
        raise BrokenImageError from cause
    except _DECODE_FAILURES as cause:
        raise BrokenImageError from cause
    _check_size(*image.size, limits)
    if image.mode not in _MODES:
        raise UnsupportedImageError(reason="its pixels are not of the usual 8-bit kinds")
    return image


def _check_size(width: int, height: int, limits: ImageLimits) -> None:
    if width < 1 or height < 1:
        raise BrokenImageError
    if width * height > limits.max_pixels or max(width, height) > limits.max_side:
        raise ImageTooLargeError(width=width, height=height, max_pixels=limits.max_pixels, max_side=limits.max_side)


def _webp_size(data: bytes) -> tuple[int, int]:
    """Canvas size from the first chunk (RFC 9649 §2.5–2.7)."""
    chunk, body = data[12:16], data[20:30]
    if len(body) < 10:
        raise BrokenImageError
    if chunk == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if chunk == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if chunk == b"VP8 ":
        return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
    raise BrokenImageError


def _orient(image: Image.Image, *, follow: bool) -> Image.Image:
    """The loaded image: upright if `follow`, which applies the camera's orientation, else as stored."""
    if image.format == "TIFF":
        # Pillow applies the orientation of a TIFF while loading it, so it is reverted if it must stay as stored.
        orientation = _orientation(image)
        image.load()
        inverse = _TRANSPOSES.get(_INVERSE.get(orientation, orientation))
        return image if follow or inverse is None else image.transpose(inverse)
    image.load()
    transpose = None
    if follow and {"exif", "xmp", "Raw profile type exif", "XML:com.adobe.xmp"} & image.info.keys():
        transpose = _TRANSPOSES.get(_orientation(image))
    return image if transpose is None else image.transpose(transpose)


def size_of(image: Image.Image, *, follow: bool) -> tuple[int, int]:
    """Width and height of an image that `open_image` returned: upright if `follow`, else as stored."""
    is_quarter_turn = _orientation(image) in _QUARTER_TURNS
    # Pillow reports the size of a TIFF as after the orientation was applied.
    return image.size[::-1] if is_quarter_turn and follow == (image.format != "TIFF") else image.size


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # noqa: BLE001 - broken metadata must not hide a valid image
        return 1


def tensor(pixels: Sequence[NDArray[np.uint8]], steps: ImageSteps) -> NDArray[Any]:
    """One batch of decoded images of equal shape as the session's input, in order.

    pixels: n arrays (h, w) or (h, w, 3). Returns (n, h, w, c), (n, c, h, w), (n, h, w) or (n, h·w·c) by `steps.layout`.
    """
    stacked = np.stack(pixels)
    if stacked.ndim == 3:
        stacked = stacked[..., None]
    if steps.channels == "BGR":
        stacked = stacked[..., ::-1]
    values = _normalize(stacked, steps)
    if steps.layout == "NCHW":
        values = values.transpose(0, 3, 1, 2)
    elif steps.layout == "NHW":
        values = values[..., 0]
    elif steps.layout == "flat":
        values = values.reshape(len(values), -1)
    return np.ascontiguousarray(values)


def _normalize(stacked: NDArray[np.uint8], steps: ImageSteps) -> NDArray[Any]:
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
