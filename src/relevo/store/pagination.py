"""Cursors: where a page ended, as text that people hand back and need not read.

values of the last row ─ cursor ─► base64 of JSON ─ values ─► the same values, or a refusal
"""

from __future__ import annotations

import base64
import binascii
from typing import TypeVar

import msgspec

from relevo.errors import FieldRangeError, FieldTypeError

#: Most rows of a page.
MOST_ITEMS = 1000
_MOST_LETTERS = 1000
Where = TypeVar("Where")


def encode_cursor(where: object) -> str:
    """The text for what a page ended at: a JSON value."""
    return base64.urlsafe_b64encode(msgspec.json.encode(where)).decode().rstrip("=")


def decode_cursor(text: str, kind: type[Where]) -> Where:
    """What a page ended at, which must be of this kind. Raises FieldTypeError."""
    try:
        padded = text[:_MOST_LETTERS] + "=" * (-len(text[:_MOST_LETTERS]) % 4)
        data = base64.b64decode(padded, altchars=b"-_", validate=True)
        return msgspec.json.decode(data, type=kind)
    except (binascii.Error, ValueError, msgspec.MsgspecError) as cause:
        raise FieldTypeError(field="cursor", expected="the next_cursor of an earlier page", got="something else") from cause


def checked_limit(limit: int) -> int:
    """The limit, when a page may be so long. Raises FieldRangeError."""
    if not 1 <= limit <= MOST_ITEMS:
        raise FieldRangeError(field="limit", minimum=1, maximum=MOST_ITEMS)
    return limit
