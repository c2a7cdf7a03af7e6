"""Signing in and out, and who one is.

    GET /login ─► a form and a cookie of its own ─ POST /login ─► session cookie ─► 303 to where one was going
                            a program: POST /login as JSON ─► session cookie, {"user": …, "csrf": …}

The form works without JavaScript. It is tied to the browser that asked for it, so that nobody is signed in to a stranger's account
by a page elsewhere; JSON cannot be sent by such a page without asking us first, which is refused.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import msgspec
from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from relevo.domain.access import AuthMethod, Principal
from relevo.domain.audit import Actor
from relevo.errors import CsrfError, InvalidJsonError, InvalidParameterError, RelevoError
from relevo.web.auth.exposure import missing_protection
from relevo.web.auth.guard import address_of_caller, audit_actor, check_form, csrf_token, principal_of
from relevo.web.auth.password_login import Applicant
from relevo.web.auth.sessions import (
    CSRF_FIELD,
    check_csrf,
    cookie_name,
    cookie_value,
    csrf_of,
    device_cookie_name,
    login_cookie_name,
    set_cookie,
)
from relevo.web.errors import retry_header, status_of
from relevo.web.pages import model_page
from relevo.web.request_info import header
from relevo.web.routes.model_page import form_of, html, visit_of
from relevo.web.routes.responses import error_responses
from relevo.web.schemas.users import Me, SignedIn, SignIn

if TYPE_CHECKING:
    from relevo.store.auth.users import User

router = APIRouter(tags=["people"])

_MOST_NEXT = 2000
_YEAR_S = 365 * 24 * 3600
_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": SignIn.model_json_schema()}}}}


class _Given(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    password: str


@router.get("/login", include_in_schema=False)
async def login_page(request: Request) -> Response:
    """The form; to whoever is signed in, who that is, and how to leave."""
    return await sign_in_page(request)


@router.post(
    "/login",
    summary="Sign in",
    response_model=SignedIn,
    openapi_extra=_BODY,
    responses=error_responses(400, 401, 403, 422, 429, 503),
)
async def sign_in(request: Request) -> Response:
    """The session comes as a cookie. Takes JSON, or the form of /login. Raises InvalidCredentialsError, LoginThrottledError."""
    if _is_json(request):
        given = await _json_of(request)
        user = await _checked(request, given.name, given.password)
        token = await open_session(request, user)
        answer = SignedIn(user=Me.of(as_principal(user)), csrf=csrf_of(token))
        return _recognised(
            request, with_session(request, Response(answer.model_dump_json(), media_type="application/json"), token), user
        )
    return await _by_form(request)


@router.post("/logout", summary="Sign out", response_model=None, responses=error_responses(403, 503))
async def sign_out(request: Request) -> Response:
    """Sign out, here and in every worker."""
    parts = request.app.state.parts
    if _is_form(request):
        check_form(request.scope, await form_of(request))
    token = cookie_value(request.scope, cookie_name(request.scope))
    if token is not None and principal_of(request).way is AuthMethod.SESSION:
        await run_in_threadpool(parts.people.sessions.close, token, at=parts.now(), by=audit_actor(request))
        parts.door.sessions.forget(token)
    response = Response(status_code=303, headers={"location": "/login"}) if _is_form(request) else Response(status_code=204)
    response.headers["clear-site-data"] = '"cache"'
    response.headers.append("set-cookie", set_cookie(request.scope, cookie_name(request.scope), ""))
    return response


@router.get("/me", summary="Who asks, and what they may", responses=error_responses(503))
async def me(request: Request) -> Me:
    """The same for sessions, keys, and whoever asks while there are no users."""
    parts = request.app.state.parts
    insecure = missing_protection(parts.settings, users=not parts.door.roll.open)
    return Me.of(principal_of(request), csrf_token(request.scope) or None, insecure)


def renew_session(request: Request, response: Response, user: User) -> None:
    """Whoever changed themselves goes on under a new id; the old one has ended with all others of theirs."""
    principal = principal_of(request)
    if principal.way is not AuthMethod.SESSION or principal.id != user.id or user.disabled is not None:
        return
    parts, old = request.app.state.parts, cookie_value(request.scope, cookie_name(request.scope))
    token = parts.people.sessions.open(user.id, at=parts.now(), by=audit_actor(request), instead_of=old)
    parts.door.sessions.forget(old)
    response.headers.append("set-cookie", set_cookie(request.scope, cookie_name(request.scope), token))
    response.headers["x-csrf-token"] = csrf_of(token)


def local_path(asked: str | None) -> str:
    """Where to go after signing in: an address of this server, whatever was asked."""
    plain = asked or ""
    ours = plain.startswith("/") and not plain.startswith(("//", "/\\", "/login", "/logout"))
    safe = len(plain) <= _MOST_NEXT and plain.isascii() and plain.isprintable() and "\\" not in plain
    return plain if ours and safe else "/"


async def _by_form(request: Request) -> Response:
    form = await form_of(request)
    try:
        tie = cookie_value(request.scope, login_cookie_name(request.scope))
        if tie is None:
            raise CsrfError
        check_csrf(tie, form.get(CSRF_FIELD))
        user = await _checked(request, form.get("name", ""), form.get("password", ""))
    except RelevoError as error:
        return await sign_in_page(request, error=error, name=form.get("name", ""), to=form.get("next"))
    response = Response(status_code=303, headers={"location": local_path(form.get("next"))})
    response.headers.append("set-cookie", set_cookie(request.scope, login_cookie_name(request.scope), ""))
    return _recognised(request, with_session(request, response, await open_session(request, user)), user)


async def _checked(request: Request, name: str, password: str) -> User:
    request.app.state.parts.door.check_users()
    principal = await _key_of(request)
    recognised = cookie_value(request.scope, device_cookie_name(request.scope))
    applicant = Applicant(address=address_of_caller(request), recognised=recognised, key=principal)
    user: User = await request.app.state.sign_ins.check(name, password, applicant)
    return user


async def _key_of(request: Request) -> Principal | None:
    """Whom a key stands for that came along; one that does not count is as none."""
    if header(request.scope, b"authorization") is None:
        return None
    principal: Principal | None = await request.app.state.parts.door.maybe(request.scope)
    return principal if principal is not None and principal.way is AuthMethod.KEY else None


async def open_session(request: Request, user: User) -> str:
    """The token of a session of whoever has just shown who they are.

    Always a new session: what came in as a cookie ends, so nobody can choose the id of another's.
    """
    parts = request.app.state.parts
    old = cookie_value(request.scope, cookie_name(request.scope))
    by = Actor(actor=f"user:{user.id}", address=address_of_caller(request))
    token: str = await run_in_threadpool(parts.people.sessions.open, user.id, at=parts.now(), by=by, instead_of=old)
    if old is not None:
        parts.door.sessions.forget(old)
    return token


def with_session(request: Request, response: Response, token: str) -> Response:
    """The answer with the session's cookie."""
    response.headers.append("set-cookie", set_cookie(request.scope, cookie_name(request.scope), token))
    response.headers["cache-control"] = "no-store"
    return response


