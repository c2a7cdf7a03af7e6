"""Handing somebody who signs in elsewhere over to a console, which is at another address and keeps its own session.

    console ─ GET /login/console?to&state&challenge&mark ─► a journey to the provider, this very path as the way back
    GET /login/oidc/callback ─ the provider vouches ─► a code, for one minute and once ─► 303 {to}/sign-in/back?code&state
    console ─ POST /login/console {code, verifier, console, mark} ─► session, as POST /login gives it

A mark shows that a console of ours asked (`util.hmac_signing`), so nobody is sent to a stranger's address. The code counts for the
console that it was sent to and with the secret behind the challenge, which stays in the browser that set out. No session of the
server's own is opened in that browser.
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
from relevo.web.auth.sessions import csrf_of
from relevo.web.routes.login import as_principal, open_session, with_session
from relevo.web.schemas.users import Me, SignedIn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relevo.store.auth.users import User
    from relevo.web.context import AppContext

router = APIRouter(tags=["people"])

PATH = "/login/console"
_CONSOLE = re.compile(r"https?://(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::\d{1,5})?")
_WORD = re.compile(r"[A-Za-z0-9_-]{22,128}")


class Elsewhere(BaseModel):
    """Where else people may sign in."""

    #: By what name people know it; None: nowhere else.
    provider: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """What a console sends a browser with; lives as long as a journey, written into its way back."""

    to: str  # the console's address
    state: str  # comes back with the code
    challenge: str
    mark: str

    @classmethod
    def of(cls, asked: Mapping[str, str], key: bytes) -> Leaving:
        """What was asked. Raises IdentityProofError unless a console with this key did."""
        leaving = cls(**{name: asked.get(name, "") for name in ("to", "state", "challenge", "mark")})
        shaped = _CONSOLE.fullmatch(leaving.to) and all(map(_WORD.fullmatch, (leaving.state, leaving.challenge)))
        if not shaped or not verify(key, leaving.mark, Purpose.LEAVE, leaving.to, leaving.state, leaving.challenge):
            raise IdentityProofError(reason="no console of this server sent you here")
        return leaving

    @property
    def path(self) -> str:
        """Where the way back leads; `login.local_path` lets nobody else name it."""
        return f"{PATH}?{urlencode(asdict(self))}"


class _Given(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    code: str
    verifier: str
    console: str
    mark: str


@router.get("/login/elsewhere", summary="Where else people may sign in")
async def elsewhere(request: Request) -> Elsewhere:
    """The identity provider's name, for whoever shows a sign-in page."""
    provider = request.app.state.parts.provider
    return Elsewhere(provider=provider.name if provider else None)


@router.post(PATH, include_in_schema=False)
async def redeem(request: Request) -> Response:
    """A console's code becomes a session. Raises NotFoundError, InvalidJsonError, IdentityProofError."""
    parts = request.app.state.parts
    if parts.provider is None:
        raise NotFoundError
    try:
        given = msgspec.json.decode(await request.body(), type=_Given)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as cause:
        raise InvalidJsonError(reason="it is no hand-over") from cause
    user = await run_in_threadpool(_handed_over, parts, given)
    token = await open_session(request, user)
    answer = SignedIn(user=Me.of(as_principal(user)), csrf=csrf_of(token))
    return with_session(request, Response(answer.model_dump_json(), media_type="application/json"), token)


def asked_before(back: str, key: bytes) -> Leaving | None:
    """What a journey was begun for, if a console sent its browser. Raises IdentityProofError when the key has changed since."""
    parts = urlsplit(back)
    return Leaving.of(dict(parse_qsl(parts.query)), key) if parts.path == PATH else None


async def handed_over(parts: AppContext, leaving: Leaving, user: User) -> Response:
    """Send the browser to its console, with a code that is worth nothing to anybody else."""
    wanted = LoginCode(user=user.id, console=leaving.to, challenge=leaving.challenge)
    code = await run_in_threadpool(parts.people.hand_overs.issue, wanted, at=parts.now())
    there = f"{leaving.to}/sign-in/back?{urlencode({'code': code, 'state': leaving.state})}"
    return Response(status_code=303, headers={"location": there, "cache-control": "no-store"})


def _handed_over(parts: AppContext, given: _Given) -> User:
    if not verify(parts.console_key, given.mark, Purpose.REDEEM, given.code, given.console):
        raise IdentityProofError(reason="no console of this server asks for it")
    found = parts.people.hand_overs.take(given.code, at=parts.now())
    if found is None or found.console != given.console or not _fits(found.challenge, given.verifier):
        raise IdentityProofError(reason="the code counts no more, or not here")
    try:
        user = parts.people.one(found.user)
    except UserNotFoundError:
        user = None
    if user is None or user.disabled is not None:
        raise IdentityProofError(reason="that user is switched off")
    return user


def _fits(challenge: str, verifier: str) -> bool:
    digest = hashlib.sha256(verifier.encode("utf-8", "replace")).digest()
    return hmac.compare_digest(base64.urlsafe_b64encode(digest).rstrip(b"="), challenge.encode())
