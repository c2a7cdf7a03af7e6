"""ASGI middleware applied to every route. It costs the predict path a few microseconds.

SecurityHeadersMiddleware   adds a request id and security headers
ErrorMiddleware             converts exceptions to error responses; clients never see a traceback
TrustedHostMiddleware       rejects unknown Host headers and cross-site requests
PredictDispatch             sends predict paths to the raw handlers, which read their own bodies
BodyLimitMiddleware         reads the complete body, with limits on size and time, before FastAPI sees the request
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from relevo.errors import ClientDisconnectedError, MethodNotAllowedError, RelevoError, TooManyPartsError
from relevo.web.pages.error_page import negotiated_error
from relevo.web.predict.body import BodyLimits, read_body
from relevo.web.request_info import request_id_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from relevo.serve.byte_budget import ByteBudget
    from relevo.web.middleware.trusted_host import HostChecker

LOG = logging.getLogger("relevo.web")

#: Paths of the raw predict handlers, all POST.
PREDICT_PATHS = re.compile(r"/predict/?|/submit|/models/[^/]+/predict")

#: Bytes of a body outside the predict paths: labels, aliases, forms. All are much smaller.
MAX_SMALL_BODY = 2**20
#: Commas in such a body, including those within strings.
_MAX_COMMAS = 20_000

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
#: Sent with all responses. `same-origin`, since with `no-referrer` browsers also hide the Origin of our own forms.
SECURITY_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
#: Methods whose responses browsers and proxies may cache by default, and the header that prevents it: most responses are private.
_CACHEABLE_METHODS = frozenset({"GET", "HEAD"})
_NO_STORE = ((b"cache-control", b"no-store"),)


class SecurityHeadersMiddleware:
    """Adds a request id and security headers. Lifetime: the app."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stores the id in scope["state"]["request_id"] and adds id and security headers to the response.

        GET responses get Cache-Control: no-store, unless the route sets Cache-Control.
        """
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = request_id_of(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        common = (*SECURITY_HEADERS, (b"x-request-id", request_id.encode("ascii")))

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message.get("headers", ())
                has_policy = scope["method"] not in _CACHEABLE_METHODS or any(name == b"cache-control" for name, _ in headers)
                message["headers"] = [*headers, *(() if has_policy else _NO_STORE), *common]
            await send(message)

        await self._app(scope, receive, send_with_headers)


class ErrorMiddleware:
    """Converts exceptions to error responses. Lifetime: the app."""

    def __init__(self, app: ASGIApp, *, language: str) -> None:
        """language: the default language of error messages."""
        self._app = app
        self._language = language

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends an error response, unless the response has started; then it re-raises, which closes the connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = ended = False

        async def send_tracked(message: Message) -> None:
            nonlocal started, ended
            started = True
            ended = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        try:
            await self._app(scope, receive, send_tracked)
        except RelevoError as error:
            await self._respond(error, scope, send, started=started)
        except Exception:
            request_id = scope["state"]["request_id"]
            LOG.exception("a request failed", extra={"action": "web.internal", "request_id": request_id})
            # Starlette re-raises after its own handler has sent a response.
            if not ended:
                await self._respond(RelevoError(), scope, send, started=started)

    async def _respond(self, error: RelevoError, scope: Scope, send: Send, *, started: bool) -> None:
        if started:
            raise error
        await send_error(error, scope, send, default_language=self._language)


async def send_error(error: RelevoError, scope: Scope, send: Send, *, default_language: str) -> None:
    """Sends one error as a complete ASGI response, in the language of the request; as a page for browsers."""
    status, headers, body = negotiated_error(error, scope, default_language)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class TrustedHostMiddleware:
    """Rejects unknown Host headers and cross-site requests. Lifetime: the app."""

    def __init__(self, app: ASGIApp, callers: HostChecker) -> None:
        self._app = app
        self._callers = callers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises HostNotAllowedError, OriginError."""
        if scope["type"] == "http":
            self._callers.check_request(scope)
        await self._app(scope, receive, send)


class PredictDispatch:
    """Routes predict paths to the raw handlers, everything else to FastAPI. Lifetime: the app."""

    def __init__(self, *, predict: ASGIApp, rest: ASGIApp) -> None:
        self._predict = predict
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises MethodNotAllowedError for a predict path with a method other than POST."""
        if scope["type"] == "http" and PREDICT_PATHS.fullmatch(scope["path"]):
            if scope["method"] != "POST":
                raise MethodNotAllowedError(allowed="POST")
            await self._predict(scope, receive, send)
            return
        # RFC 9110 §9.3.2: HEAD is answered like GET; the server omits the body.
        as_get = {**scope, "method": "GET"} if scope.get("method") == "HEAD" else scope
        await self._rest(as_get, receive, send)


class BodyLimitMiddleware:
    """Reads the complete body before passing the request on. Lifetime: the app."""

    def __init__(self, app: ASGIApp, limits: BodyLimits, room: ByteBudget) -> None:
        """room: the worker's byte budget, which includes request bodies."""
        self._app = app
        self._limits = limits
        self._room = room

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises BodyTooLargeError, BodyTimeoutError, TooManyPartsError, UnsupportedMediaTypeError, OverloadedByBytesError."""
        if scope["type"] != "http" or not _has_body(scope):
            await self._app(scope, receive, send)
            return
        try:
            body, kind = await read_body(scope, receive, self._limits, self._room)
        except ClientDisconnectedError:
            return
        if body.count(b",") > _MAX_COMMAS and not kind.startswith("multipart/"):
            # These requests have at most a dozen fields, and reporting each unknown one takes time.
            raise TooManyPartsError(limit=_MAX_COMMAS)
        await self._app(_as_json(scope) if scope["method"] == "PUT" else scope, _replay(body, receive), send)


def _has_body(scope: Scope) -> bool:
    return any(name in {b"content-length", b"transfer-encoding"} for name, _ in scope["headers"])


def _as_json(scope: Scope) -> Scope:
    """Every PUT body is JSON: `curl -d` sends a form content type by default."""
    others = [(name, value) for name, value in scope["headers"] if name != b"content-type"]
    return {**scope, "headers": [*others, (b"content-type", b"application/json")]}


def _replay(body: bytes, receive: Receive) -> Receive:
    """A receive function that returns the body first and then continues with the original one."""
    is_sent = False

    async def receive_body() -> Message:
        nonlocal is_sent
        if is_sent:
            return await receive()
        is_sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_body
