"""How a browser came: whose word is taken for its machine and for https, and which cookies count."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.responses import Response

from relevo.console.auth.proxy import SESSION_COOKIE, ProxyMiddleware, is_secure, set_cookie
from relevo.console.auth.sessions import ConsoleConfig
from relevo.util.proxy_headers import parse_trusted_proxies

TOLD = ConsoleConfig(server="http://127.0.0.1:8000")
BEHIND = ConsoleConfig(server="http://127.0.0.1:8000", proxies=parse_trusted_proxies("10.0.0.5"))
FORWARDED = ((b"x-forwarded-for", b"203.0.113.9"), (b"x-forwarded-proto", b"https"))


def seen(
    told: ConsoleConfig, peer: str, *headers: tuple[bytes, bytes], scheme: str = "http", kind: str = "http"
) -> dict[str, Any] | int:
    """The scope as the console sees it; the status when it is kept out."""
    found: list[Any] = []

    async def inside(scope: Any, receive: Any, send: Any) -> None:
        del receive, send
        found.append(scope)

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            found.append(message["status"])

    scope = {"type": kind, "scheme": scheme, "client": (peer, 1), "headers": list(headers), "method": "GET", "path": "/"}
    asyncio.run(ProxyMiddleware(inside, TOLD if told is None else told)(scope, None, send))  # type: ignore[arg-type]  # nothing is received
    return found[0]  # type: ignore[no-any-return]  # said above


@pytest.mark.parametrize(("kind", "plain", "secure"), [("http", "http", "https"), ("websocket", "ws", "wss")])
def test_the_listed_proxy_is_believed_and_nobody_else(kind: str, plain: str, secure: str) -> None:
    """Address and scheme come from the proxy; the same texts of anybody else are texts."""
    by_proxy = seen(BEHIND, "10.0.0.5", *FORWARDED, kind=kind, scheme=plain)
    assert isinstance(by_proxy, dict)
    assert (by_proxy["client"][0], by_proxy["scheme"]) == ("203.0.113.9", secure)
    for told in (BEHIND, TOLD):
        by_another = seen(told, "127.0.0.1", *FORWARDED, kind=kind, scheme=plain)
        assert isinstance(by_another, dict)
        assert (by_another["client"][0], by_another["scheme"]) == ("127.0.0.1", plain)


def test_nobody_comes_past_the_proxy_in_the_clear() -> None:
    """Another machine is kept out; by https, or where no proxy is named, it may come."""
    assert seen(BEHIND, "203.0.113.9") == 403
    assert isinstance(seen(BEHIND, "203.0.113.9", scheme="https"), dict)
    assert isinstance(seen(TOLD, "203.0.113.9"), dict)


def test_over_https_only_our_sealed_cookies_count() -> None:
    """A plain one may have been set by a neighbour or on the way; other cookies stay as they are."""
    cookies = (b"cookie", b"relevo_console=laid; lang=es; __Host-relevo_console=own; __Host-other=1; relevo_console_tie=laid")
    found = seen(TOLD, "203.0.113.9", cookies, scheme="https")
    assert isinstance(found, dict)
    assert dict(found["headers"])[b"cookie"] == b"lang=es; relevo_console=own; __Host-other=1"
    plain = seen(TOLD, "127.0.0.1", cookies)
    assert isinstance(plain, dict)
    assert dict(plain["headers"])[b"cookie"] == cookies[1]


def test_an_address_that_is_https_makes_every_cookie_secure() -> None:
    """console_public_url tells that a proxy encrypts, though the console itself hears http."""
    found = seen(ConsoleConfig(server="http://127.0.0.1:8000", address="https://console.example"), "127.0.0.1")
    assert isinstance(found, dict)
    assert is_secure(found)


def test_a_cookie_is_as_the_way_is() -> None:
    """Secure and __Host- over https, neither in the clear, out of scripts' reach always; without a value it goes."""

    def told(scheme: str, value: str) -> str:
        answer = Response()
        set_cookie(answer, {"scheme": scheme}, SESSION_COOKIE, value)
        return answer.headers["set-cookie"]

    assert told("https", "x") == "__Host-relevo_console=x; HttpOnly; Path=/; SameSite=lax; Secure"
    assert told("http", "x") == "relevo_console=x; HttpOnly; Path=/; SameSite=lax"
    assert "Max-Age=0" in told("https", "")
