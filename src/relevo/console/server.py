"""The console as a process: one socket, Streamlit's app, and our door before it.

listening(host, port) ─► run(told, socket) ─► Outside(Door(App(app.py, routes))) ─► uvicorn until it is told to end
"""

from __future__ import annotations

import contextlib
import signal
import socket
import tomllib
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import uvicorn
from starlette.middleware import Middleware

from relevo.console.assets import look
from relevo.console.auth import login, sessions
from relevo.console.auth.proxy import ProxyMiddleware
from relevo.errors import ConfigError, MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from streamlit.starlette import App

    from relevo.console.auth.sessions import ConsoleConfig

_BACKLOG = 128
_MOST_UPLOAD_MB = 20
_WARM = ("pandas", "pyarrow", "relevo.console.layout", "relevo.console.pages")
#: What a stranger's configuration file must not change.
_FIXED = {
    "browser.gatherUsageStats": False,
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "none",
    "client.showSidebarNavigation": True,
    "server.fileWatcherType": "none",
    "server.headless": True,
    "server.enableStaticServing": False,
    "server.maxUploadSize": _MOST_UPLOAD_MB,
    "runner.magicEnabled": False,
    "logger.level": "warning",
}


def run(
    told: ConsoleConfig,
    listener: socket.socket,
    *,
    names: tuple[str, ...] = (),
    pair: tuple[Path, Path] | None = None,
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Show the console on this socket until SIGTERM or Ctrl-C.

    names: by which browsers may call it beside its own. pair: files of the certificate and its key, for https. ready: called once
    it answers. Raises MissingDependencyError without Streamlit.
    """
    host, port = listener.getsockname()[:2]
    cert, key = pair or (None, None)
    app = _app(told, str(host), int(port), names)
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=2,
        ssl_certfile=cert, ssl_keyfile=key,
        # `outside` reads what a proxy forwards; uvicorn by itself would believe every process of this machine.
        proxy_headers=False,
    )  # fmt: skip
    server = _Server(config)
    server.ready = ready
    server.run(sockets=[listener])


class _Server(uvicorn.Server):
    """Says when it answers; lives as long as the process."""

    ready: Callable[[], None]

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Being told to end is an ordinary end: the exit code is 0."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, act in before.items():
                signal.signal(number, act)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Tell it once the socket is served."""
        await super().startup(sockets)
        if self.started:
            self.ready()


def _app(told: ConsoleConfig, host: str, port: int, names: tuple[str, ...]) -> App:
    check_installed()
    from streamlit import config
    from streamlit.runtime.pages_manager import PagesManager
    from streamlit.starlette import App

    own = urlsplit(told.address).hostname or host
    allowed = [] if "*" in names else [host, own, "localhost", "127.0.0.1", "[::1]", *names]
    config.get_config_options(
        force_reparse=True,
        options_from_flags={**_FIXED, **_theme(), "server.address": host, "server.port": port, "server.allowedHosts": allowed},
    )
    # Our pages are functions; a visit that begins at /models would otherwise run that file by itself.
    PagesManager.uses_pages_directory = False
    known = sessions.open_for(told)
    pages = import_module("relevo.console.pages")
    # What the pages load takes a second or two: now, rather than while the first visitor waits.
    for name in _WARM:
        import_module(name)
    coats = [
        Middleware(ProxyMiddleware, told=told),
        Middleware(login.LoginMiddleware, visitors=known, pages=frozenset(pages.names())),
    ]
    return App(Path(__file__).with_name("app.py"), routes=login.LoginRoutes(known).routes(), middleware=coats)


def _theme() -> dict[str, Any]:
    """Colours and shapes, as Streamlit's settings: theme.light.primaryColor and so on."""
    found: dict[str, Any] = {}

    def walk(prefix: str, table: dict[str, Any]) -> None:
        for name, value in table.items():
            if isinstance(value, dict):
                walk(f"{prefix}.{name}", value)
            else:
                found[f"{prefix}.{name}"] = value

    walk("theme", tomllib.loads(look("theme.toml")))
    return found


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 takes a free one. Raises ConfigError."""
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        bound.listen(_BACKLOG)
    except OSError as cause:
        bound.close()
        raise ConfigError(reason=f"port {port} of {host} cannot be used ({cause.strerror}); choose another with --port") from cause
    return bound


def check_installed() -> None:
    """Raises MissingDependencyError without Streamlit."""
    if find_spec("streamlit") is None:
        raise MissingDependencyError(extra="console")
