"""HTTP/1.1 protocol of one connection: uvicorn's, with limits on connections, header size, header time and unread responses.

    connection ─ limit reached? ─► closed at once, logged once
    bytes ─ parser ─┬ invalid HTTP ────────────────► 400 http_malformed ─┐
                    ├ head too large ──────────────► 431 head_too_large ─┴► input ignored for a moment, then closed
                    ├ head too slow ───────────────► closed
                    ├ no Host, or several ─────────► 400 host_missing, as for invalid HTTP
                    ├ Upgrade header ──────────────► the same request without it
                    └ head, body, end ─────────────► on_head, on_body, on_message
    response ─ client does not read it ─► closed       last response while a body still arrives ─► closed after discarding the body

`predict.body.read_body` times bodies that are read; this module times those that are no longer read.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from relevo.errors import HeadersTooLargeError, InvalidHttpError, MissingHostError, OriginError, RelevoError
from relevo.util.hmac_signing import CALLER_HEADER
from relevo.web.errors import error_response
from relevo.web.middleware.core import SECURITY_HEADERS
from relevo.web.request_info import language_of, request_id_of

if TYPE_CHECKING:
    import asyncio

    from starlette.types import Scope
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from relevo.util.hmac_signing import CallerVerifier
    from relevo.util.proxy_headers import TrustedProxies
    from relevo.web.predict.handlers import PredictHandlers

LOG = logging.getLogger("relevo.web")

#: Bytes of request line and headers together, of a chunked body's trailers, or between two chunks.
MAX_HEAD_BYTES = 2**16
#: Time in s for a head to arrive, and for the rest of a body after its response.
HEAD_SECONDS = 10.0
#: Time in s that a client may leave a response unread; reading any of it restarts the timer.
UNREAD_SECONDS = 30.0
#: Bytes of a rejected body that are read and discarded, so that clients that read the response only at the end receive it.
_MAX_DISCARDED_BYTES = 2**25
#: Time in s for a client to read an error before the connection closes.
_CLOSE_DELAY_S = 1.0
#: File descriptors for journals, database, packages and pipes of a worker.
_RESERVED_DESCRIPTORS = 64
_MIN_CONNECTIONS = 16
SECURITY_LINES = b"".join(name + b": " + value + b"\r\n" for name, value in SECURITY_HEADERS)
_UPGRADE_HEADERS = frozenset({b"upgrade", b"http2-settings"})


class ConnectionLimit:
    """Maximum number of connections of one worker. Lifetime: the worker."""

    def __init__(self, most: int) -> None:
        self.most = most
        #: The worker shuts down: every response is the last of its connection.
        self.ending = False
        self._is_logged = False

    def is_full(self) -> None:
        """Logs once that the limit is reached."""
        if not self._is_logged:
            self._is_logged = True
            LOG.warning("%d connections are open; more are closed at once", self.most, extra={"action": "web.full"})


def limit_for(descriptors: int) -> ConnectionLimit:
    """The connection limit for a process with this file descriptor limit."""
    return ConnectionLimit(max(descriptors - _RESERVED_DESCRIPTORS, _MIN_CONNECTIONS))


class _NullParser:
    """Replaces the parser of a connection whose input is ignored."""

    def feed_data(self, data: bytes) -> None:
        """Ignores the data."""


class _DelayedCloseTransport:
    """Transport of one response that closes through `Connection.leave`, which does not lose the response. Lifetime: the response."""

    def __init__(self, connection: Connection) -> None:
        self._write = connection.transport.write
        self.is_closing = connection.transport.is_closing
        self.close = connection.leave

    def write(self, data: bytes) -> None:
        """Writes unless the transport is closing, when uvloop raises."""
        if not self.is_closing():
            self._write(data)


class Connection(HttpToolsProtocol):
    """One connection. Lifetime: the connection. Subclasses override `on_head` and `on_message`."""

    handlers: PredictHandlers
    crowd = ConnectionLimit(2**16)
    proxies: TrustedProxies | None = None
    vouched: CallerVerifier | None = None  # verifies client addresses that a console forwards
    head_seconds = HEAD_SECONDS
    unread_seconds = UNREAD_SECONDS
    #: Bytes that belong neither to a body nor to a complete head.
    _unparsed_bytes = 0
    _discarded_bytes = 0
    _in_head = True
    _host_count = 0
    _is_leaving = False
    _unread_timer: asyncio.TimerHandle | None = None
    _head_timer: asyncio.TimerHandle | None = None
    _is_rejected = False
    _is_upgrade = False
    _head_error: RelevoError | None = None
    #: The cycle whose response is being sent; `cycle` is that of the latest request.
    _responding: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Accepts the connection if the limit allows it."""
        super().connection_made(transport)
        if len(self.connections) > self.crowd.most and not self.is_idle():
            self.crowd.is_full()
            transport.abort()
            return
        self._head_timer = self.loop.call_later(self.head_seconds, self._on_head_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancels timers and the current response."""
        self._cancel_head_timer()
        if self._unread_timer is not None:
            self._unread_timer.cancel()
        super().connection_lost(exc)
        responding = self._responding
        if responding is not None and not responding.response_complete:
            # uvicorn notifies only the latest request; this one may have pipelined requests behind it.
            responding.disconnected = True
            responding.message_event.set()

    def data_received(self, data: bytes) -> None:
        """Feeds the parser; invalid input is rejected."""
        self._unset_keepalive_if_required()
        self._unparsed_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as cause:
            self._reject(self._head_error or _parser_error(cause))
        if self._unparsed_bytes:
            self._check_head_size()

    # --- parser callbacks -----------------------------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        """Stores a header; ignores trailers of a chunked body."""
        if self._in_head:
            name = name.lower()
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
            elif name == b"host":
                self._host_count += 1
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Checks the head and calls `on_head`."""
        head_bytes, self._unparsed_bytes = self._unparsed_bytes, 0
        self._in_head = False
        self._discarded_bytes = 0
        if self._head_timer is not None:
            self._cancel_head_timer()
        if (
            head_bytes > MAX_HEAD_BYTES
            and len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > MAX_HEAD_BYTES
        ):
            self._in_head = True
            self._head_error = HeadersTooLargeError(limit=MAX_HEAD_BYTES)
            raise self._head_error
        host_count, self._host_count = self._host_count, 0
        if host_count != 1 and (host_count or self.parser.get_http_version() == "1.1"):
            self._in_head = True
            self._head_error = MissingHostError()
            raise self._head_error
        if self.proxies is not None:
            self._apply_proxy_headers(self.proxies)
        if self.vouched is not None:
            self._apply_console_caller(self.vouched)
        if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            self._is_upgrade = True
            return
        self.on_head()

    def _apply_proxy_headers(self, proxies: TrustedProxies) -> None:
        """Takes client address and scheme from a trusted proxy; raises for plain http that bypasses the proxies."""
        peer = self.client[0] if self.client else ""
        if proxies.is_trusted(peer):
            address, scheme = proxies.client_of(self.headers, peer, self.scheme or "http")
            self.scope["client"] = (address, 0)
            self.scope["scheme"] = scheme
        elif self.scheme == "http" and not proxies.allows_plain_http(peer):
            self._in_head = True
            self._head_error = OriginError(reason="it did not come by way of the proxy")
            raise self._head_error

    def _apply_console_caller(self, vouched: CallerVerifier) -> None:
        """Takes the client address that a console forwards with a valid signature."""
        for name, value in self.headers:
            if name == CALLER_HEADER:
                address = vouched.caller(value)
                if address is not None:
                    self.scope["client"] = (address, 0)
                return

    def on_body(self, body: bytes) -> None:
        """Stores a piece of the body, or discards it after the response."""
        self._unparsed_bytes = 0
        cycle = self.cycle
        if cycle.response_complete:
            self._discarded_bytes += len(body)
            if self._discarded_bytes > _MAX_DISCARDED_BYTES:
                self.transport.abort()
            return
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        """The request is complete; the next byte begins a head."""
        self._unparsed_bytes = 0
        self._in_head = True
        if self._is_leaving:
            self.transport.close()
        elif not self._is_upgrade:
            self.on_message()

    def on_head(self) -> None:
        """Starts the response."""
        super().on_headers_complete()
        cycle = self.cycle
        cycle.transport = _DelayedCloseTransport(self)  # type: ignore[assignment]  # has the methods that a cycle uses
        if not self.pipeline:
            self._responding = cycle
        if self.crowd.ending:
            cycle.keep_alive = False

    def on_message(self) -> None:
        """Signals the end of the body."""
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Waits for the next request, and with a time limit for the rest of the current one."""
        self._responding = self.pipeline[-1][0] if self.pipeline else None
        super().on_response_complete()
        if not self._in_head and self._head_timer is None and self.cycle.response_complete:
            self._head_timer = self.loop.call_later(self.head_seconds, self._on_head_timeout)
        self._watch_unread()

    # --- closing ----------------------------------------------------------------------------------------------------------

    @property
    def is_fresh(self) -> bool:
        """Whether no request has arrived yet."""
        return self.cycle is None

    def leave(self) -> None:
        """Closes after a response. The rest of its request is read and discarded first, or a TCP reset could lose the response."""
        self._watch_unread()
        if self._in_head or self.transport.is_closing():
            self.transport.close()
            return
        self._is_leaving = True
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def end_after_answer(self) -> None:
        """The worker shuts down: the current response, if any, is the last one."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False

    def pause_writing(self) -> None:
        """The client reads more slowly than the response is written."""
        super().pause_writing()
        self._watch_unread()

    def resume_writing(self) -> None:
        """The client has read most of the response."""
        super().resume_writing()
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None
        self._watch_unread()

    def timeout_keep_alive_handler(self) -> None:
        """Closes an idle connection."""
        self._watch_unread()
        super().timeout_keep_alive_handler()

    def _watch_unread(self) -> None:
        unread = self.transport.get_write_buffer_size()
        if unread and self._unread_timer is None:
            self._unread_timer = self.loop.call_later(self.unread_seconds, self._check_unread, unread)

    def _check_unread(self, before: int) -> None:
        self._unread_timer = None
        if self.transport.get_write_buffer_size() >= before:
            self.transport.abort()
        else:
            self._watch_unread()

    def is_idle(self) -> bool:
        """Closes one idle keep-alive connection in favour of this one; False if there is none."""
        for connection in self.connections:
            if isinstance(connection, Connection) and connection._is_idle():  # noqa: SLF001 - same class
                connection.transport.close()
                return True
        return False

    def _is_idle(self) -> bool:
        has_responded = self.cycle is not None and self.cycle.response_complete
        return (
            has_responded
            and self._in_head
            and self._head_timer is None
            and not self._unparsed_bytes
            and not self.transport.is_closing()
        )

    # --- limits and errors ----------------------------------------------------------------------------------------------

    def _check_head_size(self) -> None:
        if self._unparsed_bytes > MAX_HEAD_BYTES:
            self._reject(HeadersTooLargeError(limit=MAX_HEAD_BYTES))
        elif self._in_head and self._head_timer is None and not self._is_rejected:
            self._head_timer = self.loop.call_later(self.head_seconds, self._on_head_timeout)

    def _cancel_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _on_head_timeout(self) -> None:
        self._head_timer = None
        if self.cycle is not None and not self.cycle.response_complete:
            # A part of the next request arrived before this response was complete.
            self.cycle.keep_alive = False
        else:
            self.transport.abort()

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Parses the request again without its upgrade headers, followed by the bytes after its head.

        The parser treats everything after such a head, even a body, as the other protocol.
        """
        if not self._is_upgrade:  # CONNECT: this is no proxy; the data is not for this server
            self.parser = _NullParser()  # type: ignore[assignment]  # has the method that is called
            self._unparsed_bytes = 0
            return
        self._is_upgrade = False
        start = b"%s %s HTTP/%s\r\n" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        lines = [
            name + b": " + value + b"\r\n" for name, value in map(_without_upgrade, self.headers) if name not in _UPGRADE_HEADERS
        ]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        Connection.data_received(self, start + b"".join(lines) + b"\r\n" + rest)

    def _reject(self, error: RelevoError) -> None:
        """Sends an error and ignores further input. A response in progress is completed first and is the last one."""
        if self._is_rejected:
            return
        self._is_rejected = True
        self._unparsed_bytes = 0
        self._cancel_head_timer()
        self.parser = _NullParser()  # type: ignore[assignment]  # has the method that is called
        self.handlers.count_error(error)
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete and (self._in_head or cycle.response_started):
            cycle.keep_alive = False
            return
        if cycle is not None:
            cycle.disconnected = True
            cycle.message_event.set()
        head, body = self.encode_error(error, {"headers": self.headers or []})
        self.transport.write(head + b"connection: close\r\n\r\n" + body)
        # Closing a plain connection with unread bytes resets it, and the response may be lost.
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()
        self.loop.call_later(_CLOSE_DELAY_S, self.transport.abort)

    def encode_error(self, error: RelevoError, scope: Scope) -> tuple[bytes, bytes]:
        """Head, without its final line break, and body of an error response, as the ASGI path writes them."""
        request_id = request_id_of(scope)
        status, headers, body = error_response(error, language_of(scope, self.handlers.language), request_id)
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        start = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()
        return start + self.default_headers() + lines + SECURITY_LINES + b"x-request-id: " + request_id.encode() + b"\r\n", body

    def default_headers(self) -> bytes:
        """Header lines of all responses."""
        return b"".join(name + b": " + value + b"\r\n" for name, value in self.server_state.default_headers)


def _parser_error(cause: httptools.HttpParserError) -> RelevoError:
    """InvalidHttpError for invalid input; an internal error if one of our callbacks raised."""
    inner = cause.__context__
    if inner is None or isinstance(inner, UnicodeError | httptools.HttpParserError):
        return InvalidHttpError()
    LOG.error("a request failed while it was read", exc_info=inner, extra={"action": "web.internal"})
    return RelevoError()


def _without_upgrade(header: tuple[bytes, bytes]) -> tuple[bytes, Any]:
    name, value = header
    if name != b"connection":
        return name, value
    return name, b", ".join(token for token in value.split(b",") if token.strip().lower() not in _UPGRADE_HEADERS)
