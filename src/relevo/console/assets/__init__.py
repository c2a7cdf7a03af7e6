"""Style sheets, icons, scripts and templates of the console; each file is read once."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def read_asset(name: str) -> str:
    """Text of one file of this folder."""
    return files("relevo.console.assets").joinpath(name).read_text(encoding="utf-8")
