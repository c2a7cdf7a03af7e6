"""The coats around every route, as plain ASGI: they cost the predict path a few microseconds.

Envelope      gives the request its id and every answer its headers
Boundary      whatever is raised below becomes a problem; nobody outside sees a trace
Wall          only what calls this server by a name of its own, and no page of another site, gets further
Dispatch      predict paths go to the raw handlers, which read their own bodies; the rest goes on
BodyLimitMiddleware   reads a whole body, small and in time, before FastAPI sees the request
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from relevo.errors import ClientDisconnectedError, MethodNotAllowedError, RelevoError, TooManyPartsError
from relevo.web.pages.error_page import refusal
from relevo.web.predict.body import BodyLimits, read_body
from relevo.web.request_info import request_id_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from relevo.serve.byte_budget import ByteBudget
    from relevo.web.middleware.trusted_host import HostChecker

LOG = logging.getLogger("relevo.web")

#: Paths that the raw handlers answer, all by POST.
PREDICT_PATHS = re.compile(r"/predict/?|/submit|/models/[^/]+/predict")

#: What a label, an alias or a form of the page may weigh; none comes near it.
MAX_SMALL_BODY = 2**20
#: Commas in such a body, those of its texts among them.
_MOST_COMMAS = 20_000

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
#: On every answer. `same-origin` and not `no-referrer`: with the latter a browser hides the Origin of our own forms too.
SECURITY_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
#: What a browser or a proxy might keep of its own accord, and what keeps it from that: nearly every answer is for who asked alone.
_KEPT = frozenset({"GET", "HEAD"})
_UNKEPT = ((b"cache-control", b"no-store"),)


class SecurityHeadersMiddleware:
    """Names each request and seals each answer; lives as long as the app."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Keep the id in scope["state"]["request_id"]; add id and security headers to the answer.

        What is read is not to be kept unless its route says for how long.
        """
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = request_id_of(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        seal = (*SECURITY_HEADERS, (b"x-request-id", request_id.encode("ascii")))

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                told = message.get("headers", ())
                kept = () if scope["method"] not in _KEPT or any(name == b"cache-control" for name, _ in told) else _UNKEPT
                message["headers"] = [*told, *kept, *seal]
            await send(message)

        await self._app(scope, receive, sealed)


class ErrorMiddleware:
    """Turns what is raised into a problem; lives as long as the app."""

    def __init__(self, app: ASGIApp, *, language: str) -> None:
        """language: the one spoken to callers who ask for none."""
        self._app = app
        self._language = language

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a problem unless the answer has begun; then the connection must break."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = ended = False

        async def watched(message: Message) -> None:
            nonlocal begun, ended
            begun = True
            ended = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except RelevoError as error:
            await self._settle(error, scope, send, begun=begun)
        except Exception:
            request_id = scope["state"]["request_id"]
            LOG.exception("a request failed", extra={"action": "web.internal", "request_id": request_id})
            # Starlette raises again after its own handler has answered: then all is said.
            if not ended:
                await self._settle(RelevoError(), scope, send, begun=begun)

    async def _settle(self, error: RelevoError, scope: Scope, send: Send, *, begun: bool) -> None:
        if begun:
            raise error
        await send_error(error, scope, send, default_language=self._language)


async def send_error(error: RelevoError, scope: Scope, send: Send, *, default_language: str) -> None:
    """One error as a whole ASGI answer, in the caller's language; a page for a person with a browser."""
    status, headers, body = refusal(error, scope, default_language)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class TrustedHostMiddleware:
    """Keeps out what comes from elsewhere; lives as long as the app."""

    def __init__(self, app: ASGIApp, callers: HostChecker) -> None:
        self._app = app
        self._callers = callers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises HostNotAllowedError, OriginError."""
        if scope["type"] == "http":
            self._callers.check(scope)
        await self._app(scope, receive, send)


class PredictDispatch:
    """Sends predict paths past the framework; lives as long as the app."""

    def __init__(self, *, predict: ASGIApp, rest: ASGIApp) -> None:
        self._predict = predict
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises MethodNotAllowedError for a predict path asked with anything but POST."""
        if scope["type"] == "http" and PREDICT_PATHS.fullmatch(scope["path"]):
            if scope["method"] != "POST":
                raise MethodNotAllowedError(allowed="POST")
            await self._predict(scope, receive, send)
            return
        # RFC 9110 §9.3.2: whatever answers GET answers HEAD; the server leaves the body out.
        asked = {**scope, "method": "GET"} if scope.get("method") == "HEAD" else scope
        await self._rest(asked, receive, send)


class BodyLimitMiddleware:
    """Hands a request on with its whole body read; lives as long as the app."""

    def __init__(self, app: ASGIApp, limits: BodyLimits, room: ByteBudget) -> None:
        """room: what the worker may hold of bodies, these among them."""
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
        if body.count(b",") > _MOST_COMMAS and not kind.startswith("multipart/"):
            # None of these requests has more than a dozen fields, and telling of each that it is unknown takes its time.
            raise TooManyPartsError(limit=_MOST_COMMAS)
        await self._app(_as_json(scope) if scope["method"] == "PUT" else scope, _again(body, receive), send)


def _has_body(scope: Scope) -> bool:
    return any(name in {b"content-length", b"transfer-encoding"} for name, _ in scope["headers"])


def _as_json(scope: Scope) -> Scope:
    """What is put here is JSON by any name: `curl -d` calls it a form unless told otherwise."""
    others = [(name, value) for name, value in scope["headers"] if name != b"content-type"]
    return {**scope, "headers": [*others, (b"content-type", b"application/json")]}


def _again(body: bytes, receive: Receive) -> Receive:
    """Give a body that was read once more, and then what comes after it."""
    given = False

    async def once() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return once
