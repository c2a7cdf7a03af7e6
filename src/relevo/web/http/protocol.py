"""One connection from its first byte: what is HTTP, how large and how slow a head may be, and how many callers fit.

    connection ─ too many? ─► closed at once, and said once in the log
    bytes ─ parser ─┬ no HTTP ──────────────────────► 400 http_malformed ─┐
                    ├ a head beyond its bound ──────► 431 head_too_large ─┴► deaf for a moment, then closed
                    ├ a head that does not come ────► closed
                    ├ no Host, or several ──────────► 400 host_missing, as for no HTTP
                    ├ a wish to speak another protocol ─► the same request without that wish
                    └ head, body, end ──────────────► head_is_here, on_body, message_is_here
    answer ─ not read for a while ─► closed            the last one ─ a body still under way ─► closed when that has been dropped

Bodies under way are timed by who reads them (`payload.read_body`); here only what nobody reads any more is.
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

#: Address and headers together, or what follows a chunked body; also what stands between two pieces of one.
MOST_HEAD = 2**16
#: How long a head may take, and how long a body is still taken once its request is answered.
HEAD_SECONDS = 10.0
#: How long a caller may leave an answer unread before the connection closes; reading any of it gives the same time again.
UNREAD_SECONDS = 30.0
#: What is read, and thrown away, of a body that was refused: a caller that looks for the answer only at the end gets it.
_MOST_DROPPED = 2**25
#: How long a refused caller has to read why before the connection closes.
_CLOSE_DELAY_S = 1.0
#: Beside the callers a worker holds journals, a database, packages and pipes.
_OWN_DESCRIPTORS = 64
_FEWEST = 16
SEAL = b"".join(name + b": " + value + b"\r\n" for name, value in SECURITY_HEADERS)
_SWITCHING = frozenset({b"upgrade", b"http2-settings"})


class ConnectionLimit:
    """How many callers one worker holds at once; lives as long as the worker."""

    def __init__(self, most: int) -> None:
        self.most = most
        #: The worker ends: every answer is the last of its connection.
        self.ending = False
        self._said = False

    def is_full(self) -> None:
        """Say so, the first time."""
        if not self._said:
            self._said = True
            LOG.warning("%d connections are open; more are closed at once", self.most, extra={"action": "web.full"})


def limit_for(descriptors: int) -> ConnectionLimit:
    """As many callers as a process with so many file descriptors can hold beside its own files."""
    return ConnectionLimit(max(descriptors - _OWN_DESCRIPTORS, _FEWEST))


class _NullParser:
    """Stands where a parser was, once nothing more is heard."""

    def feed_data(self, data: bytes) -> None:
        """Hear nothing."""


class _Farewell:
    """Stands where an answer has its transport, so that closing after it does not take it back; lives as long as the answer."""

    def __init__(self, connection: Connection) -> None:
        self._write = connection.transport.write
        self.is_closing = connection.transport.is_closing
        self.close = connection.leave

    def write(self, data: bytes) -> None:
        """Send it, unless nobody is there any more: uvloop raises for what is written then."""
        if not self.is_closing():
            self._write(data)


class Connection(HttpToolsProtocol):
    """One connection; lives as long as it. Who serves it says what happens to a whole head and to a whole message."""

    handlers: PredictHandlers
    crowd = ConnectionLimit(2**16)
    proxies: TrustedProxies | None = None  # in front of this server
    vouched: CallerVerifier | None = None  # whom a console asks for
    head_seconds = HEAD_SECONDS
    unread_seconds = UNREAD_SECONDS
    #: Bytes that were neither body nor a head that is complete.
    _loose = 0
    _dropped = 0
    _in_head = True
    _hosts = 0
    _leaving = False
    _unread: asyncio.TimerHandle | None = None
    _late: asyncio.TimerHandle | None = None
    _refused = False
    _switching = False
    _because: RelevoError | None = None
    #: What is being answered; `cycle` is what was asked last.
    _answering: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Take the caller, if there is room for one."""
        super().connection_made(transport)
        if len(self.connections) > self.crowd.most and not self.takes_an_idle_place():
            self.crowd.is_full()
            transport.abort()
            return
        self._late = self.loop.call_later(self.head_seconds, self._is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the caller."""
        self._is_in_time()
        if self._unread is not None:
            self._unread.cancel()
        super().connection_lost(exc)
        answering = self._answering
        if answering is not None and not answering.response_complete:
            # uvicorn tells only the request that came last, and this one may have others behind it.
            answering.disconnected = True
            answering.message_event.set()

    def data_received(self, data: bytes) -> None:
        """Feed the parser; what it cannot read is refused."""
        self._unset_keepalive_if_required()
        self._loose += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as wish:
            self._go_on_without(data[wish.args[0] :])
        except httptools.HttpParserError as cause:
            self._refuse(self._because or _what_failed(cause))
        if self._loose:
            self._look_at_head()

    # --- what the parser says -------------------------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep one header; those that follow a chunked body say nothing here."""
        if self._in_head:
            name = name.lower()
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
            elif name == b"host":
                self._hosts += 1
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """See to it that the head is one to answer."""
        loose, self._loose = self._loose, 0
        self._in_head = False
        self._dropped = 0
        if self._late is not None:
            self._is_in_time()
        if loose > MOST_HEAD and len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > MOST_HEAD:
            self._in_head = True
            self._because = HeadersTooLargeError(limit=MOST_HEAD)
            raise self._because
        hosts, self._hosts = self._hosts, 0
        if hosts != 1 and (hosts or self.parser.get_http_version() == "1.1"):
            self._in_head = True
            self._because = MissingHostError()
            raise self._because
        if self.proxies is not None:
            self._look_behind(self.proxies)
        if self.vouched is not None:
            self._look_for_whom(self.vouched)
        if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            self._switching = True
            return
        self.head_is_here()

    def _look_behind(self, proxies: TrustedProxies) -> None:
        """Take for the caller whom a listed proxy names; raises for who goes past the proxies in the clear."""
        peer = self.client[0] if self.client else ""
        if proxies.lists(peer):
            address, scheme = proxies.seen(self.headers, peer, self.scheme or "http")
            self.scope["client"] = (address, 0)
            self.scope["scheme"] = scheme
        elif self.scheme == "http" and not proxies.lets_in(peer):
            self._in_head = True
            self._because = OriginError(reason="it did not come by way of the proxy")
            raise self._because

    def _look_for_whom(self, vouched: CallerVerifier) -> None:
        """Take for the caller whom a console vouches for."""
        for name, value in self.headers:
            if name == CALLER_HEADER:
                address = vouched.caller(value)
                if address is not None:
                    self.scope["client"] = (address, 0)
                return

    def on_body(self, body: bytes) -> None:
        """Keep a piece of a body for who reads it, or throw it away when nobody does."""
        self._loose = 0
        cycle = self.cycle
        if cycle.response_complete:
            self._dropped += len(body)
            if self._dropped > _MOST_DROPPED:
                self.transport.abort()
            return
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        """The next byte begins a head."""
        self._loose = 0
        self._in_head = True
        if self._leaving:
            self.transport.close()
        elif not self._switching:
            self.message_is_here()

    def head_is_here(self) -> None:
        """Begin to answer."""
        super().on_headers_complete()
        cycle = self.cycle
        cycle.transport = _Farewell(self)  # type: ignore[assignment]  # it has what an answer asks of it
        if not self.pipeline:
            self._answering = cycle
        if self.crowd.ending:
            cycle.keep_alive = False

    def message_is_here(self) -> None:
        """Let the answer see the end of the body."""
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request, but not for ever for the rest of this one."""
        self._answering = self.pipeline[-1][0] if self.pipeline else None
        super().on_response_complete()
        if not self._in_head and self._late is None and self.cycle.response_complete:
            self._late = self.loop.call_later(self.head_seconds, self._is_late)
        self._watch_unread()

    # --- how it ends ------------------------------------------------------------------------------------------------------

    @property
    def is_fresh(self) -> bool:
        """Whether it has not asked anything yet."""
        return self.cycle is None

    def leave(self) -> None:
        """Close after an answer; what still comes of its request is read and dropped first, or the system would take it back."""
        self._watch_unread()
        if self._in_head or self.transport.is_closing():
            self.transport.close()
            return
        self._leaving = True
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def end_after_answer(self) -> None:
        """The worker ends: the answer under way, if any, is the last one."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False

    def pause_writing(self) -> None:
        """The caller reads more slowly than it is answered."""
        super().pause_writing()
        self._watch_unread()

    def resume_writing(self) -> None:
        """The caller has read most of it."""
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
        self._watch_unread()

    def timeout_keep_alive_handler(self) -> None:
        """Close what was idle for long enough."""
        self._watch_unread()
        super().timeout_keep_alive_handler()

    def _watch_unread(self) -> None:
        unread = self.transport.get_write_buffer_size()
        if unread and self._unread is None:
            self._unread = self.loop.call_later(self.unread_seconds, self._look_at_unread, unread)

    def _look_at_unread(self, before: int) -> None:
        self._unread = None
        if self.transport.get_write_buffer_size() >= before:
            self.transport.abort()
        else:
            self._watch_unread()

    def takes_an_idle_place(self) -> bool:
        """Whether a connection that was kept for a next request could be closed for this one."""
        for one in self.connections:
            if isinstance(one, Connection) and one._is_idle():  # noqa: SLF001 - another of this class
                one.transport.close()
                return True
        return False

    def _is_idle(self) -> bool:
        asked = self.cycle is not None and self.cycle.response_complete
        return asked and self._in_head and self._late is None and not self._loose and not self.transport.is_closing()

    # --- what is too much, too late, or not HTTP ------------------------------------------------------------------------

    def _look_at_head(self) -> None:
        if self._loose > MOST_HEAD:
            self._refuse(HeadersTooLargeError(limit=MOST_HEAD))
        elif self._in_head and self._late is None and not self._refused:
            self._late = self.loop.call_later(self.head_seconds, self._is_late)

    def _is_in_time(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _is_late(self) -> None:
        self._late = None
        if self.cycle is not None and not self.cycle.response_complete:
            # It sent a part of its next request while this one is being answered.
            self.cycle.keep_alive = False
        else:
            self.transport.abort()

    def _go_on_without(self, rest: bytes) -> None:
        """Read the request again without its wish for another protocol, and then what followed its head.

        The parser takes all that follows such a head for the other protocol, a body too.
        """
        if not self._switching:  # CONNECT: no proxy is here, and what follows is for one
            self.parser = _NullParser()  # type: ignore[assignment]  # it has what is called here
            self._loose = 0
            return
        self._switching = False
        start = b"%s %s HTTP/%s\r\n" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        lines = [name + b": " + value + b"\r\n" for name, value in map(_without_wish, self.headers) if name not in _SWITCHING]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        Connection.data_received(self, start + b"".join(lines) + b"\r\n" + rest)

    def _refuse(self, error: RelevoError) -> None:
        """Say why and hear no more; an answer under way is let out first, and is the last."""
        if self._refused:
            return
        self._refused = True
        self._loose = 0
        self._is_in_time()
        self.parser = _NullParser()  # type: ignore[assignment]  # it has what is called here
        self.handlers.refused(error)
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete and (self._in_head or cycle.response_started):
            cycle.keep_alive = False
            return
        if cycle is not None:
            cycle.disconnected = True
            cycle.message_event.set()
        head, body = self.told(error, {"headers": self.headers or []})
        self.transport.write(head + b"connection: close\r\n\r\n" + body)
        # A plain connection closed with bytes unread is reset, and the answer may be lost.
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()
        self.loop.call_later(_CLOSE_DELAY_S, self.transport.abort)

    def told(self, error: RelevoError, scope: Scope) -> tuple[bytes, bytes]:
        """An answer's head, all but its end, and its body: the problem as the long way writes it."""
        request_id = request_id_of(scope)
        status, headers, body = error_response(error, language_of(scope, self.handlers.language), request_id)
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        start = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()
        return start + self.default_headers() + lines + SEAL + b"x-request-id: " + request_id.encode() + b"\r\n", body

    def default_headers(self) -> bytes:
        """The lines that every answer of this server has."""
        return b"".join(name + b": " + value + b"\r\n" for name, value in self.server_state.default_headers)


def _what_failed(cause: httptools.HttpParserError) -> RelevoError:
    """A mistake of ours is not called the caller's."""
    inner = cause.__context__
    if inner is None or isinstance(inner, UnicodeError | httptools.HttpParserError):
        return InvalidHttpError()
    LOG.error("a request failed while it was read", exc_info=inner, extra={"action": "web.internal"})
    return RelevoError()


def _without_wish(header: tuple[bytes, bytes]) -> tuple[bytes, Any]:
    name, value = header
    if name != b"connection":
        return name, value
    return name, b", ".join(token for token in value.split(b",") if token.strip().lower() not in _SWITCHING)
