"""Signing in at an identity provider (OpenID Connect): there, and back.

    GET /login/oidc ─ a tie in this browser's cookie, the hash of a state in the store ─► 303 to the provider
    GET /login/console, by way of a console ─ its mark counts ─► the same, and the way back leads there
    GET /login/oidc/callback ─ state and tie known, once ─ code for token ─ token believed ─ whose account? ─► session, 303
                                                                                    └ who came from a console ─► handing_over

Who has no user here gets one only where the setting oidc_default_role says so; else an admin links the account: `relevo user link`.
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
from relevo.web.request_info import address_of
from relevo.web.routes import console_login
from relevo.web.routes.console_login import Leaving
from relevo.web.routes.login import local_path, open_session, sign_in_page, with_session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import Scope

    from relevo.store.auth.users import User
    from relevo.web.auth.oidc import Provider
    from relevo.web.context import AppContext

router = APIRouter(include_in_schema=False)

CALLBACK = "/login/oidc/callback"
_MOST_WORD = 4096


@router.get("/login/oidc")
async def go(request: Request) -> Response:
    """Send the browser to the provider. Raises NotFoundError where none is set."""
    try:
        return await _sent(request, local_path(request.query_params.get("next")))
    except RelevoError as error:
        return await _told(request, error)


@router.get(console_login.PATH)
async def go_from_console(request: Request) -> Response:
    """The same for a browser that a console sends. Raises NotFoundError where no provider is set."""
    try:
        _provider(request)
        asked = Leaving.of(request.query_params, request.app.state.parts.console_key)
        return await _sent(request, asked.path)
    except RelevoError as error:
        return await _told(request, error)


@router.get(CALLBACK)
async def come_back(request: Request) -> Response:
    """Open a session for whoever the provider says has come back.

    Raises NotFoundError, IdentityProofError, IdentityProviderUnavailableError.
    """
    try:
        user, back = await _who_came(request)
        leaving = console_login.asked_before(back, request.app.state.parts.console_key)
        if leaving is not None:
            return _forgotten(request, await console_login.handed_over(request.app.state.parts, leaving, user))
        response = Response(status_code=303, headers={"location": local_path(back)})
        return _forgotten(request, with_session(request, response, await open_session(request, user)))
    except RelevoError as error:
        return _forgotten(request, await _told(request, error))


async def _sent(request: Request, back: str) -> Response:
    from relevo.web.auth.oidc import LoginSecrets

    parts, provider = request.app.state.parts, _provider(request)
    parts.door.check_users()
    tie, state = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    there = await provider.address(state=state, secrets=LoginSecrets(tie=tie), redirect=_redirect(request))
    journey = LoginAttempt(state=state, tie=tie, back=back, address=address_of_caller(request))
    await run_in_threadpool(parts.people.elsewhere.begin, journey, at=parts.now())
    response = Response(status_code=303, headers={"location": there, "cache-control": "no-store"})
    name = tie_cookie_name(request.scope)
    response.headers.append("set-cookie", set_cookie(request.scope, name, tie, lives_s=int(LOGIN_TTL.total_seconds())))
    return response


async def _who_came(request: Request) -> tuple[User, str]:
    from relevo.web.auth.oidc import LoginSecrets

    parts, provider = request.app.state.parts, _provider(request)
    parts.door.check_users()
    told = _only_once(request)
    tie = cookie_value(request.scope, tie_cookie_name(request.scope))
    if tie is None or "state" not in told:
        raise IdentityProofError(reason="it was not begun in this browser, or too long ago")
    back = await run_in_threadpool(parts.people.elsewhere.take, told["state"], tie, at=parts.now())
    if back is None:
        raise IdentityProofError(reason="it was not begun in this browser, or too long ago")
    about = await provider.about()
    # RFC 9207: an answer that names its sender names the right one; a provider that promises to name itself does.
    if told.get("iss", provider.issuer if not about.authorization_response_iss_parameter_supported else "") != provider.issuer:
        raise IdentityProofError(reason="another provider answers than was asked")
    if "error" in told or not told.get("code"):
        raise IdentityProofError(reason="the provider let nobody in")
    claims = await provider.claims(told["code"], secrets=LoginSecrets(tie=tie), redirect=_redirect(request))
    return await run_in_threadpool(_user_of, parts, claims, address_of_caller(request)), back


def _only_once(request: Request) -> dict[str, str]:
    """What came back; a name that came twice may mean one thing here and another elsewhere."""
    pairs = [(name, value) for name, value in request.query_params.multi_items() if name in {"state", "code", "error", "iss"}]
    if len({name for name, _ in pairs}) != len(pairs) or any(len(value) > _MOST_WORD for _, value in pairs):
        raise IdentityProofError(reason="its answer cannot be read")
    return dict(pairs)


def _user_of(parts: AppContext, claims: dict[str, Any], address: str) -> User:
    """The user whose account that is. Raises IdentityProofError when nobody's is, or they may not come in any more."""
    people, account = parts.people, ExternalIdentity(issuer=claims["iss"], subject=claims["sub"])
    with suppress(UserNotFoundError):
        return people.identified(account.issuer, account.subject)
    if parts.settings.oidc_default_role == "nobody":
        raise IdentityProofError(reason="nobody here has that account; an admin can link it to a user (`relevo user link`)")
    by, role = Actor(actor="oidc", address=address), Role(parts.settings.oidc_default_role)
    try:
        user = people.one(people.elsewhere.add(account, names_of(claims), role, at=parts.now(), by=by))
    except NameTakenError as cause:
        raise IdentityProofError(reason="everything it calls that account is a name of somebody else here") from cause
    if user.disabled is not None:
        raise IdentityProofError(reason="that user is switched off")
    return user


def names_of(claims: dict[str, Any]) -> Iterator[str]:
    """What a new user may be called, the shortest first; it is only a name, and gives nobody anything."""
    host = urlsplit(claims["iss"]).hostname
    called = claims.get("preferred_username")
    for name in (called, claims.get("email"), f"{called or claims['sub']} ({host})", f"{claims['sub'][:40]} ({host})"):
        if isinstance(name, str):
            try:
                yield checked_user_name(name)
            except FieldTypeError:
                continue


def _provider(request: Request) -> Provider:
    provider: Provider | None = request.app.state.parts.provider
    if provider is None:
        raise NotFoundError
    return provider


async def _told(request: Request, error: RelevoError) -> Response:
    """The sign-in page says what went wrong; a program gets it as any other error."""
    if isinstance(error, NotFoundError) or not wants_html(request.scope):
        raise error
    return await sign_in_page(request, error=error)


def _forgotten(request: Request, response: Response) -> Response:
    response.headers.append("set-cookie", set_cookie(request.scope, tie_cookie_name(request.scope), ""))
    return response


def tie_cookie_name(scope: Scope) -> str:
    """What the cookie is called that ties a journey to the browser that began it."""
    return "__Host-relevo-oidc" if scope.get("scheme") == "https" else "relevo_oidc"


def _redirect(request: Request) -> str:
    return address_of(request.scope) + CALLBACK
