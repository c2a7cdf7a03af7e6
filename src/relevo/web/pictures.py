"""An uploaded image as small pictures for the page: re-encoded, so that nothing of the file itself reaches a browser.

bytes ─ open_checked ─ shrink ─► PNG ─► data: URI           what was sent
bytes ─ decode as the model does ─► PNG ─► data: URI        what the model saw
"""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

from PIL import Image, ImageOps

from relevo.domain.preprocessing import ImageSteps
from relevo.domain.signature import ImageInput
from relevo.errors import BrokenImage, RelevoError
from relevo.runtime.image import ImageLimits, decode, open_checked

if TYPE_CHECKING:
    from relevo.domain.manifest import Manifest

_SIDE_SHOWN = 640
_PLAIN_MODES = frozenset({"L", "RGB"})


def sent_picture(data: bytes, limits: ImageLimits | None = None) -> str | None:
    """A data: URI of the image, at most 640 pixels a side, upright; None for bytes that cannot be shown.

    Decodes the whole image: call it in a thread.
    """
    try:
        return data_uri(reencoded(data, side=_SIDE_SHOWN, limits=limits))
    except RelevoError:
        return None


def seen_picture(data: bytes, manifest: Manifest, limits: ImageLimits | None = None) -> str | None:
    """A data: URI of the pixels that the model was given; None for a model of records or bytes that cannot be shown."""
    wanted, steps = manifest.input, manifest.steps
    if not isinstance(wanted, ImageInput) or not isinstance(steps, ImageSteps):
        return None
    try:
        pixels = decode(data, wanted, steps, limits or ImageLimits())
    except RelevoError:
        return None
    return data_uri(_png(Image.fromarray(pixels)))


def reencoded(data: bytes, *, side: int | None = None, limits: ImageLimits | None = None) -> bytes:
    """The image's pixels as a fresh PNG without metadata, upright; shrunk to `side` pixels where that is given.

    Raises UnsupportedImage, ImageTooLarge, BrokenImage.
    """
    picture = open_checked(data, limits or ImageLimits())
    try:
        if side is not None:
            # A JPEG is then decoded at a half, quarter or eighth of its size, which is enough.
            picture.draft("RGB", (side, side))
        picture.load()
        upright = ImageOps.exif_transpose(picture)
        plain = upright if upright.mode in _PLAIN_MODES else upright.convert("RGB")
        if side is not None:
            plain.thumbnail((side, side))
        return _png(plain)
    except Exception as cause:
        raise BrokenImage from cause


def data_uri(png: bytes) -> str:
    """The address that holds the picture itself."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _png(picture: Image.Image) -> bytes:
    # A new image object: Pillow would carry text chunks and profiles over from `info`.
    bare = Image.frombytes(picture.mode, picture.size, picture.tobytes())
    target = io.BytesIO()
    bare.save(target, format="PNG", compress_level=3)
    return target.getvalue()
