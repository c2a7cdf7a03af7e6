"""Configures uvicorn for a worker: fast path for predictions, TLS handshakes with limits, graceful shutdown.

app, predict handlers, TLS context ─► HttpServer ─ serve(socket)
    TLS handshake ─► counted and timed like HTTP headers ─► Connection
    shutdown ─► drop new connections ─► accept the queued ones ─► answer received requests, close idle connections
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import resource
import socket
import struct
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import uvicorn

from relevo.store.files.key_files import load_or_create_key
from relevo.util.hmac_signing import CallerVerifier
from relevo.util.proxy_headers import parse_trusted_proxies
from relevo.web.http.fast_path import make_protocol
from relevo.web.http.protocol import HEAD_SECONDS, Connection, ConnectionLimit, limit_for
from relevo.web.middleware.trusted_host import HostChecker

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from starlette.types import ASGIApp

    from relevo.config import Settings
    from relevo.server.tls import TlsContext
    from relevo.web.predict.handlers import PredictHandlers


log = logging.getLogger(__name__)

_ACCEPT_RETRY_S = 1.0
#: At shutdown: time to accept queued connections, to wait for the first request of each, and for the next one of an idle one.
_ACCEPT_S, _FRESH_S, _IDLE_S = 0.05, 2.0, 0.2
#: For a listening socket, the field tcpi_unacked of TCP_INFO holds the length of the accept queue.
_TCP_INFO_BYTES, _QUEUED_AT = 64, 24
_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27
#: BPF socket filter: load the TCP flags, drop the packet if SYN is set, otherwise pass all of it.
_DROP_SYN = ((0x30, 0, 0, 13), (0x45, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))


class _PlainListener:
    """Wraps a plain listener for uvicorn, without waiting for its end. Lifetime: the server.

    asyncio waits for all connections of a listener, so a client that stays silent would delay the shutdown.
    """

    def __init__(self, server: asyncio.base_events.Server) -> None:
        self._server = server
        self.sockets = server.sockets

    def close(self) -> None:
        """Accepts no more connections."""
        self._server.close()

    async def wait_closed(self) -> None:
        """Returns at once."""


class _TlsListener:
    """A listener for TLS connections that limits unfinished handshakes; replaces uvicorn's own. Lifetime: the server.

    uvicorn counts a connection only after the handshake, so silent clients could use up all file descriptors.
    """

    def __init__(
        self, listener: socket.socket, context: ssl.SSLContext, create_connection: Callable[[], Connection], limit: ConnectionLimit
    ) -> None:
        self.sockets = [listener]
        self.handshakes: set[asyncio.Task[None]] = set()
        self._context = context
        self._create_connection = create_connection
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        listener.settimeout(0)
        self._listen()

    def close(self) -> None:
        """Accepts no more connections."""
        for listener in self.sockets:
            self._loop.remove_reader(listener)
            listener.close()
        self.sockets = []

    async def wait_closed(self) -> None:
        """Returns at once."""

    def _listen(self) -> None:
        for listener in self.sockets:
            if listener.fileno() >= 0:
                self._loop.add_reader(listener, self._accept, listener)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except BlockingIOError:
                return
            except ConnectionError:
                continue
            except OSError as cause:
                # No file descriptor is left; the queued connections go on waiting.
                log.warning("no connection can be accepted: %s", cause.strerror, extra={"action": "web.full"})
                self._loop.remove_reader(listener)
                self._loop.call_later(_ACCEPT_RETRY_S, self._listen)
                return
            self._start_handshake(client)

    def _start_handshake(self, client: socket.socket) -> None:
        connection = self._create_connection()
        if len(self.handshakes) + len(connection.connections) >= self._limit.most and not connection.is_idle():
            self._limit.is_full()
            client.close()
            return
        client.settimeout(0)
        task = self._loop.create_task(self._handshake(client, connection))
        self.handshakes.add(task)
        task.add_done_callback(self.handshakes.discard)

    async def _handshake(self, client: socket.socket, connection: Connection) -> None:
        try:
            await self._loop.connect_accepted_socket(
                lambda: connection, client, ssl=self._context, ssl_handshake_timeout=HEAD_SECONDS
            )
        except OSError:
            # Not TLS, no common version, or a timeout: there is no connection to send an error on.
            client.close()


class HttpServer(uvicorn.Server):
    """HTTP server of one worker. Lifetime: the worker."""

    def __init__(self, config: uvicorn.Config, limit: ConnectionLimit) -> None:
        super().__init__(config)
        self._limit = limit
        self._tls_listeners: list[_TlsListener] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts listening."""
        for listener in sockets or []:
            # A previous worker may have attached the filter that drops new connections.
            with suppress(OSError):
                listener.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
        context = self.config.ssl
        await super().startup([] if context else sockets)
        self.servers = [_PlainListener(server) for server in self.servers]  # type: ignore[misc]  # has the methods that uvicorn calls at shutdown
        if context:
            self._tls_listeners = [_TlsListener(listener, context, self._connection, self._limit) for listener in sockets or []]
            self.servers += self._tls_listeners  # type: ignore[arg-type]  # the same

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drops new connections, accepts the queued ones, and waits a moment for their requests."""
        loop = asyncio.get_running_loop()
        self._limit.ending = True
        for connection in self._connections():
            connection.end_after_answer()
        for listener in sockets or []:
            _drop_new_connections(listener)
        start = loop.time()
        await asyncio.sleep(_ACCEPT_S)
        while loop.time() - start < _FRESH_S and any(map(_queue_length, sockets or [])):  # noqa: ASYNC110 - no event exists
            await asyncio.sleep(0.01)
        for server in self.servers:
            server.close()
        start = loop.time()
        while (elapsed := loop.time() - start) < _FRESH_S and self._may_receive(elapsed):  # noqa: ASYNC110 - no event exists
            await asyncio.sleep(0.01)
        await super().shutdown(sockets)

    def _may_receive(self, elapsed: float) -> bool:
        """Whether a request may still arrive: on connections without a request yet, and for a moment on idle ones."""
        connections = self._connections()
        return (
            any(listener.handshakes for listener in self._tls_listeners)
            or any(connection.is_fresh for connection in connections)
            or (elapsed < _IDLE_S and bool(connections))
        )

    def _connections(self) -> list[Connection]:
        return [connection for connection in self.server_state.connections if isinstance(connection, Connection)]

    def _connection(self) -> Connection:
        arguments: dict[str, Any] = {"config": self.config, "server_state": self.server_state, "app_state": self.lifespan.state}
        protocol: Any = self.config.http_protocol_class
        connection: Connection = protocol(**arguments)
        return connection


def _queue_length(listener: socket.socket) -> int:
    """The number of connections in the accept queue of a listening socket."""
    if sys.platform != "linux":
        return 0
    length: int = struct.unpack_from("I", listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES), _QUEUED_AT)[0]
    return length


def _drop_new_connections(listener: socket.socket) -> None:
    """Drops new connections, on Linux: closing a socket resets its queued connections, so the queue must become empty first."""
    if sys.platform != "linux":
        return
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *instruction) for instruction in _DROP_SYN))
    with suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HL", len(_DROP_SYN), ctypes.addressof(program)))


def http_server(settings: Settings, app: ASGIApp, predict: PredictHandlers, tls: TlsContext | None) -> HttpServer:
    """Creates the server for this app, not yet listening."""
    limit = limit_for(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    protocol = make_protocol(predict, HostChecker(settings), limit, parse_trusted_proxies(settings.trusted_proxies))
    protocol.vouched = CallerVerifier(load_or_create_key(settings.console_key))
    config = uvicorn.Config(
        app,
        http=protocol,
        # Forwarded addresses are parsed in `util.proxy_headers`, also for the fast path.
        proxy_headers=False,
        loop="none",
        ws="none",
        lifespan="off",
        interface="asgi3",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=settings.shutdown_timeout_s,
        timeout_keep_alive=settings.keep_alive_seconds,
        headers=tls.headers if tls else [],
    )
    config.load()
    if tls:
        # A context instead of file names, so that renewed files can be reloaded.
        config.ssl = tls.context
    return HttpServer(config, limit)
