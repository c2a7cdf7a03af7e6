"""Prediction ids: UUID version 7 (RFC 9562 §5.7), which sort by time."""

from __future__ import annotations

import os
from uuid import UUID

_TEXT_LENGTH = 36


def new_id(unix_ms: int, entropy: bytes | None = None) -> bytes:
    """Sixteen bytes: 48 bits of `unix_ms`, version, variant and 74 random bits.

    entropy: 10 random bytes; from the operating system by default.
    """
    random_bytes = bytearray(os.urandom(10) if entropy is None else entropy)
    random_bytes[0] = 0x70 | (random_bytes[0] & 0x0F)
    random_bytes[2] = 0x80 | (random_bytes[2] & 0x3F)
    return unix_ms.to_bytes(6, "big") + bytes(random_bytes)


def text(raw: bytes) -> str:
    """The canonical text form, with four dashes."""
    digits = raw.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def raw(text_form: str) -> bytes | None:
    """The sixteen bytes of an id in text form; None if it is invalid."""
    if len(text_form) != _TEXT_LENGTH:
        return None
    try:
        return UUID(text_form).bytes
    except ValueError:
        return None
