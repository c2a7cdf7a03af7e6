"""The short way for the usual predict request: from the parser to the batch without a task, and from the batch to the socket.

    parser ─ head complete ─ eligible? ─ no ─────────────────────────────────► uvicorn ─► ASGI app
                               │ yes: held until the body is there
    parser ─ body complete ─ parse, service.ask ─ refused, or large? ─────────► uvicorn ─► ASGI app, which does it again and answers
                               │ a ticket
    ticket settled ─► one write: head and answer

Eligible is a plain POST to a predict path whose body comes at once. Everything else, every refusal among it, takes the long way, so
there is one place that says no and one that says why. What is written here equals what the long way writes; a test compares them.

A micro-batch makes the model cheap; what is left is the price of a request in Python, which a task and six ASGI messages double.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relevo.errors import RelevoError
from relevo.web.http.protocol import SEAL, Connection, ConnectionLimit
from relevo.web.request_info import request_id_of

if TYPE_CHECKING:
    import asyncio

    from starlette.types import Scope

    from relevo.serve.loaded_version import PredictionResult
    from relevo.util.proxy_headers import TrustedProxies
    from relevo.web.middleware.trusted_host import HostChecker
    from relevo.web.predict.handlers import PredictHandlers

_PREDICT = b"/predict"
_MODELS = b"/models/"
_MAX_BODY = 1 << 20
#: How long a caller has to say farewell once its connection was closed for the server's end.
_FAREWELL_S = 0.5
#: Headers that change how a body is to be read, name whom it is about, or may say that a page elsewhere asks.
_SLOW_PATH_HEADERS = frozenset(
    {b"transfer-encoding", b"expect", b"content-encoding", b"origin", b"sec-fetch-site", b"relevo-subject"}
)
#: The only headers that are looked at before the body is there.
_INSPECTED = _SLOW_PATH_HEADERS | {b"connection", b"host", b"content-length"}
#: Where the canonical answer's query_id stands: {"query_id":"…
_ID_IN_BODY = slice(13, 49)
_OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


class _NoEvent:
    """Nobody waits for a message of a request that has no task."""

    def set(self) -> None:
        """Wake nobody."""


class PendingCycle:
    """Stands where uvicorn keeps its cycle while an answer is awaited, so that pipelined requests queue up behind it."""

    __slots__ = ("body", "disconnected", "keep_alive", "more_body", "response_complete", "scope", "ticket")
    message_event = _NoEvent()
    response_started = False

    def __init__(self) -> None:
        #: Of this very request: the parser may be at a later one by the time the answer is written.
        self.scope: Scope = {}
        self.body = b""
        self.more_body = True
        self.response_complete = False
        self.disconnected = False
        self.keep_alive = True
        self.ticket: asyncio.Future[list[PredictionResult]] | None = None


class FastPathProtocol(Connection):
    """One connection; lives as long as it. Subclassed by `express` with the handlers to ask."""

    callers: HostChecker
    _waiting: PendingCycle | None = None  # held back from the long way: its body is not complete, or its answer not there
    _held = False
    _before: Any = None

    def data_received(self, data: bytes) -> None:
        """Feed the parser; a body that did not come at once goes the long way, where slow ones are timed."""
        super().data_received(data)
        if self._held:
            self._take_long_way(self._waiting)

    def head_is_here(self) -> None:
        """Hold an eligible request back until its body is there."""
        if not self._is_eligible():
            super().head_is_here()
            return
        self._before = self.cycle
        self._waiting = self.cycle = PendingCycle()  # type: ignore[assignment]  # it has what uvicorn looks at
        self._waiting.keep_alive = not self.crowd.ending
        self._held = True

    def message_is_here(self) -> None:
        """Ask the service, or let the long way ask it."""
        waiting = self._waiting
        if not self._held or waiting is None:
            super().message_is_here()
            return
        try:
            ticket = self.handlers.ask(self.url, self.headers, waiting.body, self.scope["client"])
        except RelevoError:
            ticket = None
        if ticket is None:
            self._take_long_way(waiting)
            super().message_is_here()
            return
        self._held = False
        waiting.scope = self.scope  # type: ignore[assignment]  # uvicorn's typed dict is one
        waiting.ticket = ticket
        ticket.add_done_callback(self._answered)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the ticket back when nobody waits for its answer."""
        waiting, self._waiting = self._waiting, None
        self._held = False
        if waiting is not None and waiting.ticket is not None:
            waiting.ticket.cancel()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """End after the answer under way; over TLS without waiting for the caller's farewell, which may never come."""
        super().shutdown()
        if self.scheme == "https":
            self.loop.call_later(_FAREWELL_S, self._leave)

    def _leave(self) -> None:
        if self.transport.is_closing() and not self.transport.get_write_buffer_size():
            self.transport.abort()
        elif self in self.connections:
            self.loop.call_later(_FAREWELL_S, self._leave)

    def _is_eligible(self) -> bool:
        url = self.url
        if not (url == _PREDICT or (url.startswith(_MODELS) and url.endswith(_PREDICT))):
            return False
        if self.parser.get_method() != b"POST" or self.parser.get_http_version() != "1.1":
            return False
        if self.cycle is not None and not self.cycle.response_complete:
            return False
        sized = False
        for name, value in self.headers:
            if name not in _INSPECTED:
                continue
            if name in _SLOW_PATH_HEADERS or (name == b"connection" and value.lower() != b"keep-alive"):
                return False
            if name == b"host" and not self.callers.know(value):
                return False
            if name == b"content-length":
                sized = int(value) <= _MAX_BODY
        return sized

    def _take_long_way(self, waiting: PendingCycle | None) -> None:
        """Hand over to uvicorn what was held back, as if it came now."""
        self._held = False
        self._waiting = None
        self.cycle = self._before
        body = b"" if waiting is None else waiting.body
        super().head_is_here()
        if body:
            super().on_body(body)

    def _answered(self, ticket: asyncio.Future[list[PredictionResult]]) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is None or ticket.cancelled() or self.transport.is_closing():
            return
        failure = ticket.exception()
        if failure is not None:
            head, body = self._failed(failure, waiting.scope)
        else:
            head, body = self._succeeded(ticket.result()[0], waiting.scope)
        if not waiting.keep_alive:
            head += b"connection: close\r\n"
        self.transport.write(head + b"\r\n" + body)
        waiting.response_complete = True
        if not waiting.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _succeeded(self, reply: PredictionResult, scope: Scope) -> tuple[bytes, bytes]:
        body = self.handlers.body(reply, scope)
        # A request that has no name of its own goes by its prediction's.
        own = _own_request_id(scope) or body[_ID_IN_BODY]
        facts = b"content-length: %d\r\nrelevo-version: %d\r\nx-request-id: %s\r\n" % (len(body), reply.version, own)
        return _OK + self.default_headers() + facts + SEAL, body

    def _failed(self, failure: BaseException, scope: Scope) -> tuple[bytes, bytes]:
        error = failure if isinstance(failure, RelevoError) else RelevoError()
        self.handlers.refused(error)
        return self.told(error, scope)


def _own_request_id(scope: Scope) -> bytes | None:
    if not any(name == b"x-request-id" for name, _ in scope["headers"]):
        return None
    return request_id_of(scope).encode()


def make_protocol(
    handlers: PredictHandlers, callers: HostChecker, crowd: ConnectionLimit, proxies: TrustedProxies | None = None
) -> type[FastPathProtocol]:
    """The protocol class for uvicorn, bound to the handlers of this worker, whom it may serve, how many at once, and by whom."""
    return type("Express", (FastPathProtocol,), {"handlers": handlers, "callers": callers, "crowd": crowd, "proxies": proxies})
