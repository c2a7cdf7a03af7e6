"""How a browser reaches the console: by which machine, by https or not, and which of its cookies count.

    scope ─ a listed proxy's headers (util.proxy_headers) ─► address and scheme of the browser ─┬ https: only __Host- cookies ─► on
          └ past the proxies in the clear ─► 403                                            └ http: the plain ones ────────► on

Over https a cookie's name begins with __Host-, so that no neighbour's host and no plain http can set it. Whoever reads the cookies
further in finds them under their plain names, and only those that count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

    from relevo.console.auth.sessions import ConsoleConfig

#: Who is signed in, and which browser left to sign in elsewhere.
COOKIE, TIE_COOKIE = "relevo_console", "relevo_console_tie"
_PREFIX = "__Host-"
_OURS = (COOKIE, TIE_COOKIE)
_HTTPS = frozenset({"https", "wss"})


class ProxyMiddleware:
    """Tells all that follows how the browser came; lives as long as the process."""

    def __init__(self, app: ASGIApp, told: ConsoleConfig) -> None:
        self._app = app
        self._proxies = told.proxies
        self._encrypted = told.address.startswith("https://")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request or WebSocket; whoever comes past the proxies in the clear is refused."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        address, scheme = _caller(scope)
        if self._proxies is not None and self._proxies.lists(address):
            address, scheme = self._proxies.seen(scope["headers"], address, scheme)
        elif self._proxies is not None and scheme == "http" and not self._proxies.lets_in(address):
            await PlainTextResponse("This console is reached by way of its proxy.\n", 403)(scope, receive, send)
            return
        secure = scheme == "https" or self._encrypted
        await self._app(_as_seen(scope, address, secure=secure), receive, send)


def is_secure(scope: Scope) -> bool:
    """Whether the browser came by https."""
    return scope.get("scheme") in _HTTPS


def set_cookie(answer: Response, scope: Scope, name: str, value: str, *, lives_s: int | None = None) -> None:
    """Give the browser one of our cookies, out of scripts' reach; without a value it goes. lives_s: None until it is closed."""
    secure = is_secure(scope)
    full = _PREFIX + name if secure and name in _OURS else name
    age = lives_s if value else 0
    answer.set_cookie(full, value, max_age=age, path="/", httponly=True, samesite="lax", secure=secure)


def _caller(scope: Scope) -> tuple[str, str]:
    client = scope.get("client")
    return (client[0] if client else ""), "https" if is_secure(scope) else "http"


def _as_seen(scope: Scope, address: str, *, secure: bool) -> Scope:
    plain = scope["type"] == "http"
    scheme = ("https" if plain else "wss") if secure else ("http" if plain else "ws")
    client = scope.get("client")
    seen = {**scope, "scheme": scheme, "client": (address, client[1] if client and client[0] == address else 0)}
    if secure:
        seen["headers"] = [_counting(name, value) if name == b"cookie" else (name, value) for name, value in scope["headers"]]
    return seen


def _counting(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    """A Cookie header without what anybody could have set, ours under their plain names."""
    kept = []
    for pair in value.decode("latin-1").split(";"):
        key, _, content = pair.strip().partition("=")
        if key not in _OURS:
            kept.append(f"{key.removeprefix(_PREFIX) if key.removeprefix(_PREFIX) in _OURS else key}={content}")
    return name, "; ".join(kept).encode("latin-1")
