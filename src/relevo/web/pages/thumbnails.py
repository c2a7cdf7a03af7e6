"""An uploaded image as small pictures for the page: re-encoded, so that nothing of the file itself reaches a browser.

bytes ─ open_checked ─ shrink ─► PNG ─► data: URI           what was sent
bytes ─ decode as the model does ─► PNG ─► data: URI        what the model saw
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

_SIDE_SHOWN = 640
#: Up to this side a picture is shown enlarged, pixel by pixel.
_TINY_SIDE = 64
_GREY_MODES = frozenset({"1", "L", "LA"})
#: How a person sees a picture: upright, and what is transparent on white.
_SHOWN = ImageSteps(input="", orientation="exif", background="white")


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture that stands in the page itself; lives as long as a page is made."""

    uri: str
    width: int  # pixels
    height: int

    @property
    def tiny(self) -> bool:
        """Whether it is too small to be seen as it is."""
        return max(self.width, self.height) <= _TINY_SIDE


def sent_picture(data: bytes, limits: ImageLimits) -> Picture | None:
    """The image, at most 640 pixels a side, upright; None for bytes that cannot be shown.

    Decodes the whole image: call it in a thread.
    """
    try:
        return _inline(_plain(data, limits, side=_SIDE_SHOWN))
    except RelevoError:
        return None


def seen_picture(data: bytes, manifest: Manifest, limits: ImageLimits) -> Picture | None:
    """The pixels that the model was given; None for a model of records or bytes that cannot be shown."""
    wanted, steps = manifest.input, manifest.steps
    if not isinstance(wanted, ImageInput) or not isinstance(steps, ImageSteps):
        return None
    try:
        return _inline(Image.fromarray(decode(data, wanted, steps, limits)))
    except RelevoError:
        return None


def reencoded(data: bytes, limits: ImageLimits, *, side: int | None = None) -> bytes:
    """The image's pixels as a fresh PNG without metadata, upright. side: at most so many pixels a side.

    Raises UnsupportedImageError, ImageTooLargeError, BrokenImageError.
    """
    return _png(_plain(data, limits, side=side))


def _plain(data: bytes, limits: ImageLimits, *, side: int | None = None) -> Image.Image:
    picture = open_image(data, limits)
    try:
        if side is not None:
            # A JPEG is then decoded at a half, quarter or eighth of its size, which is enough.
            picture.draft("RGB", (side, side))
        shown = plain(picture, "L" if picture.mode in _GREY_MODES else "RGB", _SHOWN)
        if side is not None:
            shown.thumbnail((side, side))
    except Exception as cause:
        raise BrokenImageError from cause
    return shown


def _inline(picture: Image.Image) -> Picture:
    uri = "data:image/png;base64," + base64.b64encode(_png(picture)).decode("ascii")
    return Picture(uri=uri, width=picture.width, height=picture.height)


def _png(picture: Image.Image) -> bytes:
    # A new image object: Pillow would carry text chunks and profiles over from `info`.
    bare = Image.frombytes(picture.mode, picture.size, picture.tobytes())
    target = io.BytesIO()
    bare.save(target, format="PNG", compress_level=3)
    return target.getvalue()
