"""Login page, logout and language selection of the console, as plain HTML without scripts; and the security headers.

GET /history  ─ logged in, or a server without users ─► Streamlit          else ─► 303 /sign-in?next=history
POST /sign-in ─ same Origin ─► server's POST /login ─► cookie (HttpOnly, SameSite=Lax) ─► 303 /history
GET /sign-in/elsewhere ─► auth.oidc
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

from relevo.console.assets import read_asset
from relevo.console.auth.oidc import OidcLogin
from relevo.console.auth.proxy import SESSION_COOKIE, set_cookie
from relevo.console.auth.redirects import safe_redirect
from relevo.console.texts import LANGUAGE_COOKIE, LANGUAGES, NATIVE, choose_language, load_texts
from relevo.errors import AuthenticationError, RelevoError, RequestRejectedError

if TYPE_CHECKING:
    from collections.abc import Container

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from relevo.console.auth.sessions import ConsoleSessions
    from relevo.console.texts import Texts

_YEAR_S = 365 * 24 * 3600
_MAX_FIELD_BYTES = 8192
#: Messages that the query parameter `said` of the login page may select.
_MESSAGES = frozenset({"back", "away"})
#: Streamlit uses inline styles and fetches camera pictures from data: URLs; Vega needs eval. No other host is allowed.
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
_INLINE_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)


@cache
def content_security_policy() -> str:
    """The Content-Security-Policy of every page; of inline scripts it allows only Streamlit's own, by hash."""
    page = files("streamlit").joinpath("static", "index.html").read_text(encoding="utf-8")
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii") for script in _INLINE_SCRIPT.findall(page)]
    return _POLICY.format(scripts=" ".join(f"'sha256-{digest}'" for digest in hashes))


class LoginMiddleware:
    """Adds security headers to every response, and redirects browsers without a session to the login page.

    Lifetime: the process.
    """

    def __init__(self, app: ASGIApp, sessions: ConsoleSessions, pages: Container[str]) -> None:
        """pages: names of all pages."""
        self._app = app
        self._sessions = sessions
        self._pages = pages
        self._headers = [*_HEADERS, (b"content-security-policy", content_security_policy().encode("ascii"))]
        self._header_names = {name for name, _ in self._headers}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request. A WebSocket passes: its page was checked before, and every page run checks the session again."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                others = [pair for pair in message.get("headers", ()) if pair[0].lower() not in self._header_names]
                message["headers"] = [*others, *self._headers]
            await send(message)

        redirect = await self._redirect(scope) if _is_page_request(scope) else None
        await (redirect or self._app)(scope, receive, send_with_headers)

    async def _redirect(self, scope: Scope) -> Response | None:
        """Redirects to the login page, or to the canonical address of a page: Streamlit serves its first page only at "/"."""
        query = scope.get("query_string", b"").decode("latin-1")
        requested = f"{scope['path']}?{query}" if query else scope["path"]
        target = safe_redirect(requested)
        if await needs_login(self._sessions, Request(scope)):
            return RedirectResponse("/sign-in" if target == "/" else f"/sign-in?{urlencode({'next': target})}", 303)
        exists = scope["path"].strip("/") in self._pages or scope["path"] == "/"
        return None if target == requested and exists else RedirectResponse(target if exists else "/", 303)


_CURRENT = ' aria-current="true"'


class LoginRoutes:
    """Routes of the console outside Streamlit. Lifetime: the process."""

    def __init__(self, sessions: ConsoleSessions) -> None:
        self._sessions = sessions
        self._oidc = OidcLogin(sessions, language=partial(_language, sessions), sign_out=self._sign_out)

    def routes(self) -> list[Route]:
        """All routes of this class and of the login through the identity provider."""
        return [
            Route("/health/live", self.live, methods=["GET"]),
            Route("/label_keys.js", self.label_keys, methods=["GET"]),
            Route("/sign-in", self.login_page, methods=["GET"]),
            Route("/sign-in", self.sign_in, methods=["POST"]),
            *self._oidc.routes(),
            Route("/sign-out", self.sign_out, methods=["POST"]),
            Route("/language/{code}", self.set_language, methods=["GET"]),
        ]

    async def live(self, _request: Request) -> Response:
        """Liveness probe; the response equals the one of the server."""
        return JSONResponse({"live": True})

    async def label_keys(self, _request: Request) -> Response:
        """The script of the label page: a separate file, because the policy forbids inline scripts."""
        return Response(read_asset("label_keys.js"), media_type="text/javascript", headers={"cache-control": "no-cache"})

    async def login_page(self, request: Request) -> Response:
        """The login form, with a message if a login at the identity provider has failed."""
        name = request.query_params.get("said", "")
        message_key = f"sign_in.{name}" if name in _MESSAGES else ""
        return await self._page(request, message_key=message_key, target=request.query_params.get("next", ""))

    async def sign_in(self, request: Request) -> Response:
        """Logs in with name and password, and ends the previous session of this browser."""
        if not _is_same_origin(request):
            return await self._page(request, message_key="sign_in.strange", status=403)
        form = await request.form(max_files=0, max_fields=5, max_part_size=_MAX_FIELD_BYTES)
        name, password, target = (str(form.get(field, "")) for field in ("name", "password", "next"))
        try:
            token = await run_in_threadpool(
                self._sessions.sign_in,
                name,
                password,
                language=_language(self._sessions, request),
                address=request.client.host if request.client else "",
            )
        except RelevoError as error:
            return await self._page(request, message=str(error), name=name, status=_status(error), target=target)
        await self._sign_out(request)
        answer = RedirectResponse(safe_redirect(target), 303)
        set_cookie(answer, request.scope, SESSION_COOKIE, token)
        return answer

    async def sign_out(self, request: Request) -> Response:
        """Ends the session of the console and of the server."""
        answer = RedirectResponse("/sign-in", 303)
        if _is_same_origin(request):
            await self._sign_out(request)
            set_cookie(answer, request.scope, SESSION_COOKIE, "")
        return answer

    async def set_language(self, request: Request) -> Response:
        """Stores the language in a cookie, and redirects to the page where it was selected."""
        code, back = request.path_params["code"], request.query_params.get("back", "")
        # The login page is not a page of Streamlit; it keeps the target of the login.
        target = safe_redirect(request.query_params.get("next"))
        answer = RedirectResponse(f"/sign-in?{urlencode({'next': target})}" if back == "sign-in" else safe_redirect(back), 303)
        if code in LANGUAGES:
            set_cookie(answer, request.scope, LANGUAGE_COOKIE, code, lives_s=_YEAR_S)
        return answer

    async def _page(self, request: Request, **options: Any) -> HTMLResponse:
        provider = await run_in_threadpool(self._sessions.provider)
        return _render_page(self._sessions, request, provider=provider, **options)

    async def _sign_out(self, request: Request) -> None:
        session = self._sessions.sign_out(request.cookies.get(SESSION_COOKIE))
        if session is not None:
            await run_in_threadpool(session.leave)


