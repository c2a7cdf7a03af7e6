"""Where a browser goes after signing in, or after choosing a language: a page of this console, whatever was asked.

landing("history?model=digits") ─► "/history?model=digits"        landing("//elsewhere.example") ─► "/"
"""

from __future__ import annotations

import re

#: The page that stands at the root; Streamlit knows it by no other address.
ROOT = "classify"
_PAGE = re.compile(r"/?([a-z]{0,40})/?(\?[!-~]{0,2000})?")


def safe_redirect(asked: str | None) -> str:
    """The address of that page with its question, else of the first one."""
    found = _PAGE.fullmatch(asked or "")
    if found is None:
        return "/"
    name, question = found[1], found[2] or ""
    return f"/{'' if name == ROOT else name}{question if len(question) > 1 else ''}"
