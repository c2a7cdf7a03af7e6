"""Ids of predictions: UUID version 7 (RFC 9562 §5.7), so that they sort by the time they were given."""

from __future__ import annotations

import os
from uuid import UUID

_TEXT_LENGTH = 36


def new_id(unix_ms: int, entropy: bytes | None = None) -> bytes:
    """Sixteen bytes: 48 bits of `unix_ms`, version, variant and 74 random bits.

    entropy: 10 random bytes; drawn from the operating system when not given.
    """
    noise = bytearray(os.urandom(10) if entropy is None else entropy)
    noise[0] = 0x70 | (noise[0] & 0x0F)
    noise[2] = 0x80 | (noise[2] & 0x3F)
    return unix_ms.to_bytes(6, "big") + bytes(noise)


def text(raw: bytes) -> str:
    """The usual form with four dashes."""
    digits = raw.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def raw(text_form: str) -> bytes | None:
    """The sixteen bytes of an id in its usual form, or None when it is none."""
    if len(text_form) != _TEXT_LENGTH:
        return None
    try:
        return UUID(text_form).bytes
    except ValueError:
        return None
