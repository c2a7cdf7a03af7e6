"""Image bytes to pixels exactly as Pillow gives them, and pixels to the model's tensor.

    bytes ─ magic ─ header ─ limits ─ decode ─ orient ─ background ─ convert ─ resize ─► uint8 (h, w[, 3])     one image
    pixels ─ stack ─ × scale ─ − mean ─ ÷ std ─ layout ─► tensor (n, …)                               one batch

The one way to a picture's pixels, for training, packing, golden examples and serving alike. The header is judged before a pixel is
decoded. Refused: any format but JPEG, PNG, WebP, GIF, BMP, TIFF, PGM and PPM, and pixels of more than 8 bits. Of an animation the
first frame counts. Limits are in pixels, since memory and time follow them and not the bytes of the file.
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
#: Half a million pixels of a JPEG take Pillow about 3 ms on one core of the 2020s.
_LARGE_PIXELS = 500_000
#: A JPEG of more pixels is decoded at a half, quarter or eighth of its size by libjpeg itself, wherever it is read: whole it
#: would take hundreds of megabytes. Never less than _SPARE times the model's side is left, so that the filter still has a choice.
_WHOLE_PIXELS = 40_000_000
_SPARE = 2
#: Formats, as Pillow calls them, that are known by what their files begin with.
_STARTS = {
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "GIF": (b"GIF87a", b"GIF89a"),
    "TIFF": (b"II*\0", b"MM\0*"),
}
#: Raw grey and colours of 8 bits: size, then the highest value; others Pillow unpacks in Python.
_PNM = re.compile(rb"P[56]\s(?:\s|#[^\n]{0,200}\n)*(\d{1,6})\s+(\d{1,6})\s+255\s")
_PNM_HEAD = 1024
_BMP_HEADS = frozenset({12, 40, 52, 56, 64, 108, 124})
_ORIENTATION = 0x0112  # EXIF tag
#: What Pillow may raise on hostile bytes, beside its own classes.
_DECODE_FAILURES = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError, MemoryError)
#: What an orientation undoes is itself, but for the quarter turns.
_BACK = {6: 8, 8: 6}
_QUARTERS = frozenset({5, 6, 7, 8})
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


#: For one's own files, in a training and while packing.
OWN_FILES = ImageLimits(max_pixels=178_000_000, max_side=65_535)


def image_format(data: bytes) -> str:
    """JPEG, PNG, WEBP, GIF, BMP, TIFF or PPM, by the first bytes alone. Raises UnsupportedImageError."""
    for kind, starts in _STARTS.items():
        if data.startswith(starts):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[:2] == b"BM" and int.from_bytes(data[14:18], "little") in _BMP_HEADS:
        return "BMP"
    if _PNM.match(data[:_PNM_HEAD]):
        return "PPM"
    if data[4:8] == b"ftyp":
        raise UnsupportedImageError(reason="it is HEIC, AVIF or a film")
    raise UnsupportedImageError(reason="the first bytes are those of none of these formats")


def decode(data: bytes, wanted: ImageInput, steps: ImageSteps, limits: ImageLimits) -> NDArray[np.uint8]:
    """Pixels as the model was trained on them: shape (height, width) for L, (height, width, 3) for RGB.

    Equal bit for bit to Pillow's open, exif_transpose, paste on the background, convert and resize; of a JPEG of more than 40
    million pixels, after Pillow's draft. Raises UnsupportedImageError, ImageTooLargeError, BrokenImageError.
    """
    picture = open_image(data, limits)
    try:
        if picture.width * picture.height > _WHOLE_PIXELS:
            side = _SPARE * max(wanted.width, wanted.height)
            picture.draft(None, (side, side))
        picture = _turned(picture, follow=steps.orientation != "ignore")
        if steps.resample == "nearest":
            # It picks pixels and mixes none, so those it leaves need neither a background nor another mode.
            picture = _sized(picture, wanted, steps)
        picture = _sized(_coloured(picture, wanted.mode, steps), wanted, steps)
        # Half the price of np.asarray, which goes through Pillow's array interface.
        pixels = np.frombuffer(picture.tobytes(), dtype=np.uint8)
        return pixels.reshape((wanted.height, wanted.width) if wanted.mode == "L" else (wanted.height, wanted.width, 3))
    except _DECODE_FAILURES as cause:
        raise BrokenImageError from cause


def plain(picture: Image.Image, mode: str, steps: ImageSteps) -> Image.Image:
    """Load what `open_checked` gave: upright, on the background, in that mode. Raises what Pillow raises of broken pixels."""
    return _coloured(_turned(picture, follow=steps.orientation != "ignore"), mode, steps)


def _sized(picture: Image.Image, wanted: ImageInput, steps: ImageSteps) -> Image.Image:
    size = (wanted.width, wanted.height)
    return picture if picture.size == size else picture.resize(size, Image.Resampling[steps.resample.upper()])


def _coloured(picture: Image.Image, mode: str, steps: ImageSteps) -> Image.Image:
    colour = colour_of(steps.background)
    if colour is not None and picture.has_transparency_data:
        picture = _on(colour, picture)
    if picture.mode != mode:
        # Which colour counts as clear changes no pixel of L or RGB; Pillow would warn of a palette that names several.
        picture.info.pop("transparency", None)
        picture = picture.convert(mode)
    return picture


def _on(colour: tuple[int, int, int], picture: Image.Image) -> Image.Image:
    """The picture as it looks before that colour."""
    clear = picture if picture.mode in ("RGBA", "LA") else picture.convert("RGBA")
    behind = Image.new("RGB", picture.size, colour)
    # Pillow reads the alpha where it lies: a channel taken out costs as much time again, and memory.
    behind.paste(clear, mask=clear)
    return behind


def is_expensive(data: bytes) -> bool:
    """Whether decoding may take long enough to hold others up, judged by the header; what will be refused is not large."""
    try:
        width, height = header_size(data)
    except (UnsupportedImageError, BrokenImageError):
        return False
    return width * height > _LARGE_PIXELS


def header_size(data: bytes) -> tuple[int, int]:
    """Width and height as the header tells them, true or not. Raises UnsupportedImageError, BrokenImageError."""
    kind = image_format(data)
    if kind == "PNG":
        # IHDR is always the first chunk (PNG 3rd edition §5.6).
        return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if kind == "PPM":
        found = _PNM.match(data[:_PNM_HEAD])
        return (int(found[1]), int(found[2])) if found else (0, 0)
    return {"WEBP": _webp_size, "JPEG": jpeg_size, "GIF": gif_size, "BMP": bmp_size, "TIFF": tiff_size}[kind](data)


def open_image(data: bytes, limits: ImageLimits) -> Image.Image:
    """Read the header only, and hold it against the limits. Raises UnsupportedImageError, ImageTooLargeError, BrokenImageError."""
    kind = image_format(data)
    check_segment_count(data, kind)
    if kind in ("WEBP", "TIFF"):
        # Pillow's WebP reader allots the whole canvas while it opens the file.
        _check_size(*header_size(data), limits)
    try:
        picture = Image.open(io.BytesIO(data), formats=(kind,))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as cause:
        raise ImageTooLargeError(width="?", height="?", max_pixels=limits.max_pixels, max_side=limits.max_side) from cause
    except UnidentifiedImageError as cause:
        raise BrokenImageError from cause
    except _DECODE_FAILURES as cause:
        raise BrokenImageError from cause
    _check_size(*picture.size, limits)
    if picture.mode not in _MODES:
        raise UnsupportedImageError(reason="its pixels are not of the usual 8-bit kinds")
    return picture


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


def _turned(picture: Image.Image, *, follow: bool) -> Image.Image:
    """The loaded picture, upright where the camera's orientation is followed, else as stored."""
    if picture.format == "TIFF":
        # Pillow turns these while it loads them, so what must stay as stored is turned back.
        told = _orientation(picture)
        picture.load()
        back = _TURNS.get(_BACK.get(told, told))
        return picture if follow or back is None else picture.transpose(back)
    picture.load()
    turn = None
    if follow and {"exif", "xmp", "Raw profile type exif", "XML:com.adobe.xmp"} & picture.info.keys():
        turn = _TURNS.get(_orientation(picture))
    return picture if turn is None else picture.transpose(turn)


def size_of(picture: Image.Image, *, follow: bool) -> tuple[int, int]:
    """Width and height of what `open_checked` gave: upright where the camera's orientation is followed, else as stored."""
    quarter = _orientation(picture) in _QUARTERS
    # Pillow tells a TIFF's size as it will be once it is turned.
    return picture.size[::-1] if quarter and follow == (picture.format != "TIFF") else picture.size


def _orientation(picture: Image.Image) -> int:
    try:
        return int(picture.getexif().get(_ORIENTATION, 1))
    except Exception:  # noqa: BLE001 - broken metadata must not hide a good picture
        return 1


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
