"""A digest of what an input says, whatever its bytes: copies are found by it.

image ─ header checked ─ upright ─ RGBA ─► size, pixels ─┐
record ─ JSON ─ keys in order ─────────────► text ───────┴─► SHA-256
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec
from PIL import Image, ImageOps

from relevo.domain.prediction import InputKind
from relevo.errors import BrokenImageError, InvalidJsonError
from relevo.runtime.image import open_image

if TYPE_CHECKING:
    from relevo.runtime.image import ImageLimits

_FAILURES = (OSError, SyntaxError, ValueError, IndexError, TypeError, ZeroDivisionError, Image.DecompressionBombError)


def content_digest(kind: InputKind, data: bytes, limits: ImageLimits) -> bytes:
    """32 bytes that two inputs share when a model could not tell them apart. Raises InvalidInputError for what cannot be read."""
    return _of_image(data, limits) if kind is InputKind.IMAGE else _of_record(data)


def _of_image(data: bytes, limits: ImageLimits) -> bytes:
    picture = open_image(data, limits)
    try:
        upright = ImageOps.exif_transpose(picture).convert("RGBA")
    except _FAILURES as cause:
        raise BrokenImageError from cause
    digest = hashlib.sha256(b"%d %d " % upright.size)
    digest.update(upright.tobytes())
    return digest.digest()


def _of_record(data: bytes) -> bytes:
    try:
        record = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as cause:
        raise InvalidJsonError(reason="it is no JSON") from cause
    return hashlib.sha256(msgspec.json.encode(record, order="sorted")).digest()
