"""Endpoints of the OpenID Connect login: redirect to the provider, and its callback.

    GET /login/oidc ─ browser secret in a cookie, hash of `state` in the store ─► 303 to the provider
    GET /login/console, from a console ─ signature valid ─► the same, returning to the console
    GET /login/oidc/callback ─ state and cookie match, once ─ code exchanged ─ token valid ─ user of the account ─► session, 303
                                                                                     └ login started by a console ─► console_login

An account without a user gets one only if the setting oidc_default_role names a role; else an admin links it: `relevo user link`.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from relevo.domain.access import Role
from relevo.domain.audit import Actor
from relevo.domain.names import checked_user_name
from relevo.errors import FieldTypeError, IdentityProofError, NameTakenError, NotFoundError, RelevoError, UserNotFoundError
from relevo.store.auth.oidc_logins import LOGIN_TTL, ExternalIdentity, LoginAttempt
from relevo.web.auth.guard import address_of_caller, wants_html
from relevo.web.auth.sessions import cookie_value, set_cookie
from relevo.web.context import app_context
from relevo.web.request_info import address_of
from relevo.web.routes import console_login
from relevo.web.routes.console_login import ConsoleLoginRequest
from relevo.web.routes.login import local_path, login_form, open_session, with_session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import Scope

    from relevo.store.auth.users import User
    from relevo.web.auth.oidc import Provider
    from relevo.web.context import AppContext

router = APIRouter(include_in_schema=False)

CALLBACK = "/login/oidc/callback"
_MAX_PARAMETER_LENGTH = 4096


@router.get("/login/oidc")
async def start_login(request: Request) -> Response:
    """Send the browser to the provider. Raises NotFoundError where none is set."""
    try:
        return await _redirect_to_provider(request, local_path(request.query_params.get("next")))
    except RelevoError as error:
        return await _error_response(request, error)


@router.get(console_login.PATH)
async def start_console_login(request: Request) -> Response:
    """The same for a browser that a console sends. Raises NotFoundError where no provider is set."""
    try:
        _provider(request)
        login_request = ConsoleLoginRequest.from_query(request.query_params, app_context(request).console_key)
        return await _redirect_to_provider(request, login_request.path)
    except RelevoError as error:
        return await _error_response(request, error)


@router.get(CALLBACK)
async def login_callback(request: Request) -> Response:
    """Open a session for whoever the provider says has come back.

    Raises NotFoundError, IdentityProofError, IdentityProviderUnavailableError.
    """
    try:
        user, back = await _authenticate(request)
        login_request = console_login.pending_console_login(back, app_context(request).console_key)
        if login_request is not None:
            return _without_cookie(request, await console_login.redirect_to_console(app_context(request), login_request, user))
        response = Response(status_code=303, headers={"location": local_path(back)})
        return _without_cookie(request, with_session(request, response, await open_session(request, user)))
    except RelevoError as error:
        return _without_cookie(request, await _error_response(request, error))


async def _redirect_to_provider(request: Request, back: str) -> Response:
    from relevo.web.auth.oidc import LoginSecrets

    context, provider = app_context(request), _provider(request)
    context.authenticator.check_users()
    browser_secret, state = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    location = await provider.address(
        state=state, secrets=LoginSecrets(browser_secret=browser_secret), redirect=_redirect_uri(request)
    )
    attempt = LoginAttempt(state=state, browser_secret=browser_secret, return_to=back, address=address_of_caller(request))
    await run_in_threadpool(context.users.elsewhere.start, attempt, at=context.now())
    response = Response(status_code=303, headers={"location": location, "cache-control": "no-store"})
    name = oidc_cookie_name(request.scope)
    response.headers.append("set-cookie", set_cookie(request.scope, name, browser_secret, lives_s=int(LOGIN_TTL.total_seconds())))
    return response


async def _authenticate(request: Request) -> tuple[User, str]:
    from relevo.web.auth.oidc import LoginSecrets

    context, provider = app_context(request), _provider(request)
    context.authenticator.check_users()
    parameters = _callback_parameters(request)
    browser_secret = cookie_value(request.scope, oidc_cookie_name(request.scope))
    if browser_secret is None or "state" not in parameters:
        raise IdentityProofError(reason="it was not begun in this browser, or too long ago")
    back = await run_in_threadpool(context.users.elsewhere.finish, parameters["state"], browser_secret, at=context.now())
    if back is None:
        raise IdentityProofError(reason="it was not begun in this browser, or too long ago")
    metadata = await provider.metadata()
    # RFC 9207: `iss` must be the provider's; it is required if the provider's metadata announces it.
    if (
        parameters.get("iss", provider.issuer if not metadata.authorization_response_iss_parameter_supported else "")
        != provider.issuer
    ):
        raise IdentityProofError(reason="another provider answers than was asked")
    if "error" in parameters or not parameters.get("code"):
        raise IdentityProofError(reason="the provider let nobody in")
    login_secrets = LoginSecrets(browser_secret=browser_secret)
    claims = await provider.claims(parameters["code"], secrets=login_secrets, redirect=_redirect_uri(request))
    return await run_in_threadpool(_find_or_create_user, context, claims, address_of_caller(request)), back


def _callback_parameters(request: Request) -> dict[str, str]:
    """Parameters of the callback. Repeated names are rejected: different parsers pick different values."""
    pairs = [(name, value) for name, value in request.query_params.multi_items() if name in {"state", "code", "error", "iss"}]
    if len({name for name, _ in pairs}) != len(pairs) or any(len(value) > _MAX_PARAMETER_LENGTH for _, value in pairs):
        raise IdentityProofError(reason="its answer cannot be read")
    return dict(pairs)


def _find_or_create_user(context: AppContext, claims: dict[str, Any], address: str) -> User:
    """The user of an account. Raises IdentityProofError if there is none, or if the user is disabled."""
    people, account = context.users, ExternalIdentity(issuer=claims["iss"], subject=claims["sub"])
    with suppress(UserNotFoundError):
        return people.get_by_identity(account.issuer, account.subject)
    if context.settings.oidc_default_role == "nobody":
        raise IdentityProofError(reason="nobody here has that account; an admin can link it to a user (`relevo user link`)")
    by, role = Actor(actor="oidc", address=address), Role(context.settings.oidc_default_role)
    try:
        user = people.get(people.elsewhere.create_user(account, candidate_names(claims), role, at=context.now(), by=by))
    except NameTakenError as cause:
        raise IdentityProofError(reason="everything it calls that account is a name of somebody else here") from cause
    if user.disabled is not None:
        raise IdentityProofError(reason="that user is switched off")
    return user


def candidate_names(claims: dict[str, Any]) -> Iterator[str]:
    """Candidate names for a new user, the shortest first. Names grant no permissions."""
    host = urlsplit(claims["iss"]).hostname
    preferred = claims.get("preferred_username")
    for name in (preferred, claims.get("email"), f"{preferred or claims['sub']} ({host})", f"{claims['sub'][:40]} ({host})"):
        if isinstance(name, str):
            try:
                yield checked_user_name(name)
            except FieldTypeError:
                continue


def _provider(request: Request) -> Provider:
    provider: Provider | None = app_context(request).provider
    if provider is None:
        raise NotFoundError
    return provider


async def _error_response(request: Request, error: RelevoError) -> Response:
    """The login page with the error for browsers; programs get the error itself."""
    if isinstance(error, NotFoundError) or not wants_html(request.scope):
        raise error
    return await login_form(request, error=error)


def _without_cookie(request: Request, response: Response) -> Response:
    response.headers.append("set-cookie", set_cookie(request.scope, oidc_cookie_name(request.scope), ""))
    return response


def oidc_cookie_name(scope: Scope) -> str:
    """Name of the cookie that binds a login attempt to its browser."""
    return "__Host-relevo-oidc" if scope.get("scheme") == "https" else "relevo_oidc"


def _redirect_uri(request: Request) -> str:
    return address_of(request.scope) + CALLBACK
