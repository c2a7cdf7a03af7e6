"""uvicorn as a worker runs it: our short way for predictions, our certificate, and an end that waits only for answers.

app, predict handlers, encryption ─► HttpServer ─ serve(socket)
    a TLS handshake ─► counted and timed as a head is ─► the connection
    told to stop ─► nobody new ─► who waits at the socket is accepted ─► what was asked is answered, the silent are left
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

_NO_DESCRIPTOR_S = 1.0
#: Time to accept who waits at the socket, for a first request of who was accepted, and for a next one of who was answered before.
_ACCEPT_S, _FRESH_S, _IDLE_S = 0.05, 2.0, 0.2
#: Of a listening socket the kernel tells its queue where it tells what is unacknowledged of others.
_TCP_INFO_BYTES, _QUEUED_AT = 64, 24
_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27
#: A socket filter: load the flags of a TCP head, drop it where SYN is among them, else let it pass whole.
_DROP_SYN = ((0x30, 0, 0, 13), (0x45, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))


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


class _EncryptedListening:
    """Takes callers who begin with a TLS handshake; stands where uvicorn keeps a listening socket, and lives as long as the server.

    uvicorn's own way counts a caller when the handshake is over, so those who never say a word would take every descriptor.
    """

    def __init__(
        self, listener: socket.socket, context: ssl.SSLContext, make: Callable[[], Connection], crowd: ConnectionLimit
    ) -> None:
        self.sockets = [listener]
        self.handshakes: set[asyncio.Task[None]] = set()
        self._context = context
        self._make = make
        self._crowd = crowd
        self._loop = asyncio.get_running_loop()
        listener.settimeout(0)
        self._listen()

    def close(self) -> None:
        """Take no more callers."""
        for listener in self.sockets:
            self._loop.remove_reader(listener)
            listener.close()
        self.sockets = []

    async def wait_closed(self) -> None:
        """Wait for nobody."""

    def _listen(self) -> None:
        for listener in self.sockets:
            if listener.fileno() >= 0:
                self._loop.add_reader(listener, self._accept, listener)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                caller, _ = listener.accept()
            except BlockingIOError:
                return
            except ConnectionError:
                continue
            except OSError as cause:
                # No descriptor is left; who waits at the socket waits on.
                log.warning("no connection can be accepted: %s", cause.strerror, extra={"action": "web.full"})
                self._loop.remove_reader(listener)
                self._loop.call_later(_NO_DESCRIPTOR_S, self._listen)
                return
            self._take(caller)

    def _take(self, caller: socket.socket) -> None:
        connection = self._make()
        if len(self.handshakes) + len(connection.connections) >= self._crowd.most and not connection.takes_an_idle_place():
            self._crowd.is_full()
            caller.close()
            return
        caller.settimeout(0)
        task = self._loop.create_task(self._shake(caller, connection))
        self.handshakes.add(task)
        task.add_done_callback(self.handshakes.discard)

    async def _shake(self, caller: socket.socket, connection: Connection) -> None:
        try:
            await self._loop.connect_accepted_socket(
                lambda: connection, caller, ssl=self._context, ssl_handshake_timeout=HEAD_SECONDS
            )
        except OSError:
            # It was no TLS, none that both know, or it never came: nobody is there to be told.
            caller.close()


class HttpServer(uvicorn.Server):
    """One worker's HTTP server; lives as long as it."""

    def __init__(self, config: uvicorn.Config, crowd: ConnectionLimit) -> None:
        super().__init__(config)
        self._crowd = crowd
        self._encrypted: list[_EncryptedListening] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        for one in sockets or []:
            # A former worker that was told to end may have left it closed to newcomers.
            with suppress(OSError):
                one.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
        context = self.config.ssl
        await super().startup([] if context else sockets)
        self.servers = [_Listening(one) for one in self.servers]  # type: ignore[misc]  # it has what uvicorn asks for at the end
        if context:
            self._encrypted = [_EncryptedListening(one, context, self._connection, self._crowd) for one in sockets or []]
            self.servers += self._encrypted  # type: ignore[arg-type]  # the same

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let nobody new in, accept who is at the socket already, and hear what they ask."""
        loop = asyncio.get_running_loop()
        self._crowd.ending = True
        for one in self._connections():
            one.end_after_answer()
        for listener in sockets or []:
            _refuse_newcomers(listener)
        begun = loop.time()
        await asyncio.sleep(_ACCEPT_S)
        while loop.time() - begun < _FRESH_S and any(map(_queued, sockets or [])):  # noqa: ASYNC110 - the same
            await asyncio.sleep(0.01)
        for server in self.servers:
            server.close()
        begun = loop.time()
        while (spent := loop.time() - begun) < _FRESH_S and self._may_ask(spent):  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)
        await super().shutdown(sockets)

    def _may_ask(self, spent: float) -> bool:
        """Whether somebody is just about to ask: who has not asked yet, and for a moment whoever was answered before."""
        connections = self._connections()
        return (
            any(one.handshakes for one in self._encrypted)
            or any(one.is_fresh for one in connections)
            or (spent < _IDLE_S and bool(connections))
        )

    def _connections(self) -> list[Connection]:
        return [one for one in self.server_state.connections if isinstance(one, Connection)]

    def _connection(self) -> Connection:
        facts: dict[str, Any] = {"config": self.config, "server_state": self.server_state, "app_state": self.lifespan.state}
        made: Any = self.config.http_protocol_class
        connection: Connection = made(**facts)
        return connection


def _queued(listener: socket.socket) -> int:
    """How many wait at a listening socket to be accepted."""
    if sys.platform != "linux":
        return 0
    found: int = struct.unpack_from("I", listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES), _QUEUED_AT)[0]
    return found


def _refuse_newcomers(listener: socket.socket) -> None:
    """Drop what begins a connection, on Linux: closing a socket resets who waits at it, and while newcomers come somebody does."""
    if sys.platform != "linux":
        return
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in _DROP_SYN))
    with suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HL", len(_DROP_SYN), ctypes.addressof(program)))


def http_server(settings: Settings, app: ASGIApp, predict: PredictHandlers, encryption: TlsContext | None) -> HttpServer:
    """The server for this app, not yet listening."""
    crowd = limit_for(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    protocol = make_protocol(predict, HostChecker(settings), crowd, parse_trusted_proxies(settings.trusted_proxies))
    protocol.vouched = CallerVerifier(load_or_create_key(settings.console_key))
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
        timeout_graceful_shutdown=settings.shutdown_timeout_s,
        timeout_keep_alive=settings.keep_alive_seconds,
        headers=encryption.headers if encryption else [],
    )
    config.load()
    if encryption:
        # Not by its file names: the context then is ours, and follows them when they are renewed.
        config.ssl = encryption.context
    return HttpServer(config, crowd)
