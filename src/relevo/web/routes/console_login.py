"""OpenID Connect login for a console, which runs at another address and has its own session.

    console ─ GET /login/console?to&state&challenge&mark ─► login attempt at the provider, with this path as its target
    GET /login/oidc/callback ─ identity proven ─► login code, one minute, single use ─► 303 {to}/sign-in/back?code&state
    console ─ POST /login/console {code, verifier, console, mark} ─► session, as from POST /login

The mark is an HMAC signature of a known console (`util.hmac_signing`), so no one is redirected to a foreign address. The code is
valid only for that console, and only with the secret behind the challenge, which stays in the browser that started the login. The
server opens no session of its own in that browser.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from relevo.errors import IdentityProofError, InvalidJsonError, NotFoundError, UserNotFoundError
from relevo.store.auth.login_codes import LoginCode
from relevo.util.hmac_signing import Purpose, verify
from relevo.web.auth.sessions import csrf_token_for
from relevo.web.context import app_context
from relevo.web.routes.login import as_principal, open_session, with_session
from relevo.web.schemas.users import Me, SignedIn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relevo.store.auth.users import User
    from relevo.web.context import AppContext

router = APIRouter(tags=["people"])

PATH = "/login/console"
_CONSOLE = re.compile(r"https?://(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::\d{1,5})?")
_URL_SAFE = re.compile(r"[A-Za-z0-9_-]{22,128}")


class LoginProviders(BaseModel):
    """Where else people may sign in."""

    #: Host name of the identity provider; None without one.
    provider: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleLoginRequest:
    """Parameters with which a console starts a login. Lifetime: the login attempt, stored in its target path."""

    to: str  # URL of the console
    state: str  # returned with the code
    challenge: str
    mark: str

    @classmethod
    def from_query(cls, query: Mapping[str, str], key: bytes) -> ConsoleLoginRequest:
        """Parses a query. Raises IdentityProofError unless a console with this key has signed it."""
        login_request = cls(**{name: query.get(name, "") for name in ("to", "state", "challenge", "mark")})
        is_well_formed = _CONSOLE.fullmatch(login_request.to) and all(
            map(_URL_SAFE.fullmatch, (login_request.state, login_request.challenge))
        )
        if not is_well_formed or not verify(
            key, login_request.mark, Purpose.LEAVE, login_request.to, login_request.state, login_request.challenge
        ):
            raise IdentityProofError(reason="no console of this server sent you here")
        return login_request

    @property
    def path(self) -> str:
        """Target path after the login; `login.local_path` rejects it from clients."""
        return f"{PATH}?{urlencode(asdict(self))}"


class _CodeRedemption(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    code: str
    verifier: str
    console: str
    mark: str


@router.get("/login/elsewhere", summary="Where else people may sign in")
async def list_providers(request: Request) -> LoginProviders:
    """The identity provider's name, for whoever shows a sign-in page."""
    provider = app_context(request).provider
    return LoginProviders(provider=provider.name if provider else None)


@router.post(PATH, include_in_schema=False)
async def redeem_code(request: Request) -> Response:
    """A console's code becomes a session. Raises NotFoundError, InvalidJsonError, IdentityProofError."""
    context = app_context(request)
    if context.provider is None:
        raise NotFoundError
    try:
        redemption = msgspec.json.decode(await request.body(), type=_CodeRedemption)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as cause:
        raise InvalidJsonError(reason="it is no hand-over") from cause
    user = await run_in_threadpool(_redeem, context, redemption)
    token = await open_session(request, user)
    answer = SignedIn(user=Me.from_domain(as_principal(user)), csrf=csrf_token_for(token))
    return with_session(request, Response(answer.model_dump_json(), media_type="application/json"), token)


def pending_console_login(back: str, key: bytes) -> ConsoleLoginRequest | None:
    """The console login that started an attempt, if any. Raises IdentityProofError if the key has changed since."""
    context = urlsplit(back)
    return ConsoleLoginRequest.from_query(dict(parse_qsl(context.query)), key) if context.path == PATH else None


async def redirect_to_console(context: AppContext, login_request: ConsoleLoginRequest, user: User) -> Response:
    """Redirects the browser to its console with a login code that is useless to others."""
    login_code = LoginCode(user=user.id, console=login_request.to, challenge=login_request.challenge)
    code = await run_in_threadpool(context.users.hand_overs.issue, login_code, at=context.now())
    location = f"{login_request.to}/sign-in/back?{urlencode({'code': code, 'state': login_request.state})}"
    return Response(status_code=303, headers={"location": location, "cache-control": "no-store"})


def _redeem(context: AppContext, redemption: _CodeRedemption) -> User:
    if not verify(context.console_key, redemption.mark, Purpose.REDEEM, redemption.code, redemption.console):
        raise IdentityProofError(reason="no console of this server asks for it")
    login_code = context.users.hand_overs.take(redemption.code, at=context.now())
    if (
        login_code is None
        or login_code.console != redemption.console
        or not _matches_challenge(login_code.challenge, redemption.verifier)
    ):
        raise IdentityProofError(reason="the code counts no more, or not here")
    try:
        user = context.users.get(login_code.user)
    except UserNotFoundError:
        user = None
    if user is None or user.disabled is not None:
        raise IdentityProofError(reason="that user is switched off")
    return user


def _matches_challenge(challenge: str, verifier: str) -> bool:
    digest = hashlib.sha256(verifier.encode("utf-8", "replace")).digest()
    return hmac.compare_digest(base64.urlsafe_b64encode(digest).rstrip(b"="), challenge.encode())
