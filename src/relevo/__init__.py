"""Relevo takes a trained model to production and keeps it right.

    relevo.pack(model, name="churn", samples=X, truth=y)     a fitted model ─► package
    relevo.open("churn.zip").predict({"tenure": 41, …})      package ─► answer, here
    relevo.Client("http://127.0.0.1:8000")                   server ─► answer, over HTTP

Names are loaded when they are first used: a client need not load a runtime, nor a server a packer.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from relevo.client import Client
    from relevo.converters.pack import pack
    from relevo.errors import RelevoError
    from relevo.package.package import Package
    from relevo.package.package import open_package as open  # noqa: A004 - relevo.open is the public name

__all__ = ["Client", "Package", "RelevoError", "open", "pack"]
__version__ = "0.1.0"

_HOMES = {
    "Client": ("relevo.client", "Client"),
    "Package": ("relevo.package.package", "Package"),
    "RelevoError": ("relevo.errors", "RelevoError"),
    "open": ("relevo.package.package", "open_package"),
    "pack": ("relevo.converters.pack", "pack"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(name)
    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)
