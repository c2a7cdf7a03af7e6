"""Safe redirect targets after login or a change of language: only pages of this console, whatever the request names.

safe_redirect("history?model=digits") ─► "/history?model=digits"        safe_redirect("//elsewhere.example") ─► "/"
"""

from __future__ import annotations

import re

#: The page at the root; Streamlit has no other address for it.
ROOT = "classify"
_PAGE = re.compile(r"/?([a-z]{0,40})/?(\?[!-~]{0,2000})?")


def safe_redirect(target: str | None) -> str:
    """The address of that page with its query string; "/" for any other target."""
    match = _PAGE.fullmatch(target or "")
    if match is None:
        return "/"
    name, query = match[1], match[2] or ""
    return f"/{'' if name == ROOT else name}{query if len(query) > 1 else ''}"
