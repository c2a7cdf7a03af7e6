"""Runs the console as a child process of the server's supervisor, on the same machine.

relevo serve --console ─► console_socket ─► serve(console=…) ─► ProcessSpec(console) ─► run_console ─► HTTP requests to the server
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from relevo.server.supervisor import when_orphaned
from relevo.server.tls import pinned_context
from relevo.store.files.key_files import load_or_create_key
from relevo.util.proxy_headers import parse_trusted_proxies

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

    from relevo.config import Settings
    from relevo.server.tls import Certificate

#: Wildcard addresses, with the loopback address by which this machine reaches them.
_LOOPBACK_OF = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not bound to


def local_host(host: str) -> str:
    """The host part of a URL by which this machine reaches a listening address."""
    address = _LOOPBACK_OF.get(host, host)
    return f"[{address}]" if ":" in address else address


def local_url(host: str, port: int, *, encrypted: bool) -> str:
    """The URL by which this machine's browsers and programs reach a listening address."""
    return f"http{'s' if encrypted else ''}://{local_host(host)}:{port}"


def console_socket(settings: Settings, port: int) -> socket.socket:
    """The listening socket of the console, on the server's host; port 0 takes a free one. Raises ConfigError, MissingDependencyError."""
    from relevo.console.server import check_installed, listening

    check_installed()
    return listening(settings.host, port)


def key_loader(path: Path | None) -> Callable[[], bytes]:
    """Returns a function that reads the key shared by server and console; empty until the server has created it. Raises ConfigError."""
    if path is None:
        return bytes

    def load() -> bytes:
        return load_or_create_key(path, make=False) if path.exists() else b""

    load()
    return load


def run_console(settings: Settings, listener: socket.socket, certificate: Certificate | None, port: int, parent_pipe: int) -> None:
    """In a child process: runs the console until SIGTERM, or until the parent is gone. port: of the server."""
    from relevo.console.auth.sessions import ConsoleConfig
    from relevo.console.server import run

    when_orphaned(parent_pipe, lambda: os.kill(os.getpid(), signal.SIGTERM))
    console_url = local_url(settings.host, listener.getsockname()[1], encrypted=certificate is not None)
    config = ConsoleConfig(
        server=local_url(settings.host, port, encrypted=certificate is not None),
        verify=pinned_context(certificate.cert) if certificate else None,
        language=settings.language,
        address=settings.console_public_url.rstrip("/") or console_url,
        public_url=settings.public_url.rstrip("/"),
        key=key_loader(settings.console_key),
        proxies=parse_trusted_proxies(settings.trusted_proxies),
    )
    pair = (certificate.cert, certificate.key) if certificate else None
    run(config, listener, names=tuple(filter(None, settings.allowed_hosts.split(","))), pair=pair)
