"""The page's own files: style, script and mark, served from the package with a hash in the address.

static/relevo.css ─ sha256 ─► /static/relevo-1a2b3c4d5e6f.css       cached for a year; a new content has a new address
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
    """One file as it is sent; lives as long as the process."""

    address: str  # below /static/
    content: bytes
    media_type: str


@cache
def assets() -> dict[str, Asset]:
    """Every file of the page, by its plain name."""
    return {name: _read(name) for name in _NAMES}


def at(address: str) -> Asset | None:
    """The file at an address below /static/, or None."""
    return next((asset for asset in assets().values() if asset.address == address), None)


def link(name: str) -> str:
    """The address of a file by its plain name, for templates."""
    return f"/static/{assets()[name].address}"


def _read(name: str) -> Asset:
    content = files("relevo.web").joinpath("static", name).read_bytes()
    stem, dot, ending = name.rpartition(".")
    digest = hashlib.sha256(content).hexdigest()[:_HASH_DIGITS]
    return Asset(address=f"{stem}-{digest}{dot}{ending}", content=content, media_type=_TYPES[dot + ending])
