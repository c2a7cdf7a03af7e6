"""Fast path for common predict requests: from the HTTP parser to the batcher without an asyncio task, and from the batch to the socket.

    parser ─ head complete ─ eligible? ─ no ─────────────────────────────────► uvicorn ─► ASGI app
                               │ yes: held until the body is complete
    parser ─ body complete ─ parse, try_submit ─ rejected, or large? ─────────► uvicorn ─► ASGI app, which repeats it and responds
                               │ future
    future done ─► one write: head and body

Eligible is a plain POST to a predict path whose body arrives with its head. All other requests, and all errors found before
submission, take the ASGI path, so there is one implementation of every error. The bytes written here equal those of the ASGI path;
a test compares them.

Batching makes the model cheap; the remaining cost is that of a request in Python, which a task and six ASGI messages double.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relevo.errors import RelevoError
from relevo.web.http.protocol import SECURITY_LINES, Connection, ConnectionLimit
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
#: Time in s for the client's TLS close after the server has closed the connection at shutdown.
_TLS_CLOSE_TIMEOUT_S = 0.5
#: Headers that change how the body is read, name a data subject, or reveal a cross-site request.
_SLOW_PATH_HEADERS = frozenset(
    {b"transfer-encoding", b"expect", b"content-encoding", b"origin", b"sec-fetch-site", b"relevo-subject"}
)
#: The only headers that are inspected before the body is complete.
_INSPECTED = _SLOW_PATH_HEADERS | {b"connection", b"host", b"content-length"}
#: Position of the query_id in the response body: {"query_id":"…
_ID_IN_BODY = slice(13, 49)
_OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


class _NoEvent:
    """Replaces the message event of uvicorn's cycle: no task waits for one."""

    def set(self) -> None:
        """Does nothing."""


class PendingCycle:
    """Takes the place of uvicorn's request cycle until the response is written, so that pipelined requests queue up behind it."""

    __slots__ = ("body", "disconnected", "future", "keep_alive", "more_body", "response_complete", "scope")
    message_event = _NoEvent()
    response_started = False

    def __init__(self) -> None:
        #: Scope of this request: the parser may have read later ones before the response is written.
        self.scope: Scope = {}
        self.body = b""
        self.more_body = True
        self.response_complete = False
        self.disconnected = False
        self.keep_alive = True
        self.future: asyncio.Future[list[PredictionResult]] | None = None


class FastPathProtocol(Connection):
    """One connection with the fast path. Lifetime: the connection. `make_protocol` binds it to the handlers."""

    host_checker: HostChecker
    _pending: PendingCycle | None = None  # its body or its prediction is not complete
    _is_held = False
    _previous_cycle: Any = None

    def data_received(self, data: bytes) -> None:
        """Feeds the parser. An incomplete body falls back to the ASGI path, which has a timeout for slow ones."""
        super().data_received(data)
        if self._is_held:
            self._fall_back(self._pending)

    def on_head(self) -> None:
        """Holds an eligible request until its body is complete."""
        if not self._is_eligible():
            super().on_head()
            return
        self._previous_cycle = self.cycle
        self._pending = self.cycle = PendingCycle()  # type: ignore[assignment]  # has the attributes that uvicorn uses
        self._pending.keep_alive = not self.crowd.ending
        self._is_held = True

    def on_message(self) -> None:
        """Submits the request to the service, or falls back to the ASGI path."""
        pending = self._pending
        if not self._is_held or pending is None:
            super().on_message()
            return
        try:
            future = self.handlers.try_submit(self.url, self.headers, pending.body, self.scope["client"])
        except RelevoError:
            future = None
        if future is None:
            self._fall_back(pending)
            super().on_message()
            return
        self._is_held = False
        pending.scope = self.scope  # type: ignore[assignment]  # uvicorn's typed dict is one
        pending.future = future
        future.add_done_callback(self._on_result)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancels the pending prediction."""
        pending, self._pending = self._pending, None
        self._is_held = False
        if pending is not None and pending.future is not None:
            pending.future.cancel()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Closes after the current response; with TLS without waiting long for the client's close."""
        super().shutdown()
        if self.scheme == "https":
            self.loop.call_later(_TLS_CLOSE_TIMEOUT_S, self._abort_after_close)

    def _abort_after_close(self) -> None:
        if self.transport.is_closing() and not self.transport.get_write_buffer_size():
            self.transport.abort()
        elif self in self.connections:
            self.loop.call_later(_TLS_CLOSE_TIMEOUT_S, self._abort_after_close)

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
            if name == b"host" and not self.host_checker.is_known_host(value):
                return False
            if name == b"content-length":
                sized = int(value) <= _MAX_BODY
        return sized

    def _fall_back(self, pending: PendingCycle | None) -> None:
        """Passes the held request to uvicorn as if it had just arrived."""
        self._is_held = False
        self._pending = None
        self.cycle = self._previous_cycle
        body = b"" if pending is None else pending.body
        super().on_head()
        if body:
            super().on_body(body)

    def _on_result(self, future: asyncio.Future[list[PredictionResult]]) -> None:
        pending, self._pending = self._pending, None
        if pending is None or future.cancelled() or self.transport.is_closing():
            return
        exception = future.exception()
        if exception is not None:
            head, body = self._encode_error(exception, pending.scope)
        else:
            head, body = self._encode_result(future.result()[0], pending.scope)
        if not pending.keep_alive:
            head += b"connection: close\r\n"
        self.transport.write(head + b"\r\n" + body)
        pending.response_complete = True
        if not pending.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _encode_result(self, reply: PredictionResult, scope: Scope) -> tuple[bytes, bytes]:
        body = self.handlers.encode(reply, scope)
        # Without a client's request id, the query_id is used.
        request_id = _client_request_id(scope) or body[_ID_IN_BODY]
        lines = b"content-length: %d\r\nrelevo-version: %d\r\nx-request-id: %s\r\n" % (len(body), reply.version, request_id)
        return _OK + self.default_headers() + lines + SECURITY_LINES, body

    def _encode_error(self, exception: BaseException, scope: Scope) -> tuple[bytes, bytes]:
        error = exception if isinstance(exception, RelevoError) else RelevoError()
        self.handlers.count_error(error)
        return self.encode_error(error, scope)


def _client_request_id(scope: Scope) -> bytes | None:
    if not any(name == b"x-request-id" for name, _ in scope["headers"]):
        return None
    return request_id_of(scope).encode()


def make_protocol(
    handlers: PredictHandlers, host_checker: HostChecker, crowd: ConnectionLimit, proxies: TrustedProxies | None = None
) -> type[FastPathProtocol]:
    """The protocol class for uvicorn, bound to a worker's handlers, host checker, connection limit and trusted proxies."""
    attributes = {"handlers": handlers, "host_checker": host_checker, "crowd": crowd, "proxies": proxies}
    return type("BoundFastPathProtocol", (FastPathProtocol,), attributes)
