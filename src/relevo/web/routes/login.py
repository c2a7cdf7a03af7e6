"""Endpoints of login, logout and the current principal.

    GET /login ─► form and CSRF cookie ─ POST /login ─► session cookie ─► 303 to the path in `next`
                            program: POST /login with JSON ─► session cookie, {"user": …, "csrf": …}

The form works without JavaScript. A CSRF cookie binds it to the browser that requested it, against login CSRF; a cross-site page
cannot send JSON without a CORS preflight, which is refused.
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
    csrf_token_for,
    device_cookie_name,
    login_cookie_name,
    set_cookie,
)
from relevo.web.context import app_context
from relevo.web.errors import retry_header, status_of
from relevo.web.pages import model_page
from relevo.web.request_info import header
from relevo.web.routes.model_page import html_response, page_context, read_form
from relevo.web.routes.responses import error_responses
from relevo.web.schemas.users import Me, SignedIn, SignIn

if TYPE_CHECKING:
    from relevo.store.auth.users import User

router = APIRouter(tags=["people"])

_MAX_NEXT_LENGTH = 2000
_YEAR_S = 365 * 24 * 3600
_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": SignIn.model_json_schema()}}}}


class _Credentials(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    password: str


@router.get("/login", include_in_schema=False)
async def login_page(request: Request) -> Response:
    """The form; to whoever is signed in, who that is, and how to leave."""
    return await login_form(request)


@router.post(
    "/login",
    summary="Sign in",
    response_model=SignedIn,
    openapi_extra=_BODY,
    responses=error_responses(400, 401, 403, 422, 429, 503),
)
async def log_in(request: Request) -> Response:
    """The session comes as a cookie. Takes JSON, or the form of /login. Raises InvalidCredentialsError, LoginThrottledError."""
    if _is_json(request):
        credentials = await _read_credentials(request)
        user = await _authenticate(request, credentials.name, credentials.password)
        token = await open_session(request, user)
        answer = SignedIn(user=Me.from_domain(as_principal(user)), csrf=csrf_token_for(token))
        return _with_device_cookie(
            request, with_session(request, Response(answer.model_dump_json(), media_type="application/json"), token), user
        )
    return await _log_in_by_form(request)


@router.post("/logout", summary="Sign out", response_model=None, responses=error_responses(403, 503))
async def log_out(request: Request) -> Response:
    """Sign out, here and in every worker."""
    context = app_context(request)
    if _is_form(request):
        check_form(request.scope, await read_form(request))
    token = cookie_value(request.scope, cookie_name(request.scope))
    if token is not None and principal_of(request).auth_method is AuthMethod.SESSION:
        await run_in_threadpool(context.users.sessions.close, token, at=context.now(), by=audit_actor(request))
        context.authenticator.forget_session(token)
    response = Response(status_code=303, headers={"location": "/login"}) if _is_form(request) else Response(status_code=204)
    response.headers["clear-site-data"] = '"cache"'
    response.headers.append("set-cookie", set_cookie(request.scope, cookie_name(request.scope), ""))
    return response


@router.get("/me", summary="Who asks, and what they may", responses=error_responses(503))
async def get_me(request: Request) -> Me:
    """The same for sessions, keys, and whoever asks while there are no users."""
    context = app_context(request)
    insecure = missing_protection(context.settings, users=not context.authenticator.access.no_users)
    return Me.from_domain(principal_of(request), csrf_token(request.scope) or None, insecure)


def renew_session(request: Request, response: Response, user: User) -> None:
    """Opens a new session for users who changed their own account; all their old sessions have been closed."""
    principal = principal_of(request)
    if principal.auth_method is not AuthMethod.SESSION or principal.id != user.id or user.disabled is not None:
        return
    context, old = app_context(request), cookie_value(request.scope, cookie_name(request.scope))
    token = context.users.sessions.open(user.id, at=context.now(), by=audit_actor(request), instead_of=old)
    context.authenticator.forget_session(old)
    response.headers.append("set-cookie", set_cookie(request.scope, cookie_name(request.scope), token))
    response.headers["x-csrf-token"] = csrf_token_for(token)


def local_path(target: str | None) -> str:
    """A safe redirect target after login: a path of this server, else "/"."""
    path = target or ""
    is_local = path.startswith("/") and not path.startswith(("//", "/\\", "/login", "/logout"))
    is_plain = len(path) <= _MAX_NEXT_LENGTH and path.isascii() and path.isprintable() and "\\" not in path
    return path if is_local and is_plain else "/"


async def _log_in_by_form(request: Request) -> Response:
    form = await read_form(request)
    try:
        csrf_secret = cookie_value(request.scope, login_cookie_name(request.scope))
        if csrf_secret is None:
            raise CsrfError
        check_csrf(csrf_secret, form.get(CSRF_FIELD))
        user = await _authenticate(request, form.get("name", ""), form.get("password", ""))
    except RelevoError as error:
        return await login_form(request, error=error, name=form.get("name", ""), to=form.get("next"))
    response = Response(status_code=303, headers={"location": local_path(form.get("next"))})
    response.headers.append("set-cookie", set_cookie(request.scope, login_cookie_name(request.scope), ""))
    return _with_device_cookie(request, with_session(request, response, await open_session(request, user)), user)


async def _authenticate(request: Request, name: str, password: str) -> User:
    app_context(request).authenticator.check_users()
    principal = await _key_principal(request)
    recognised = cookie_value(request.scope, device_cookie_name(request.scope))
    applicant = Applicant(address=address_of_caller(request), recognised=recognised, key=principal)
    user: User = await request.app.state.passwords.verify(name, password, applicant)
    return user


async def _key_principal(request: Request) -> Principal | None:
    """The principal of a valid API key in this request, else None."""
    if header(request.scope, b"authorization") is None:
        return None
    principal: Principal | None = await app_context(request).authenticator.authenticate_optional(request.scope)
    return principal if principal is not None and principal.auth_method is AuthMethod.KEY else None


async def open_session(request: Request, user: User) -> str:
    """Token of a new session for a user who has just logged in.

    Never reuses a session: the one in the cookie is closed, against session fixation.
    """
    context = app_context(request)
    old = cookie_value(request.scope, cookie_name(request.scope))
    by = Actor(actor=f"user:{user.id}", address=address_of_caller(request))
    token: str = await run_in_threadpool(context.users.sessions.open, user.id, at=context.now(), by=by, instead_of=old)
    if old is not None:
        context.authenticator.forget_session(old)
    return token


def with_session(request: Request, response: Response, token: str) -> Response:
    """Adds the session cookie to the response."""
    response.headers.append("set-cookie", set_cookie(request.scope, cookie_name(request.scope), token))
    response.headers["cache-control"] = "no-store"
    return response


def _with_device_cookie(request: Request, response: Response, user: User) -> Response:
    """Adds the device cookie, which lets this browser log in while other clients of its network are throttled."""
    name, device_token = device_cookie_name(request.scope), app_context(request).users.sessions.device_token(user.id)
    response.headers.append("set-cookie", set_cookie(request.scope, name, device_token, lives_s=_YEAR_S))
    return response


def as_principal(user: User) -> Principal:
    """The principal of a session of this user."""
    return Principal(id=user.id, name=user.name, auth_method=AuthMethod.SESSION, role=user.role, grants=user.grants)


async def login_form(request: Request, *, error: RelevoError | None = None, name: str = "", to: str | None = None) -> Response:
    """The login page, with the error above the form if there is one."""
    csrf_secret = secrets.token_urlsafe(32)
    await _set_principal(request)
    variables: dict[str, Any] = {
        "form_csrf": csrf_token_for(csrf_secret),
        "no_users": app_context(request).authenticator.access.no_users,
        "next": local_path(to if to is not None else request.query_params.get("next")),
        "user_name": name[:200],
        "provider": provider.name if (provider := app_context(request).provider) else "",
    }
    body = model_page.login_page(page_context(request, models=[]), error, variables)
    response = html_response(request, body, 200 if error is None else status_of(type(error)))
    if error is not None:
        response.raw_headers += retry_header(error, request.state.request_id)
    response.headers.append("set-cookie", set_cookie(request.scope, login_cookie_name(request.scope), csrf_secret))
    return response


async def _set_principal(request: Request) -> None:
    """Sets the principal, if any, on a public page."""
    request.scope["state"]["principal"] = await app_context(request).authenticator.authenticate_optional(request.scope)


async def _read_credentials(request: Request) -> _Credentials:
    try:
        return msgspec.json.decode(await request.body(), type=_Credentials)
    except msgspec.ValidationError as cause:
        raise InvalidParameterError(field="body", expected='{"name": "…", "password": "…"}') from cause
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as cause:
        raise InvalidJsonError(reason="it cannot be parsed") from cause


def _content_type(request: Request) -> str:
    return (header(request.scope, b"content-type") or "").partition(";")[0].strip().lower()


def _is_json(request: Request) -> bool:
    return _content_type(request) == "application/json"


def _is_form(request: Request) -> bool:
    return _content_type(request) in {"application/x-www-form-urlencoded", "multipart/form-data"}
