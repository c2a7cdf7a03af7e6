"""Relevo packages trained models, serves them, and records their predictions and labels.

    relevo.pack(model, name="churn", samples=X, truth=y)     fitted model ─► package
    relevo.open("churn.zip").predict({"tenure": 41, …})      package ─► prediction, in this process
    relevo.Client("http://127.0.0.1:8000")                   server ─► prediction, over HTTP

Names are imported on first use, so that a client does not import the runtime, nor a server the converters.
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

_LOCATIONS = {
    "Client": ("relevo.client", "Client"),
    "Package": ("relevo.package.package", "Package"),
    "RelevoError": ("relevo.errors", "RelevoError"),
    "open": ("relevo.package.package", "open_package"),
    "pack": ("relevo.converters.pack", "pack"),
}


def __getattr__(name: str) -> Any:
    if name not in _LOCATIONS:
        raise AttributeError(name)
    module, attribute = _LOCATIONS[name]
    return getattr(import_module(module), attribute)
