"""Static files of the pages (style, script, logo), served from the package with a hash in their URL.

static/relevo.css ─ sha256 ─► /static/relevo-1a2b3c4d5e6f.css       cached for a year; changed content has a new URL
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
_NAMES = ("relevo.css", "relevo.js", "relevo.svg")
_HASH_DIGITS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One static file. Lifetime: the process."""

    address: str  # below /static/
    content: bytes
    media_type: str


@cache
def assets() -> dict[str, Asset]:
    """All static files by name."""
    return {name: _load(name) for name in _NAMES}


def find_asset(address: str) -> Asset | None:
    """The file with this path below /static/, or None."""
    return next((asset for asset in assets().values() if asset.address == address), None)


def link(name: str) -> str:
    """URL path of a file by name, for templates."""
    return f"/static/{assets()[name].address}"


def _load(name: str) -> Asset:
    content = files("relevo.web").joinpath("static", name).read_bytes()
    stem, dot, ending = name.rpartition(".")
    digest = hashlib.sha256(content).hexdigest()[:_HASH_DIGITS]
    return Asset(address=f"{stem}-{digest}{dot}{ending}", content=content, media_type=_TYPES[dot + ending])
