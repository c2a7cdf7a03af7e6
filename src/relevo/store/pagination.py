"""Page cursors: opaque, URL-safe text that encodes the sort values of a page's last row.

sort values of the last row ─ encode_cursor ─► base64 of JSON ─ decode_cursor ─► the same values, or FieldTypeError
"""

from __future__ import annotations

import base64
import binascii
from typing import TypeVar

import msgspec

from relevo.errors import FieldRangeError, FieldTypeError

#: Maximum rows of a page.
MOST_ITEMS = 1000
_MAX_CHARS = 1000
Values = TypeVar("Values")


def encode_cursor(values: object) -> str:
    """Encodes the sort values of a page's last row, any JSON value."""
    return base64.urlsafe_b64encode(msgspec.json.encode(values)).decode().rstrip("=")


def decode_cursor(text: str, expected_type: type[Values]) -> Values:
    """Decodes a cursor and checks that its values are of this type. Raises FieldTypeError."""
    try:
        padded = text[:_MAX_CHARS] + "=" * (-len(text[:_MAX_CHARS]) % 4)
        data = base64.b64decode(padded, altchars=b"-_", validate=True)
        return msgspec.json.decode(data, type=expected_type)
    except (binascii.Error, ValueError, msgspec.MsgspecError) as cause:
        raise FieldTypeError(field="cursor", expected="the next_cursor of an earlier page", got="something else") from cause


def validate_limit(limit: int) -> int:
    """Returns the limit if it is a valid page size. Raises FieldRangeError."""
    if not 1 <= limit <= MOST_ITEMS:
        raise FieldRangeError(field="limit", minimum=1, maximum=MOST_ITEMS)
    return limit
