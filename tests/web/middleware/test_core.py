"""The middleware by itself: responses that fail half-way, and path dispatch."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from relevo.errors import InvalidJsonError, ShuttingDownError
from relevo.web.middleware.core import ErrorMiddleware, PredictDispatch, SecurityHeadersMiddleware
from relevo.web.request_info import address_of, language_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


def scope_of(**changes: Any) -> Scope:
    plain = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b"", "scheme": "http", "state": {}}
    return {**plain, **changes}


def run_app(app: ASGIApp, **changes: Any) -> list[Message]:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(app(scope_of(**changes), receive, send))  # type: ignore[arg-type]  # ASGI apps are coroutines
    return sent


async def _half(_: Scope, __: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})
    raise ShuttingDownError


async def _late(_: Scope, __: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"whole"})
    raise ValueError


async def _refuse(_: Scope, __: Receive, ___: Send) -> None:
    raise InvalidJsonError(reason="it cannot be parsed")


def test_a_half_sent_answer_breaks_the_connection() -> None:
    """After the status line no error response is sent; the exception reaches the server."""
    with pytest.raises(ShuttingDownError):
        run_app(SecurityHeadersMiddleware(ErrorMiddleware(_half, language="en")))


def test_a_failure_after_a_whole_answer_changes_nothing() -> None:
    """An exception after the last byte is logged only."""
    assert [message["type"] for message in run_app(SecurityHeadersMiddleware(ErrorMiddleware(_late, language="en")))] == [
        "http.response.start",
        "http.response.body",
    ]


def test_an_error_is_said_in_the_default_language_of_the_server() -> None:
    """Without a requested language, errors use the server's."""
    start, body = run_app(SecurityHeadersMiddleware(ErrorMiddleware(_refuse, language="es")))
    assert start["status"] == 400
    assert "no se puede interpretar" in body["body"].decode()


def test_lifespan_passes_through() -> None:
    """Lifespan events reach the app unchanged."""
    met: list[str] = []

    async def rest(scope: Scope, _: Receive, __: Send) -> None:
        await asyncio.sleep(0)
        met.append(scope["type"])

    assert (
        run_app(
            SecurityHeadersMiddleware(ErrorMiddleware(PredictDispatch(predict=_half, rest=rest), language="en")), type="lifespan"
        )
        == []
    )
    assert met == ["lifespan"]


@pytest.mark.parametrize(
    ("host", "address"),
    [
        (b"example.org:8000", "http://example.org:8000"),
        (b"[::1]:8000", "http://[::1]:8000"),
        (b"a b", "http://localhost"),
        (b"x'; rm", "http://localhost"),
        (b"", "http://localhost"),
    ],
)
def test_only_a_host_is_taken_for_one(host: bytes, address: str) -> None:
    """The base URL is the client's Host, or localhost if it is invalid."""
    assert address_of(scope_of(headers=[(b"host", host)])) == address


@pytest.mark.parametrize(
    ("query", "cookie", "accept", "language"),
    [
        (b"lang=es", b"relevo_lang=en", b"en", "es"),
        (b"", b"a=b; relevo_lang=es", b"en", "es"),
        (b"lang=xx", b"", b"es", "es"),
        (b"lang=%ff&lang=es", b"relevo_lang=", b"", "en"),
    ],
)
def test_the_nearest_choice_of_language_wins(query: bytes, cookie: bytes, accept: bytes, language: str) -> None:
    """Query, then cookie, then browser, then setting."""
    scope = scope_of(query_string=query, headers=[(b"cookie", cookie), (b"accept-language", accept)])
    assert language_of(scope, "en") == language
