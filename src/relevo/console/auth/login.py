"""Where people come into the console: the sign-in page, signing out, choosing a language. Plain pages, no script needed.

GET /history  ─ signed in, or a server that asks nobody ─► Streamlit          else ─► 303 /sign-in?next=history
POST /sign-in ─ own Origin ─► server's POST /login ─► cookie (HttpOnly, SameSite=Lax) ─► 303 /history
GET /sign-in/elsewhere ─► `elsewhere`
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from functools import cache, partial
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from relevo.console.assets import look
from relevo.console.auth.oidc import OidcLogin
from relevo.console.auth.proxy import COOKIE, set_cookie
from relevo.console.auth.redirects import safe_redirect
from relevo.console.texts import LANGUAGE_COOKIE, LANGUAGES, NATIVE, liked, words_of
from relevo.errors import AuthenticationError, RelevoError, RequestRejectedError

if TYPE_CHECKING:
    from collections.abc import Container

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from relevo.console.auth.sessions import ConsoleSessions
    from relevo.console.texts import Texts

_YEAR_S = 365 * 24 * 3600
_MOST_FORM = 8192
#: What a sign-in page may be asked to say.
_SAID = frozenset({"back", "away"})
#: Streamlit draws with styles of its own, and fetches what its camera took from a data: address; Vega evaluates what it draws.
#: Nothing comes from, or goes to, another host.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-eval' 'wasm-unsafe-eval' {scripts}; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data:; worker-src 'self' blob:; object-src 'none'; "
    "base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = (
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
_INLINE = re.compile(r"<script>(.*?)</script>", re.DOTALL)


@cache
def policy() -> str:
    """What a page of the console may load and run; of scripts within a page only those of Streamlit's own, by their hashes."""
    page = files("streamlit").joinpath("static", "index.html").read_text(encoding="utf-8")
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii") for script in _INLINE.findall(page)]
    return _POLICY.format(scripts=" ".join(f"'sha256-{one}'" for one in hashes))


class LoginMiddleware:
    """Seals every answer, and leads a browser that must sign in to where it can; lives as long as the process."""

    def __init__(self, app: ASGIApp, visitors: ConsoleSessions, pages: Container[str]) -> None:
        """pages: their names."""
        self._app = app
        self._visitors = visitors
        self._pages = pages
        self._seal = [*_HEADERS, (b"content-security-policy", policy().encode("ascii"))]
        self._ours = {name for name, _ in self._seal}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; a WebSocket passes, since the page it is for was let in, and its runs ask once more."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                others = [pair for pair in message.get("headers", ()) if pair[0].lower() not in self._ours]
                message["headers"] = [*others, *self._seal]
            await send(message)

        answer = await self._leads_elsewhere(scope) if _is_a_page(scope) else None
        await (answer or self._app)(scope, receive, sealed)

    async def _leads_elsewhere(self, scope: Scope) -> Response | None:
        """To the sign-in page and back, or to a page's one address; Streamlit has none but / for its first page."""
        query = scope.get("query_string", b"").decode("latin-1")
        asked = f"{scope['path']}?{query}" if query else scope["path"]
        there = safe_redirect(asked)
        if await must_sign_in(self._visitors, Request(scope)):
            return RedirectResponse("/sign-in" if there == "/" else f"/sign-in?{urlencode({'next': there})}", 303)
        known = scope["path"].strip("/") in self._pages or scope["path"] == "/"
        return None if there == asked and known else RedirectResponse(there if known else "/", 303)


_CURRENT = ' aria-current="true"'


