"""The console's own files of style, marks and templates, each read once: `look/`."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def look(name: str) -> str:
    """The text of one of them."""
    return files("relevo.console.assets").joinpath(name).read_text(encoding="utf-8")
