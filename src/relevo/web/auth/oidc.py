"""The identity provider: where it sends people, what it makes of a code, and with which keys it signs.

    issuer/.well-known/openid-configuration ─ issuer exactly as set, https addresses ─► Provider.about
    about ─► authorization address with state, nonce, PKCE challenge       jwks_uri ─► keys, again when a name is unknown
    code, verifier ─ token endpoint ─► id_token ─ id_tokens.check_id_token ─► who that is

Nothing that a browser carries is believed but the code, and what that is worth the provider says over a connection of our own.
No redirect is followed, and no answer may be long or slow.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import ipaddress
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

import httpx
import msgspec
from authlib.oauth2.rfc7636 import create_s256_code_challenge  # type: ignore[import-untyped]  # it ships no types

from relevo.errors import IdentityProofError, IdentityProviderUnavailableError
from relevo.web.auth.id_token import ExpectedToken, check_id_token, public_keys, token_key_id

if TYPE_CHECKING:
    from joserfc.jwk import KeySet

    from relevo.config import Settings

_SCOPE = "openid profile email"
_KNOWN_FOR_S = 3600.0
#: A token signed with a key of a new name lets the keys be asked for again, but not each such token.
_KEYS_AGAIN_S = 10.0
_TIMEOUT_S = 5.0
_MOST_BYTES = 2**20


class ProviderMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider tells of itself (OpenID Connect Discovery 1.0 §3)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


class _Tokens(msgspec.Struct, frozen=True, kw_only=True):
    id_token: str
    access_token: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginSecrets:
    """What ties a sign-in to one browser; both are made from the tie in its cookie, so nothing of them is stored."""

    tie: str

    @property
    def nonce(self) -> str:
        """What the token must repeat."""
        return self._made(b"relevo oidc nonce")

    @property
    def verifier(self) -> str:
        """What shows that whoever brings the code is who asked for it (RFC 7636)."""
        return self._made(b"relevo oidc verifier")

    def _made(self, purpose: bytes) -> str:
        return base64.urlsafe_b64encode(hmac.new(self.tie.encode(), purpose, hashlib.sha256).digest()).rstrip(b"=").decode()


class Provider:
    """One identity provider; lives as long as the worker."""

    def __init__(self, settings: Settings) -> None:
        self.issuer = settings.oidc_issuer
        self._client_id = settings.oidc_client_id
        self._secret = settings.oidc_client_secret
        self._about: tuple[float, ProviderMetadata] | None = None
        self._keys: tuple[float, KeySet] | None = None

    @property
    def name(self) -> str:
        """What people know it by."""
        return urlsplit(self.issuer).hostname or self.issuer

    async def address(self, *, state: str, secrets: LoginSecrets, redirect: str) -> str:
        """Where to send a browser. Raises IdentityProviderUnavailableError."""
        about = await self.about()
        asked = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": redirect,
            "scope": _SCOPE,
            "state": state,
            "nonce": secrets.nonce,
            "code_challenge": create_s256_code_challenge(secrets.verifier),
            "code_challenge_method": "S256",
        }
        joint = "&" if urlsplit(about.authorization_endpoint).query else "?"
        return about.authorization_endpoint + joint + urlencode(asked)

    async def claims(self, code: str, *, secrets: LoginSecrets, redirect: str) -> dict[str, Any]:
        """What the provider says of whoever brought this code. Raises IdentityProviderUnavailableError, IdentityProofError."""
        tokens = await self._exchange(code, secrets.verifier, redirect)
        asked = ExpectedToken(issuer=self.issuer, client_id=self._client_id, nonce=secrets.nonce)
        keys = await self._keys_for(tokens.id_token)
        return check_id_token(tokens.id_token, keys, asked, access_token=tokens.access_token, now=int(time.time()))

    async def about(self) -> ProviderMetadata:
        """What it tells of itself, as read in the last hour. Raises IdentityProviderUnavailableError."""
        if self._about is not None and time.monotonic() - self._about[0] < _KNOWN_FOR_S:
            return self._about[1]
        body = await self._get(self.issuer.rstrip("/") + "/.well-known/openid-configuration")
        try:
            about = msgspec.json.decode(body, type=ProviderMetadata)
        except msgspec.MsgspecError as cause:
            raise IdentityProviderUnavailableError(reason="it does not describe itself as OpenID Connect wants") from cause
        if about.issuer != self.issuer:
            raise IdentityProviderUnavailableError(reason="it calls itself otherwise than the setting oidc_issuer does")
        for address in (about.authorization_endpoint, about.token_endpoint, about.jwks_uri):
            if not is_https_or_local(address):
                raise IdentityProviderUnavailableError(reason="it names an address that is not https")
        self._about = (time.monotonic(), about)
        return about

    async def _keys_for(self, token: str) -> KeySet:
        name = token_key_id(token)
        age = time.monotonic() - self._keys[0] if self._keys else float("inf")
        known = self._keys is not None and (name is None or any(key.kid == name for key in self._keys[1]))
        if self._keys is None or age > _KNOWN_FOR_S or (not known and age > _KEYS_AGAIN_S):
            body = await self._get((await self.about()).jwks_uri)
            try:
                told = msgspec.json.decode(body, type=dict[str, Any])
            except msgspec.MsgspecError as cause:
                raise IdentityProviderUnavailableError(reason="its keys cannot be read") from cause
            self._keys = (time.monotonic(), public_keys(told))
        return self._keys[1]

    async def _exchange(self, code: str, verifier: str, redirect: str) -> _Tokens:
        about = await self.about()
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect, "code_verifier": verifier}
        headers = {"accept": "application/json"}
        if self._secret and "client_secret_basic" in about.token_endpoint_auth_methods_supported:
            # RFC 6749 §2.3.1: both are encoded as in a form before they are joined.
            pair = f"{quote(self._client_id, safe='')}:{quote(self._secret, safe='')}"
            headers["authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        else:
            form["client_id"] = self._client_id
            if self._secret:
                form["client_secret"] = self._secret
        status, body = await self._ask("POST", about.token_endpoint, data=form, headers=headers)
        if 400 <= status < 500:
            raise IdentityProofError(reason="it does not take the code")
        if status != 200:
            raise IdentityProviderUnavailableError(reason=f"it answered {status}")
        try:
            return msgspec.json.decode(body, type=_Tokens)
        except msgspec.MsgspecError as cause:
            raise IdentityProofError(reason="its answer holds no token") from cause

    async def _get(self, address: str) -> bytes:
        status, body = await self._ask("GET", address)
        if status != 200:
            raise IdentityProviderUnavailableError(reason=f"it answered {status}")
        return body

    async def _ask(self, method: str, address: str, **sent: Any) -> tuple[int, bytes]:
        held = bytearray()
        try:
            async with (
                asyncio.timeout(2 * _TIMEOUT_S),
                httpx.AsyncClient(timeout=_TIMEOUT_S, follow_redirects=False) as http,
                http.stream(method, address, **sent) as answer,
            ):
                async for piece in answer.aiter_bytes():
                    held += piece
                    if len(held) > _MOST_BYTES:
                        raise IdentityProviderUnavailableError(reason="its answer is too long")
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as cause:
            raise IdentityProviderUnavailableError(reason="it does not answer") from cause
        return answer.status_code, bytes(held)


def is_https_or_local(address: str) -> bool:
    """Whether nobody on the way can read or change what is said there: https, or this machine."""
    parts = urlsplit(address)
    if parts.scheme == "https":
        return bool(parts.hostname)
    try:
        is_here = parts.hostname == "localhost" or ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False
    return parts.scheme == "http" and is_here