class LoginRoutes:
    """The addresses that Streamlit does not answer; lives as long as the process."""

    def __init__(self, visitors: ConsoleSessions) -> None:
        self._visitors = visitors
        self._elsewhere = OidcLogin(visitors, language=partial(_language, visitors), forget=self._forget)

    def routes(self) -> list[Route]:
        """What it answers."""
        return [
            Route("/health/live", self.live, methods=["GET"]),
            Route("/label_keys.js", self.label_keys, methods=["GET"]),
            Route("/sign-in", self.page, methods=["GET"]),
            Route("/sign-in", self.sign_in, methods=["POST"]),
            *self._elsewhere.routes(),
            Route("/sign-out", self.sign_out, methods=["POST"]),
            Route("/language/{code}", self.speak, methods=["GET"]),
        ]

    async def live(self, _request: Request) -> Response:
        """That the process lives, as the server says it."""
        return JSONResponse({"live": True})

    async def label_keys(self, _request: Request) -> Response:
        """The script of the label page; as a file, since the policy runs none that stands within a page."""
        return Response(look("label_keys.js"), media_type="text/javascript", headers={"cache-control": "no-cache"})

    async def page(self, request: Request) -> Response:
        """The form, and what became of signing in elsewhere."""
        said = request.query_params.get("said", "")
        return await self._page(request, said=f"sign_in.{said}" if said in _SAID else "", to=request.query_params.get("next", ""))

    async def sign_in(self, request: Request) -> Response:
        """Let somebody in whom the server lets in; whoever was in before with this browser is out."""
        if not _own_origin(request):
            return await self._page(request, said="sign_in.strange", status=403)
        form = await request.form(max_files=0, max_fields=5, max_part_size=_MOST_FORM)
        name, password, to = (str(form.get(field, "")) for field in ("name", "password", "next"))
        try:
            token = await run_in_threadpool(
                self._visitors.sign_in,
                name,
                password,
                language=_language(self._visitors, request),
                address=request.client.host if request.client else "",
            )
        except RelevoError as error:
            return await self._page(request, sentence=str(error), name=name, status=_status(error), to=to)
        await self._forget(request)
        answer = RedirectResponse(safe_redirect(to), 303)
        set_cookie(answer, request.scope, COOKIE, token)
        return answer

    async def sign_out(self, request: Request) -> Response:
        """End the session, here and on the server."""
        answer = RedirectResponse("/sign-in", 303)
        if _own_origin(request):
            await self._forget(request)
            set_cookie(answer, request.scope, COOKIE, "")
        return answer

    async def speak(self, request: Request) -> Response:
        """Remember a language, and go back to the page it was chosen on."""
        code, back = request.path_params["code"], request.query_params.get("back", "")
        # The sign-in page is none of Streamlit's, and keeps where one was going.
        to = safe_redirect(request.query_params.get("next"))
        answer = RedirectResponse(f"/sign-in?{urlencode({'next': to})}" if back == "sign-in" else safe_redirect(back), 303)
        if code in LANGUAGES:
            set_cookie(answer, request.scope, LANGUAGE_COOKIE, code, lives_s=_YEAR_S)
        return answer

    async def _page(self, request: Request, **shown: Any) -> HTMLResponse:
        provider = await run_in_threadpool(self._visitors.provider)
        return _page(self._visitors, request, provider=provider, **shown)

    async def _forget(self, request: Request) -> None:
        leaving = self._visitors.sign_out(request.cookies.get(COOKIE))
        if leaving is not None:
            await run_in_threadpool(leaving.leave)


def _status(error: RelevoError) -> int:
    """Not let in, told to wait, or nobody there."""
    return 401 if isinstance(error, AuthenticationError) else 429 if isinstance(error, RequestRejectedError) else 503


def _own_origin(request: Request) -> bool:
    """Whether a form was sent by a page of this console."""
    site = request.headers.get("sec-fetch-site")
    if site is not None and site != "same-origin":
        return False
    origin = request.headers.get("origin")
    return origin is not None and urlsplit(origin).netloc == request.headers.get("host")


def _language(visitors: ConsoleSessions, request: Request) -> str:
    return liked(request.cookies.get(LANGUAGE_COOKIE), request.headers.get("accept-language"), visitors.told.language)


def _page(
    visitors: ConsoleSessions,
    request: Request,
    *,
    said: str = "",
    sentence: str = "",
    name: str = "",
    status: int = 200,
    to: str = "",
    provider: str = "",
) -> HTMLResponse:
    words, there = words_of(_language(visitors, request)), safe_redirect(to)
    why = sentence or (words[said] if said else "")
    body = _template("sign_in.html").substitute(
        language=words.language,
        style=look("sign_in.css"),
        title=words["sign_in.title"],
        lead=words["sign_in.lead"],
        name_label=words["sign_in.name"],
        password_label=words["sign_in.password"],
        act=words["frame.sign_in"],
        refusal=f'<p class="refusal" role="alert">{html.escape(why)}</p>' if why else "",
        name=html.escape(name, quote=True),
        next=html.escape(there, quote=True),
        elsewhere=_elsewhere(words, provider, there) if provider else "",
        languages=_switch(words, there),
    )
    return HTMLResponse(body, status, {"cache-control": "no-store"})


def _elsewhere(words: Texts, provider: str, there: str) -> str:
    address = html.escape(f"/sign-in/elsewhere?{urlencode({'next': there})}", quote=True)
    return f'<p class="elsewhere"><a href="{address}">{html.escape(words("sign_in.at", provider=provider))}</a></p>'


def _switch(words: Texts, there: str) -> str:
    kept = html.escape(urlencode({"back": "sign-in", "next": there}), quote=True)
    return "".join(
        f'<a href="/language/{code}?{kept}" hreflang="{code}" lang="{code}"{_CURRENT if code == words.language else ""}>{title}</a>'
        for code, title in NATIVE.items()
    )


@cache
def _template(name: str) -> Template:
    return Template(look(name))


def _is_a_page(scope: Scope) -> bool:
    """Whether a browser goes to a page of Streamlit's, rather than fetching what belongs to one."""
    ours = scope["path"].startswith(("/sign-", "/language/", "/health/", "/_stcore/", "/static/", "/media/", "/component/"))
    accept = next((value for name, value in scope["headers"] if name == b"accept"), b"")
    return not ours and scope["method"] == "GET" and b"text/html" in accept


async def must_sign_in(visitors: ConsoleSessions, request: Request) -> bool:
    """Whether this browser is nobody to a server that asks."""
    if visitors.of(request.cookies.get(COOKIE)) is not None:
        return False
    return await run_in_threadpool(_asks_who, visitors)


def _asks_who(visitors: ConsoleSessions) -> bool:
    try:
        with visitors.client() as client:
            client.ask("GET", "/me")
    except AuthenticationError:
        return True
    except RelevoError:
        # A server from before there were users, or one that is away: the page itself says so.
        return False
    return False
