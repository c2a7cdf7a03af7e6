r"""Escapes control characters in untrusted text, for terminals and logs.

    "cat\x1b[2J"  ─ escape_control ─►  "cat\u001b[2J"

Escaped are the control characters (C0, DEL, C1), the line and paragraph separators, the bidirectional formatting characters,
and lone surrogates, which a file name may contain. The escapes are those of JSON, so that JSON remains valid JSON.
"""

from __future__ import annotations

import re

_SHORT_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def escape_control(text: str, *, keep: str = "") -> str:
    """The text with every control character escaped, except those in `keep`."""
    return _CONTROL.sub(lambda match: match[0] if match[0] in keep else _escape(match[0]), text)


def has_control(text: str, *, keep: str = "") -> bool:
    """Whether the text has a character that `escape_control` would escape."""
    return any(match[0] not in keep for match in _CONTROL.finditer(text))


def _escape(char: str) -> str:
    return _SHORT_ESCAPES.get(char, f"\\u{ord(char):04x}")
