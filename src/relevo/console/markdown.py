"""Escapes text for Streamlit widgets that render Markdown: buttons, field names, short messages.

"monthly_charges" ─ contains no Markdown syntax ───► unchanged, because screen readers read out every backslash of a field name
"a_b_ :red[!]"    ─ every special character escaped ─► shown as it was written
"""

from __future__ import annotations

import re

_SPECIAL = frozenset(r"\`*_{}[]()#+-.!$:|<>~&")
#: Words separated by single blanks, hyphens and the like; nothing in it is Markdown syntax.
_PLAIN = re.compile(r"[^\W_]+(?:[ _/'-][^\W_]+)*")


def escape_markdown(text: str) -> str:
    """The text on one line, escaped so that Markdown shows it unchanged."""
    line = " ".join(text.split())
    if _PLAIN.fullmatch(line):
        return line
    return "".join("\\" + character if character in _SPECIAL else character for character in line)
