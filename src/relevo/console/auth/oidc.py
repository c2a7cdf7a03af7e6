"""Login through the identity provider of the server: the browser goes there through the server and returns with a login code.

    GET /sign-in/elsewhere ─ binding in a cookie of this browser ─► 303 to the server's /login/console ─► provider ─► server
    GET /sign-in/back?code&state ─ state matches the cookie ─► console sends the server code and verifier ─► session ─► 303

State and verifier are derived from the binding secret, which only the cookie and the console know. So a login code issued for
another browser is rejected here, and an intercepted code is useless without the secret.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from relevo.console.auth.proxy import BINDING_COOKIE, SESSION_COOKIE, set_cookie
from relevo.console.auth.redirects import safe_redirect
from relevo.errors import AuthenticationError, RelevoError
from relevo.util.hmac_signing import Purpose, sign

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from relevo.console.auth.sessions import ConsoleSessions

#: Time limit for the login at the provider, in s.
_MAX_LOGIN_S = 600
_MAX_CODE_CHARS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class BrowserBinding:
    """Binds a login to one browser, and keeps the page to return to. Lifetime: its cookie."""

    secret: str
    target: str

    @classmethod
    def new(cls, target: str) -> BrowserBinding:
        """A binding for a login that starts now."""
        return cls(secret=secrets.token_urlsafe(32), target=target)

    @classmethod
    def from_cookie(cls, cookie: str | None) -> BrowserBinding | None:
        """Parses the value of the cookie; None without one."""
        secret, _, target = (cookie or "").partition(".")
        return cls(secret=secret, target=safe_redirect(_decode(target))) if secret else None

    @property
    def cookie(self) -> str:
        """The value of the cookie."""
        return f"{self.secret}.{_encode(self.target.encode())}"

    @property
    def state(self) -> str:
        """The `state` parameter, which returns together with the code."""
        return self._derive(b"relevo console state")

    @property
    def verifier(self) -> str:
        """The PKCE verifier: proves that the browser that brings the code is the one that started the login (RFC 7636)."""
        return self._derive(b"relevo console verifier")

    @property
    def challenge(self) -> str:
        """The PKCE challenge: the digest of the verifier, which the server stores."""
        return _encode(hashlib.sha256(self.verifier.encode()).digest())

    def _derive(self, purpose: bytes) -> str:
        return _encode(hmac.new(self.secret.encode(), purpose, hashlib.sha256).digest())


class OidcLogin:
    """Routes of the login through the identity provider. Lifetime: the process."""

    def __init__(
        self, sessions: ConsoleSessions, *, language: Callable[[Request], str], sign_out: Callable[[Request], Awaitable[None]]
    ) -> None:
        """language: of the browser. sign_out: ends the previous session of the browser."""
        self._sessions = sessions
        self._language = language
        self._sign_out = sign_out

    def routes(self) -> list[Route]:
        """Routes of this class."""
        return [
            Route("/sign-in/elsewhere", self.start, methods=["GET"]),
            Route("/sign-in/back", self.callback, methods=["GET"]),
        ]

    async def start(self, request: Request) -> Response:
        """Redirects to the server, from the only address that the browser can return to."""
        config, target = self._sessions.config, safe_redirect(request.query_params.get("next"))
        key = config.key()
        if not key:
            return RedirectResponse("/sign-in", 303)
        if f"{request.url.scheme}://{request.headers.get('host')}" != config.address and "here" not in request.query_params:
            # The cookie must be set for the address of the return. Redirects once: behind a proxy the Host header may differ.
            return RedirectResponse(f"{config.address}/sign-in/elsewhere?here&next={quote(target)}", 303)
        binding = BrowserBinding.new(target)
        signed = (config.address, binding.state, binding.challenge)
        query = dict(zip(("to", "state", "challenge"), signed, strict=True)) | {"mark": sign(key, Purpose.LEAVE, *signed)}
        answer = RedirectResponse(f"{config.public_url or config.server}/login/console?{urlencode(query)}", 303)
        set_cookie(answer, request.scope, BINDING_COOKIE, binding.cookie, lives_s=_MAX_LOGIN_S)
        return _not_cached(answer)

    async def callback(self, request: Request) -> Response:
        """Logs in the browser that started the login; always redirects, so the code does not stay in the address bar."""
        binding, query = BrowserBinding.from_cookie(request.cookies.get(BINDING_COOKIE)), request.query_params
        code, state = query.get("code", "")[:_MAX_CODE_CHARS], query.get("state", "")
        if binding is None or not code or not hmac.compare_digest(binding.state.encode(), state.encode("utf-8", "replace")):
            return _not_cached(RedirectResponse("/sign-in?said=back", 303))
        address = request.client.host if request.client else ""
        try:
            token = await run_in_threadpool(
                self._sessions.redeem_code, code, binding.verifier, language=self._language(request), address=address
            )
        except RelevoError as error:
            answer = RedirectResponse(f"/sign-in?said={'back' if isinstance(error, AuthenticationError) else 'away'}", 303)
        else:
            await self._sign_out(request)
            answer = RedirectResponse(binding.target, 303)
            set_cookie(answer, request.scope, SESSION_COOKIE, token)
        set_cookie(answer, request.scope, BINDING_COOKIE, "")
        return _not_cached(answer)


def _not_cached(answer: RedirectResponse) -> RedirectResponse:
    answer.headers["cache-control"] = "no-store"
    return answer


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> str:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except ValueError:
        return ""
