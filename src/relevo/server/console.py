"""The console beside the server, on one machine: one more child of the server's supervisor.

relevo serve --console ─► console_socket ─► serve(console=…) ─► Role(console) ─► run_console ─► asks the server like anyone
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

#: Addresses that stand for all of a machine's own.
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not bound to


def local_host(host: str) -> str:
    """How a listening address is reached from its own machine, as it stands in a URL."""
    found = _ANY.get(host, host)
    return f"[{found}]" if ":" in found else found


def local_url(host: str, port: int, *, encrypted: bool) -> str:
    """Where this machine's own browsers and programs find what listens there."""
    return f"http{'s' if encrypted else ''}://{local_host(host)}:{port}"


def console_socket(settings: Settings, port: int) -> socket.socket:
    """Where the console will listen: the server's host, another port; 0 takes a free one. Raises ConfigError, MissingDependencyError."""
    from relevo.console.server import check_installed, listening

    check_installed()
    return listening(settings.host, port)


def key_loader(path: Path | None) -> Callable[[], bytes]:
    """What reads the key that a server and its console share; none while the server has not made it. Raises ConfigError."""
    if path is None:
        return bytes

    def key() -> bytes:
        return load_or_create_key(path, make=False) if path.exists() else b""

    key()
    return key


def run_console(settings: Settings, listener: socket.socket, certificate: Certificate | None, port: int, life: int) -> None:
    """In a child: show the console until told to end, or until the parent is gone. port: the server's."""
    from relevo.console.auth.sessions import ConsoleConfig
    from relevo.console.server import run

    when_orphaned(life, lambda: os.kill(os.getpid(), signal.SIGTERM))
    own = local_url(settings.host, listener.getsockname()[1], encrypted=certificate is not None)
    told = ConsoleConfig(
        server=local_url(settings.host, port, encrypted=certificate is not None),
        verify=pinned_context(certificate.cert) if certificate else None,
        language=settings.language,
        address=settings.console_public_url.rstrip("/") or own,
        public_url=settings.public_url.rstrip("/"),
        key=key_loader(settings.console_key),
        proxies=parse_trusted_proxies(settings.trusted_proxies),
    )
    pair = (certificate.cert, certificate.key) if certificate else None
    run(told, listener, names=tuple(filter(None, settings.allowed_hosts.split(","))), pair=pair)
