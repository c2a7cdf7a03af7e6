"""Computes a digest of an input's content, by which duplicates are found whatever their encoding.

image ─ header checked ─ upright ─ RGBA ─► size, pixels ─┐
record ─ JSON ─ keys sorted ───────────────► text ───────┴─► SHA-256
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

_DECODE_ERRORS = (OSError, SyntaxError, ValueError, IndexError, TypeError, ZeroDivisionError, Image.DecompressionBombError)


def content_digest(kind: InputKind, data: bytes, limits: ImageLimits) -> bytes:
    """32 bytes; equal for inputs that no model can distinguish. Raises InvalidInputError if the input cannot be read."""
    return _image_digest(data, limits) if kind is InputKind.IMAGE else _record_digest(data)


def _image_digest(data: bytes, limits: ImageLimits) -> bytes:
    image = open_image(data, limits)
    try:
        upright = ImageOps.exif_transpose(image).convert("RGBA")
    except _DECODE_ERRORS as cause:
        raise BrokenImageError from cause
    digest = hashlib.sha256(b"%d %d " % upright.size)
    digest.update(upright.tobytes())
    return digest.digest()


def _record_digest(data: bytes) -> bytes:
    try:
        record = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as cause:
        raise InvalidJsonError(reason="it is no JSON") from cause
    return hashlib.sha256(msgspec.json.encode(record, order="sorted")).digest()
