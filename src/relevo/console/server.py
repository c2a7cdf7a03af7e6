"""Runs the console process: uvicorn with the Streamlit app behind the middleware for proxies and login.

listening(host, port) ─► run(config, socket) ─► ProxyMiddleware(LoginMiddleware(App(app.py, routes))) ─► uvicorn until SIGTERM
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

from relevo.console.assets import read_asset
from relevo.console.auth import login, sessions
from relevo.console.auth.proxy import ProxyMiddleware
from relevo.errors import ConfigError, MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from streamlit.starlette import App

    from relevo.console.auth.sessions import ConsoleConfig

_BACKLOG = 128
_MAX_UPLOAD_MB = 20
_PRELOAD = ("pandas", "pyarrow", "relevo.console.layout", "relevo.console.pages")
#: Streamlit options that no configuration file on the machine may override.
_FIXED_OPTIONS = {
    "browser.gatherUsageStats": False,
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "none",
    "client.showSidebarNavigation": True,
    "server.fileWatcherType": "none",
    "server.headless": True,
    "server.enableStaticServing": False,
    "server.maxUploadSize": _MAX_UPLOAD_MB,
    "runner.magicEnabled": False,
    "logger.level": "warning",
}


def run(
    config: ConsoleConfig,
    listener: socket.socket,
    *,
    names: tuple[str, ...] = (),
    pair: tuple[Path, Path] | None = None,
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Serves the console on this socket until SIGTERM or Ctrl-C.

    names: further allowed Host headers; "*" allows all. pair: files of the certificate and its key, for https. ready: called when
    the socket is served. Raises MissingDependencyError without Streamlit.
    """
    host, port = listener.getsockname()[:2]
    cert, key = pair or (None, None)
    app = _build_app(config, str(host), int(port), names)
    options = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=2,
        ssl_certfile=cert, ssl_keyfile=key,
        # ProxyMiddleware reads the proxy headers; uvicorn would trust those of every process on this machine.
        proxy_headers=False,
    )  # fmt: skip
    server = _Server(options)
    server.ready = ready
    server.run(sockets=[listener])


class _Server(uvicorn.Server):
    """A uvicorn server that calls `ready` when its socket is served. Lifetime: the process."""

    ready: Callable[[], None]

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handles SIGINT and SIGTERM without raising them again, so the exit code is 0."""
        previous = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts serving, then calls `ready`."""
        await super().startup(sockets)
        if self.started:
            self.ready()


def _build_app(console: ConsoleConfig, host: str, port: int, names: tuple[str, ...]) -> App:
    check_installed()
    from streamlit import config
    from streamlit.runtime.pages_manager import PagesManager
    from streamlit.starlette import App

    public_host = urlsplit(console.address).hostname or host
    allowed = [] if "*" in names else [host, public_host, "localhost", "127.0.0.1", "[::1]", *names]
    config.get_config_options(
        force_reparse=True,
        options_from_flags={
            **_FIXED_OPTIONS,
            **_theme(),
            "server.address": host,
            "server.port": port,
            "server.allowedHosts": allowed,
        },
    )
    # Pages are functions; otherwise Streamlit would run the file pages/models.py for a request of /models.
    PagesManager.uses_pages_directory = False
    console_sessions = sessions.init_sessions(console)
    pages = import_module("relevo.console.pages")
    # These imports take one or two seconds: load them before the first request.
    for name in _PRELOAD:
        import_module(name)
    middleware = [
        Middleware(ProxyMiddleware, config=console),
        Middleware(login.LoginMiddleware, sessions=console_sessions, pages=frozenset(pages.names())),
    ]
    return App(Path(__file__).with_name("app.py"), routes=login.LoginRoutes(console_sessions).routes(), middleware=middleware)


def _theme() -> dict[str, Any]:
    """The theme as Streamlit options: theme.light.primaryColor and so on."""
    options: dict[str, Any] = {}

    def flatten(prefix: str, table: dict[str, Any]) -> None:
        for name, value in table.items():
            if isinstance(value, dict):
                flatten(f"{prefix}.{name}", value)
            else:
                options[f"{prefix}.{name}"] = value

    flatten("theme", tomllib.loads(read_asset("theme.toml")))
    return options


def listening(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 selects a free port. Raises ConfigError."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as cause:
        listener.close()
        raise ConfigError(reason=f"port {port} of {host} cannot be used ({cause.strerror}); choose another with --port") from cause
    return listener


def check_installed() -> None:
    """Raises MissingDependencyError without Streamlit."""
    if find_spec("streamlit") is None:
        raise MissingDependencyError(extra="console")