def _status(error: RelevoError) -> int:
    """401 for invalid credentials, 429 for too many attempts, 503 for a server that is unavailable."""
    return 401 if isinstance(error, AuthenticationError) else 429 if isinstance(error, RequestRejectedError) else 503


def _is_same_origin(request: Request) -> bool:
    """Whether a page of this console has sent the form."""
    site = request.headers.get("sec-fetch-site")
    if site is not None and site != "same-origin":
        return False
    origin = request.headers.get("origin")
    return origin is not None and urlsplit(origin).netloc == request.headers.get("host")


def _language(sessions: ConsoleSessions, request: Request) -> str:
    return choose_language(request.cookies.get(LANGUAGE_COOKIE), request.headers.get("accept-language"), sessions.config.language)


def _render_page(
    sessions: ConsoleSessions,
    request: Request,
    *,
    message_key: str = "",
    message: str = "",
    name: str = "",
    status: int = 200,
    target: str = "",
    provider: str = "",
) -> HTMLResponse:
    texts, target = load_texts(_language(sessions, request)), safe_redirect(target)
    error = message or (texts[message_key] if message_key else "")
    body = _template("sign_in.html").substitute(
        language=texts.language,
        style=read_asset("sign_in.css"),
        title=texts["sign_in.title"],
        lead=texts["sign_in.lead"],
        name_label=texts["sign_in.name"],
        password_label=texts["sign_in.password"],
        act=texts["frame.sign_in"],
        error=f'<p class="refusal" role="alert">{html.escape(error)}</p>' if error else "",
        name=html.escape(name, quote=True),
        next=html.escape(target, quote=True),
        provider=_provider_link(texts, provider, target) if provider else "",
        languages=_language_links(texts, target),
    )
    return HTMLResponse(body, status, {"cache-control": "no-store"})


def _provider_link(texts: Texts, provider: str, target: str) -> str:
    address = html.escape(f"/sign-in/elsewhere?{urlencode({'next': target})}", quote=True)
    return f'<p class="elsewhere"><a href="{address}">{html.escape(texts("sign_in.at", provider=provider))}</a></p>'


def _language_links(texts: Texts, target: str) -> str:
    query = html.escape(urlencode({"back": "sign-in", "next": target}), quote=True)
    return "".join(
        f'<a href="/language/{code}?{query}" hreflang="{code}" lang="{code}"{_CURRENT if code == texts.language else ""}>{title}</a>'
        for code, title in NATIVE.items()
    )


@cache
def _template(name: str) -> Template:
    return Template(read_asset(name))


def _is_page_request(scope: Scope) -> bool:
    """Whether a browser requests a page of Streamlit, not one of its files and not a route of the console."""
    excluded = scope["path"].startswith(("/sign-", "/language/", "/health/", "/_stcore/", "/static/", "/media/", "/component/"))
    accept = next((value for name, value in scope["headers"] if name == b"accept"), b"")
    return not excluded and scope["method"] == "GET" and b"text/html" in accept


async def needs_login(sessions: ConsoleSessions, request: Request) -> bool:
    """Whether this browser has no session and the server requires one."""
    if sessions.find(request.cookies.get(SESSION_COOKIE)) is not None:
        return False
    return await run_in_threadpool(_server_has_users, sessions)


def _server_has_users(sessions: ConsoleSessions) -> bool:
    try:
        with sessions.client() as client:
            client.request_json("GET", "/me")
    except AuthenticationError:
        return True
    except RelevoError:
        # A server older than user accounts, or one that is down: the page itself shows the error.
        return False
    return False
