"""Validation of names and texts before they are stored: allowed names, and characters that no database stores."""

from __future__ import annotations

import re

from relevo.errors import FieldTypeError

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_MAX_INT32 = 2**31 - 1
_EXPECTED_NAME = "1 to 64 of a-z, 0-9, '-' and '_', beginning with a letter or digit"


def validate_name(name: str, field: str) -> str:
    """Returns the name if it is valid. Raises FieldTypeError for `field`."""
    if _NAME.fullmatch(name) is None:
        raise FieldTypeError(field=field, expected=_EXPECTED_NAME, got="another name")
    return name


def strip_unstorable(text: str) -> str:
    """Replaces what PostgreSQL or SQLite reject (NUL, lone surrogates) by the replacement character.

    A rejected row would block every row after it.
    """
    if text.isprintable():  # NUL and surrogates are not; the fast path of nearly every text
        return text
    return text.replace("\x00", "\ufffd").encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def is_version_number(number: int) -> bool:
    """Whether a version could have this number. Larger ones do not fit the column, and the databases reject a comparison with them."""
    return 1 <= number <= _MAX_INT32