def _recognised(request: Request, response: Response, user: User) -> Response:
    """The answer with what lets this browser try again while others of its network guess."""
    name, mark = device_cookie_name(request.scope), request.app.state.parts.people.sessions.recognised(user.id)
    response.headers.append("set-cookie", set_cookie(request.scope, name, mark, lives_s=_YEAR_S))
    return response


def as_principal(user: User) -> Principal:
    """Whoever a session of this user's is."""
    return Principal(id=user.id, name=user.name, way=AuthMethod.SESSION, role=user.role, grants=user.grants)


async def sign_in_page(request: Request, *, error: RelevoError | None = None, name: str = "", to: str | None = None) -> Response:
    """The form, or what went wrong above it."""
    tie = secrets.token_urlsafe(32)
    await _look_who(request)
    facts: dict[str, Any] = {
        "tie": csrf_of(tie),
        "nobody": request.app.state.parts.door.roll.open,
        "next": local_path(to if to is not None else request.query_params.get("next")),
        "typed": name[:200],
        "elsewhere": provider.name if (provider := request.app.state.parts.provider) else "",
    }
    body = model_page.login_page(visit_of(request, models=[]), error, facts)
    response = html(request, body, 200 if error is None else status_of(type(error)))
    if error is not None:
        response.raw_headers += retry_header(error, request.state.request_id)
    response.headers.append("set-cookie", set_cookie(request.scope, login_cookie_name(request.scope), tie))
    return response


async def _look_who(request: Request) -> None:
    """Who is signed in already, on a page that asks nobody."""
    request.scope["state"]["principal"] = await request.app.state.parts.door.maybe(request.scope)


async def _json_of(request: Request) -> _Given:
    try:
        return msgspec.json.decode(await request.body(), type=_Given)
    except msgspec.ValidationError as cause:
        raise InvalidParameterError(field="body", expected='{"name": "…", "password": "…"}') from cause
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as cause:
        raise InvalidJsonError(reason="it cannot be parsed") from cause


def _kind(request: Request) -> str:
    return (header(request.scope, b"content-type") or "").partition(";")[0].strip().lower()


def _is_json(request: Request) -> bool:
    return _kind(request) == "application/json"


def _is_form(request: Request) -> bool:
    return _kind(request) in {"application/x-www-form-urlencoded", "multipart/form-data"}
