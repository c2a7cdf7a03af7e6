"""Signing in at the server's identity provider: the browser goes there by way of the server, and comes back with a code.

    GET /sign-in/elsewhere ─ a tie in this browser's cookie ─► 303 to the server's /login/console ─► provider ─► server
    GET /sign-in/back?code&state ─ state of this very browser ─ console asks the server: code, verifier ─► session ─► 303

State and verifier are made from the tie, which never leaves cookie and console. So a code that somebody else was given signs nobody
in here, and a code that is seen on its way is worth nothing without the tie.
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

from relevo.console.auth.proxy import COOKIE, TIE_COOKIE, set_cookie
from relevo.console.auth.redirects import safe_redirect
from relevo.errors import AuthenticationError, RelevoError
from relevo.util.hmac_signing import Purpose, sign

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from relevo.console.auth.sessions import ConsoleSessions

#: How long somebody may take to sign in there, in s.
_LONGEST_S = 600
_MOST_WORD = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class BrowserBinding:
    """What ties a sign-in to one browser, and where that was going; lives in its cookie."""

    secret: str
    back: str

    @classmethod
    def new(cls, back: str) -> BrowserBinding:
        """For a browser that sets out now."""
        return cls(secret=secrets.token_urlsafe(32), back=back)

    @classmethod
    def of(cls, cookie: str | None) -> BrowserBinding | None:
        """What a cookie holds; None for none."""
        secret, _, back = (cookie or "").partition(".")
        return cls(secret=secret, back=safe_redirect(_plain(back))) if secret else None

    @property
    def cookie(self) -> str:
        """What the browser keeps."""
        return f"{self.secret}.{base64.urlsafe_b64encode(self.back.encode()).rstrip(b'=').decode()}"

    @property
    def state(self) -> str:
        """What comes back with the code."""
        return self._made(b"relevo console state")

    @property
    def verifier(self) -> str:
        """What shows that whoever brings the code is who asked for it (RFC 7636)."""
        return self._made(b"relevo console verifier")

    @property
    def challenge(self) -> str:
        """What the server keeps of the verifier."""
        return _letters(hashlib.sha256(self.verifier.encode()).digest())

    def _made(self, purpose: bytes) -> str:
        return _letters(hmac.new(self.secret.encode(), purpose, hashlib.sha256).digest())


class OidcLogin:
    """The way there and back; lives as long as the process."""

    def __init__(
        self, visitors: ConsoleSessions, *, language: Callable[[Request], str], forget: Callable[[Request], Awaitable[None]]
    ) -> None:
        """language: of a browser. forget: whoever was in before with it."""
        self._visitors = visitors
        self._language = language
        self._forget = forget

    def routes(self) -> list[Route]:
        """What it answers."""
        return [
            Route("/sign-in/elsewhere", self.go, methods=["GET"]),
            Route("/sign-in/back", self.come_back, methods=["GET"]),
        ]

    async def go(self, request: Request) -> Response:
        """Send the browser off, from the one address that it can come back to."""
        told, back = self._visitors.told, safe_redirect(request.query_params.get("next"))
        key = told.key()
        if not key:
            return RedirectResponse("/sign-in", 303)
        if f"{request.url.scheme}://{request.headers.get('host')}" != told.address and "here" not in request.query_params:
            # Its cookie must be there on the way back. Once: a proxy may give us another name than the browser's.
            return RedirectResponse(f"{told.address}/sign-in/elsewhere?here&next={quote(back)}", 303)
        tie = BrowserBinding.new(back)
        words = (told.address, tie.state, tie.challenge)
        asked = dict(zip(("to", "state", "challenge"), words, strict=True)) | {"mark": sign(key, Purpose.LEAVE, *words)}
        answer = RedirectResponse(f"{told.public_url or told.server}/login/console?{urlencode(asked)}", 303)
        set_cookie(answer, request.scope, TIE_COOKIE, tie.cookie, lives_s=_LONGEST_S)
        return _unstored(answer)

    async def come_back(self, request: Request) -> Response:
        """Sign in whoever set out from this browser; the code leaves the address with the answer, whatever it was worth."""
        tie, asked = BrowserBinding.of(request.cookies.get(TIE_COOKIE)), request.query_params
        code, state = asked.get("code", "")[:_MOST_WORD], asked.get("state", "")
        if tie is None or not code or not hmac.compare_digest(tie.state.encode(), state.encode("utf-8", "replace")):
            return _unstored(RedirectResponse("/sign-in?said=back", 303))
        address = request.client.host if request.client else ""
        try:
            token = await run_in_threadpool(
                self._visitors.hand_over, code, tie.verifier, language=self._language(request), address=address
            )
        except RelevoError as error:
            answer = RedirectResponse(f"/sign-in?said={'back' if isinstance(error, AuthenticationError) else 'away'}", 303)
        else:
            await self._forget(request)
            answer = RedirectResponse(tie.back, 303)
            set_cookie(answer, request.scope, COOKIE, token)
        set_cookie(answer, request.scope, TIE_COOKIE, "")
        return _unstored(answer)


def _unstored(answer: RedirectResponse) -> RedirectResponse:
    answer.headers["cache-control"] = "no-store"
    return answer


def _letters(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _plain(letters: str) -> str:
    try:
        return base64.urlsafe_b64decode(letters + "=" * (-len(letters) % 4)).decode()
    except ValueError:
        return ""
