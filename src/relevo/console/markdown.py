"""Words from outside in a place that Streamlit reads as Markdown: buttons, names of fields, short messages.

"monthly_charges" ─ nothing in it that Markdown reads ─► as it is, for a screen reader is given a field's name with every sign in it
"a_b_ :red[!]"    ─ every sign is taken by its word ───► shown as it was written
"""

from __future__ import annotations

import re

_SIGNS = frozenset(r"\`*_{}[]()#+-.!$:|<>~&")
#: Words with one blank, hyphen or the like between two of them: no sign stands where it could mean anything.
_PLAIN = re.compile(r"[^\W_]+(?:[ _/'-][^\W_]+)*")


def escape_markdown(text: str) -> str:
    """A text as Markdown shows it unchanged, on one line."""
    line = " ".join(text.split())
    if _PLAIN.fullmatch(line):
        return line
    return "".join("\\" + one if one in _SIGNS else one for one in line)
