"""Thumbnails of uploaded images for the page, re-encoded so that no bytes of the upload reach a browser.

bytes ─ open_image ─ shrink ─► PNG ─► data: URI             the uploaded image
bytes ─ decode as the model does ─► PNG ─► data: URI        the model input
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from relevo.domain.preprocessing import ImageSteps
from relevo.domain.signature import ImageInput
from relevo.errors import BrokenImageError, RelevoError
from relevo.runtime.image import decode, open_image, plain

if TYPE_CHECKING:
    from relevo.domain.manifest import Manifest
    from relevo.runtime.image import ImageLimits

_MAX_SIDE = 640
#: In pixels; images up to this side are shown enlarged.
_TINY_SIDE = 64
_GREY_MODES = frozenset({"1", "L", "LA"})
#: For display: upright, transparency on white.
_DISPLAY_STEPS = ImageSteps(input="", orientation="exif", background="white")


@dataclass(frozen=True, slots=True, kw_only=True)
class Thumbnail:
    """An image embedded in the page. Lifetime: the rendering of a page."""

    uri: str
    width: int  # pixels
    height: int

    @property
    def tiny(self) -> bool:
        """Whether it is shown enlarged."""
        return max(self.width, self.height) <= _TINY_SIDE


def upload_thumbnail(data: bytes, limits: ImageLimits) -> Thumbnail | None:
    """The upload, upright, at most 640 pixels a side; None if it cannot be shown.

    Decodes the whole image: call it in a thread.
    """
    try:
        return _embed(_prepare(data, limits, side=_MAX_SIDE))
    except RelevoError:
        return None


def model_input_thumbnail(data: bytes, manifest: Manifest, limits: ImageLimits) -> Thumbnail | None:
    """The pixels of the model input; None for record models or images that cannot be decoded."""
    signature, steps = manifest.input, manifest.steps
    if not isinstance(signature, ImageInput) or not isinstance(steps, ImageSteps):
        return None
    try:
        return _embed(Image.fromarray(decode(data, signature, steps, limits)))
    except RelevoError:
        return None


def reencode(data: bytes, limits: ImageLimits, *, side: int | None = None) -> bytes:
    """The pixels as a new PNG without metadata, upright. side: maximum side in pixels.

    Raises UnsupportedImageError, ImageTooLargeError, BrokenImageError.
    """
    return _png(_prepare(data, limits, side=side))


def _prepare(data: bytes, limits: ImageLimits, *, side: int | None = None) -> Image.Image:
    image = open_image(data, limits)
    try:
        if side is not None:
            # Decodes a JPEG at a half, quarter or eighth of its size, as far as `side` allows.
            image.draft("RGB", (side, side))
        shown = plain(image, "L" if image.mode in _GREY_MODES else "RGB", _DISPLAY_STEPS)
        if side is not None:
            shown.thumbnail((side, side))
    except Exception as cause:
        raise BrokenImageError from cause
    return shown


def _embed(image: Image.Image) -> Thumbnail:
    uri = "data:image/png;base64," + base64.b64encode(_png(image)).decode("ascii")
    return Thumbnail(uri=uri, width=image.width, height=image.height)


def _png(image: Image.Image) -> bytes:
    # A new image object: Pillow would copy text chunks and profiles from `info`.
    pixels = Image.frombytes(image.mode, image.size, image.tobytes())
    target = io.BytesIO()
    pixels.save(target, format="PNG", compress_level=3)
    return target.getvalue()
