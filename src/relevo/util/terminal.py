r"""Foreign words made fit for a terminal and a log: what would steer either is spelt out.

    "cat\x1b[2J"  ─ visible ─►  "cat\u001b[2J"

Spelt out are the control characters (C0, DEL, C1), the separators of lines and paragraphs, the marks that turn the direction of
writing, and the halves of pairs that a file name may hold. The spelling is that of JSON, so that JSON stays JSON.
"""

from __future__ import annotations

import re

_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def escape_control(text: str, *, keep: str = "") -> str:
    """The text with every steering character spelt out but those in `keep`."""
    return _STEERING.sub(lambda found: found[0] if found[0] in keep else _spelt(found[0]), text)


def has_control(text: str, *, keep: str = "") -> bool:
    """Whether the text has a character that `visible` would spell out."""
    return any(found[0] not in keep for found in _STEERING.finditer(text))


def _spelt(sign: str) -> str:
    return _SHORT.get(sign, f"\\u{ord(sign):04x}")
