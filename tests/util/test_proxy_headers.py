"""Behind a proxy: only its headers are trusted, and plain HTTP is accepted only from it."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import uvicorn

from relevo.errors import ConfigError
from relevo.util.proxy_headers import TrustedProxies, parse_trusted_proxies
from relevo.web.http.protocol import Connection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import Receive, Scope, Send


def listed(names: str) -> TrustedProxies:
    proxies = parse_trusted_proxies(names)
    assert proxies is not None
    return proxies


def resolve(proxies: TrustedProxies, peer: str, *lines: tuple[str, str]) -> tuple[str, str]:
    return proxies.client_of([(name.encode(), value.encode("latin-1")) for name, value in lines], peer, "http")


@pytest.mark.parametrize(
    ("forwarded", "caller"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("203.0.113.9, 10.0.0.6", "203.0.113.9"),
        ("8.8.8.8, 203.0.113.9, 10.0.0.6", "203.0.113.9"),
        ("203.0.113.9:50123", "203.0.113.9"),
        ("[2001:db8::7]:443", "2001:db8::7"),
        ("2001:db8::7", "2001:db8::7"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("unknown", "10.0.0.5"),
        ("8.8.8.8, unknown", "10.0.0.5"),
        ("8.8.8.8, nobody, 10.0.0.6", "10.0.0.6"),
        ("", "10.0.0.5"),
        (",,,", "10.0.0.5"),
        ("\xff", "10.0.0.5"),
        ("10.0.0.6, 10.0.0.7", "10.0.0.6"),
    ],
)
def test_the_last_address_that_is_no_proxy_is_the_caller(forwarded: str, caller: str) -> None:
    """Entries further left were written by the client and may be forged; an invalid address ends the search."""
    assert resolve(listed("10.0.0.0/24"), "10.0.0.5", ("x-forwarded-for", forwarded)) == (caller, "http")


def test_several_lines_are_one_list() -> None:
    """A proxy may add a header line of its own after the client's."""
    lines = [("x-forwarded-for", "8.8.8.8"), ("x-forwarded-for", "203.0.113.9")]
    assert resolve(listed("10.0.0.5"), "10.0.0.5", *lines)[0] == "203.0.113.9"
    assert resolve(listed("10.0.0.5"), "10.0.0.5")[0] == "10.0.0.5"


def test_only_a_scheme_is_a_scheme() -> None:
    """The value https is accepted, any other value is ignored."""
    assert resolve(listed("10.0.0.5"), "10.0.0.5", ("x-forwarded-proto", "https"))[1] == "https"
    assert resolve(listed("10.0.0.5"), "10.0.0.5", ("x-forwarded-proto", "javascript"))[1] == "http"


@pytest.mark.parametrize("names", ["proxy", "10.0.0.5/24", "10.0.0.300", "*", "10.0.0.5;10.0.0.6"])
def test_what_is_no_address_stops_the_start(names: str) -> None:
    """A host name may resolve to anything, and a mistyped network would admit the wrong peers."""
    with pytest.raises(ConfigError, match="trusted_proxies"):
        parse_trusted_proxies(names)
    assert parse_trusted_proxies(" , ") is None


def test_only_proxies_and_loopback_may_use_plain_http() -> None:
    """The proxies and loopback, in every notation of their addresses."""
    proxies = listed("10.0.0.0/24, fd00::5")
    assert all(proxies.allows_plain_http(peer) for peer in ("10.0.0.77", "::ffff:10.0.0.77", "fd00::5", "127.0.0.1", "::1"))
    assert not any(proxies.allows_plain_http(peer) for peer in ("10.0.1.1", "fd00::6", "203.0.113.9", "::ffff:203.0.113.9"))


async def _who(scope: Scope, receive: Receive, send: Send) -> None:
    """Return the client address and scheme."""
    del receive
    body = json.dumps([scope["client"][0], scope["scheme"]]).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


class _Handlers:
    language = "en"

    def count_error(self, error: Exception) -> None:
        """Count nothing."""


@contextmanager
def behind(proxies: TrustedProxies) -> Iterator[str]:
    """A server that returns its client's address."""
    kind: Any = type("Behind", (Connection,), {"handlers": _Handlers(), "proxies": proxies})
    server = uvicorn.Server(
        uvicorn.Config(_who, http=kind, port=0, lifespan="off", ws="none", log_config=None, proxy_headers=False)
    )
    thread = threading.Thread(target=asyncio.run, args=(server.serve(),))
    thread.start()
    while not server.started:
        assert thread.is_alive()
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def test_a_connection_of_the_proxy_tells_the_caller() -> None:
    """Address and scheme are determined for each request of a connection."""
    with behind(listed("127.0.0.1")) as url, httpx.Client(base_url=url) as proxy:
        for number in (1, 2):
            forwarded = {"X-Forwarded-For": f"203.0.113.{number}", "X-Forwarded-Proto": "https"}
            assert proxy.get("/", headers=forwarded).json() == [f"203.0.113.{number}", "https"]
        assert proxy.get("/").json() == ["127.0.0.1", "http"]


def test_headers_of_unlisted_peers_are_ignored() -> None:
    """From an address that is not listed the same headers are ignored."""
    with behind(listed("10.0.0.5")) as url:
        response = httpx.get(url, headers={"X-Forwarded-For": "10.0.0.5, 203.0.113.9", "X-Forwarded-Proto": "https"})
        assert response.json() == ["127.0.0.1", "http"]


def test_a_connection_that_bypasses_the_proxy_is_rejected() -> None:
    """A peer that is neither a proxy nor loopback is rejected, and the connection is closed."""

    class Elsewhere(TrustedProxies):
        """As if the test ran on another machine."""

        def allows_plain_http(self, peer: str) -> bool:
            return not super().allows_plain_http(peer)

    with behind(Elsewhere([])) as url:
        response = httpx.get(url)
        assert (response.status_code, response.json()["code"]) == (403, "forbidden")
        assert response.headers["connection"] == "close"
