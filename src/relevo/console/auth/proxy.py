"""ASGI middleware for proxies and cookies: finds the browser's IP address and scheme, and accepts only secure cookies over https.

    scope ─ headers of a trusted proxy (util.proxy_headers) ─► address and scheme of the browser ─┬ https: only __Host- cookies ─► app
          └ http that bypasses the proxy ─► 403                                               └ http: plain cookies ─────────► app

Over https the name of a cookie begins with __Host-, so neither a neighbouring host nor plain http can set it. The code behind this
middleware sees accepted cookies under their plain names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

    from relevo.console.auth.sessions import ConsoleConfig

#: The session token, and the binding of a browser that left to log in at the identity provider.
SESSION_COOKIE, BINDING_COOKIE = "relevo_console", "relevo_console_tie"
_PREFIX = "__Host-"
_PREFIXED = (SESSION_COOKIE, BINDING_COOKIE)
_HTTPS = frozenset({"https", "wss"})


class ProxyMiddleware:
    """Sets the client address, scheme and cookies of each request. Lifetime: the process."""

    def __init__(self, app: ASGIApp, config: ConsoleConfig) -> None:
        self._app = app
        self._proxies = config.proxies
        self._encrypted = config.address.startswith("https://")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request or WebSocket; answers 403 to plain http that bypasses the proxy."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        address, scheme = _peer(scope)
        if self._proxies is not None and self._proxies.is_trusted(address):
            address, scheme = self._proxies.client_of(scope["headers"], address, scheme)
        elif self._proxies is not None and scheme == "http" and not self._proxies.allows_plain_http(address):
            await PlainTextResponse("This console is reached by way of its proxy.\n", 403)(scope, receive, send)
            return
        secure = scheme == "https" or self._encrypted
        await self._app(_rewrite_scope(scope, address, secure=secure), receive, send)


def is_secure(scope: Scope) -> bool:
    """Whether the browser uses https."""
    return scope.get("scheme") in _HTTPS


def set_cookie(answer: Response, scope: Scope, name: str, value: str, *, lives_s: int | None = None) -> None:
    """Sets a cookie of the console, unreadable for scripts; an empty value deletes it. lives_s: None until the browser closes."""
    secure = is_secure(scope)
    full_name = _PREFIX + name if secure and name in _PREFIXED else name
    max_age = lives_s if value else 0
    answer.set_cookie(full_name, value, max_age=max_age, path="/", httponly=True, samesite="lax", secure=secure)


def _peer(scope: Scope) -> tuple[str, str]:
    client = scope.get("client")
    return (client[0] if client else ""), "https" if is_secure(scope) else "http"


def _rewrite_scope(scope: Scope, address: str, *, secure: bool) -> Scope:
    is_http = scope["type"] == "http"
    scheme = ("https" if is_http else "wss") if secure else ("http" if is_http else "ws")
    client = scope.get("client")
    rewritten = {**scope, "scheme": scheme, "client": (address, client[1] if client and client[0] == address else 0)}
    if secure:
        rewritten["headers"] = [(name, _secure_cookies(value) if name == b"cookie" else value) for name, value in scope["headers"]]
    return rewritten


def _secure_cookies(header: bytes) -> bytes:
    """A Cookie header without plain cookies of the console; its __Host- cookies get their plain names."""
    accepted = []
    for pair in header.decode("latin-1").split(";"):
        name, _, value = pair.strip().partition("=")
        if name not in _PREFIXED:
            plain = name.removeprefix(_PREFIX)
            accepted.append(f"{plain if plain in _PREFIXED else name}={value}")
    return "; ".join(accepted).encode("latin-1")
