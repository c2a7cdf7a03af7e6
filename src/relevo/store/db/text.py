"""Names and texts at the border of the database: which names are taken, and what no database would store."""

from __future__ import annotations

import re

from relevo.errors import FieldTypeError

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_LAST_NUMBER = 2**31 - 1
_RULE = "1 to 64 of a-z, 0-9, '-' and '_', beginning with a letter or digit"


def validate_name(name: str, field: str) -> str:
    """The name itself, when it may be one. Raises FieldTypeError that names `field`."""
    if _NAME.fullmatch(name) is None:
        raise FieldTypeError(field=field, expected=_RULE, got="another name")
    return name


def strip_unstorable(text: str) -> str:
    """The text without what PostgreSQL or SQLite refuse (NUL, lone surrogates), each replaced by the sign for a lost character.

    A refused row would hold up every row behind it.
    """
    if text.isprintable():  # NUL and surrogates are not; nearly every text ends here
        return text
    return text.replace("\x00", "\ufffd").encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def is_version_number(number: int) -> bool:
    """Whether a version could have this number; a larger one is no version, and the databases would not even compare it."""
    return 1 <= number <= _LAST_NUMBER
