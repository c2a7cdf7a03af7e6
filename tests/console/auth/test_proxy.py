"""Proxy headers and cookies: which peers are trusted, and which cookies are accepted over https."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.responses import Response

from relevo.console.auth.proxy import SESSION_COOKIE, ProxyMiddleware, is_secure, set_cookie
from relevo.console.auth.sessions import ConsoleConfig
from relevo.util.proxy_headers import parse_trusted_proxies

DIRECT = ConsoleConfig(server="http://127.0.0.1:8000")
BEHIND = ConsoleConfig(server="http://127.0.0.1:8000", proxies=parse_trusted_proxies("10.0.0.5"))
FORWARDED = ((b"x-forwarded-for", b"203.0.113.9"), (b"x-forwarded-proto", b"https"))


def scope_behind(
    config: ConsoleConfig, peer: str, *headers: tuple[bytes, bytes], scheme: str = "http", kind: str = "http"
) -> dict[str, Any] | int:
    """The scope after the middleware, or the status of a rejected request."""
    results: list[Any] = []

    async def inside(scope: Any, receive: Any, send: Any) -> None:
        del receive, send
        results.append(scope)

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            results.append(message["status"])

    scope = {"type": kind, "scheme": scheme, "client": (peer, 1), "headers": list(headers), "method": "GET", "path": "/"}
    asyncio.run(ProxyMiddleware(inside, config)(scope, None, send))  # type: ignore[arg-type]  # nothing is received
    return results[0]  # type: ignore[no-any-return]  # of the scope or the status


@pytest.mark.parametrize(("kind", "plain", "secure"), [("http", "http", "https"), ("websocket", "ws", "wss")])
def test_only_a_trusted_proxy_sets_address_and_scheme(kind: str, plain: str, secure: str) -> None:
    """The headers of a trusted proxy are used; the same headers of another peer are ignored."""
    by_proxy = scope_behind(BEHIND, "10.0.0.5", *FORWARDED, kind=kind, scheme=plain)
    assert isinstance(by_proxy, dict)
    assert (by_proxy["client"][0], by_proxy["scheme"]) == ("203.0.113.9", secure)
    for config in (BEHIND, DIRECT):
        by_another = scope_behind(config, "127.0.0.1", *FORWARDED, kind=kind, scheme=plain)
        assert isinstance(by_another, dict)
        assert (by_another["client"][0], by_another["scheme"]) == ("127.0.0.1", plain)


def test_plain_http_that_bypasses_the_proxy_is_rejected() -> None:
    """Another peer gets 403; over https, or without a configured proxy, it is accepted."""
    assert scope_behind(BEHIND, "203.0.113.9") == 403
    assert isinstance(scope_behind(BEHIND, "203.0.113.9", scheme="https"), dict)
    assert isinstance(scope_behind(DIRECT, "203.0.113.9"), dict)


def test_over_https_only_host_prefixed_cookies_are_accepted() -> None:
    """A plain session cookie, which another host could have set, is dropped; other cookies are unchanged."""
    cookies = (b"cookie", b"relevo_console=laid; lang=es; __Host-relevo_console=own; __Host-other=1; relevo_console_tie=laid")
    scope = scope_behind(DIRECT, "203.0.113.9", cookies, scheme="https")
    assert isinstance(scope, dict)
    assert dict(scope["headers"])[b"cookie"] == b"lang=es; relevo_console=own; __Host-other=1"
    plain = scope_behind(DIRECT, "127.0.0.1", cookies)
    assert isinstance(plain, dict)
    assert dict(plain["headers"])[b"cookie"] == cookies[1]


def test_an_https_public_url_makes_every_cookie_secure() -> None:
    """With an https console_public_url a proxy encrypts, although the console itself receives http."""
    scope = scope_behind(ConsoleConfig(server="http://127.0.0.1:8000", address="https://console.example"), "127.0.0.1")
    assert isinstance(scope, dict)
    assert is_secure(scope)


def test_cookie_attributes_follow_the_scheme() -> None:
    """Secure and __Host- over https only, always HttpOnly; an empty value deletes the cookie."""

    def header(scheme: str, value: str) -> str:
        answer = Response()
        set_cookie(answer, {"scheme": scheme}, SESSION_COOKIE, value)
        return answer.headers["set-cookie"]

    assert header("https", "x") == "__Host-relevo_console=x; HttpOnly; Path=/; SameSite=lax; Secure"
    assert header("http", "x") == "relevo_console=x; HttpOnly; Path=/; SameSite=lax"
    assert "Max-Age=0" in header("https", "")
