"""uvicorn as a worker runs it: our short way for predictions, our certificate, and an end that waits only for answers.

app, predict handlers, encryption ─► HttpServer ─ serve(socket) ─ told to stop ─► what was asked is answered, the silent are left
"""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

import uvicorn

from relevo.forwarded import proxies_of
from relevo.store.keys import key_from
from relevo.vouching import Vouched
from relevo.web.callers import Callers
from relevo.web.connection import crowd_for
from relevo.web.express import express

if TYPE_CHECKING:
    import asyncio
    import socket

    from starlette.types import ASGIApp

    from relevo.compose.certificates import Encryption
    from relevo.config import Settings
    from relevo.web.predict import PredictHandlers


class _Listening:
    """Stands where uvicorn keeps a listening socket; lives as long as the server.

    Its own end is not waited for: a caller in the middle of a TLS handshake has asked nothing yet, and would hold the end up
    for as long as it likes to be silent.
    """

    def __init__(self, listening: asyncio.base_events.Server) -> None:
        self._listening = listening
        self.sockets = listening.sockets

    def close(self) -> None:
        """Take no more callers."""
        self._listening.close()

    async def wait_closed(self) -> None:
        """Wait for nobody."""


class HttpServer(uvicorn.Server):
    """One worker's HTTP server; lives as long as it."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        await super().startup(sockets)
        self.servers = [_Listening(one) for one in self.servers]  # type: ignore[misc]  # it has what uvicorn asks for at the end


def http_server(settings: Settings, app: ASGIApp, predict: PredictHandlers, encryption: Encryption | None) -> HttpServer:
    """The server for this app, not yet listening."""
    crowd = crowd_for(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    protocol = express(predict, Callers(settings), crowd, proxies_of(settings.behind_proxy))
    protocol.vouched = Vouched(key_from(settings.console_key))
    config = uvicorn.Config(
        app,
        http=protocol,
        # Our own reading of forwarded addresses, for both ways of asking: `web.forwarded`.
        proxy_headers=False,
        loop="none",
        ws="none",
        lifespan="off",
        interface="asgi3",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=settings.drain_seconds,
        headers=encryption.headers if encryption else [],
    )
    config.load()
    if encryption:
        # Not by its file names: the context then is ours, and follows them when they are renewed.
        config.ssl = encryption.context
    return HttpServer(config)
