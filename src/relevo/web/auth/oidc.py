"""Client of one OpenID Connect provider: discovery, the authorization request, the code exchange, the signature keys.

    issuer/.well-known/openid-configuration ─ issuer equals the setting, https URLs ─► Provider.metadata
    metadata ─► authorization URL with state, nonce, PKCE challenge       jwks_uri ─► keys, fetched again for an unknown kid
    code, verifier ─ token endpoint ─► id_token ─ id_token.check_id_token ─► claims

The browser supplies only the code; claims come over a direct TLS connection to the provider. Redirects are not followed, and
responses are limited in size and time.
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
_CACHE_TTL_S = 3600.0
#: A token with an unknown kid causes the keys to be fetched again, at most once in this time.
_KEYS_REFETCH_S = 10.0
_TIMEOUT_S = 5.0
_MAX_RESPONSE_BYTES = 2**20


class ProviderMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """Provider metadata (OpenID Connect Discovery 1.0 §3)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


class _TokenResponse(msgspec.Struct, frozen=True, kw_only=True):
    id_token: str
    access_token: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginSecrets:
    """Nonce and PKCE verifier of a login attempt, both derived from a secret in the browser's cookie, so neither is stored."""

    browser_secret: str  # in the browser's cookie

    @property
    def nonce(self) -> str:
        """Value that the ID token must repeat."""
        return self._derive(b"relevo oidc nonce")

    @property
    def verifier(self) -> str:
        """PKCE code verifier: proves that the client that redeems the code started the login (RFC 7636)."""
        return self._derive(b"relevo oidc verifier")

    def _derive(self, purpose: bytes) -> str:
        return (
            base64.urlsafe_b64encode(hmac.new(self.browser_secret.encode(), purpose, hashlib.sha256).digest()).rstrip(b"=").decode()
        )


class Provider:
    """One identity provider. Lifetime: the worker."""

    def __init__(self, settings: Settings) -> None:
        self.issuer = settings.oidc_issuer
        self._client_id = settings.oidc_client_id
        self._secret = settings.oidc_client_secret
        self._cached_metadata: tuple[float, ProviderMetadata] | None = None
        self._cached_keys: tuple[float, KeySet] | None = None

    @property
    def name(self) -> str:
        """Host name, shown to users."""
        return urlsplit(self.issuer).hostname or self.issuer

    async def address(self, *, state: str, secrets: LoginSecrets, redirect: str) -> str:
        """Authorization URL to redirect the browser to. Raises IdentityProviderUnavailableError."""
        metadata = await self.metadata()
        parameters = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": redirect,
            "scope": _SCOPE,
            "state": state,
            "nonce": secrets.nonce,
            "code_challenge": create_s256_code_challenge(secrets.verifier),
            "code_challenge_method": "S256",
        }
        separator = "&" if urlsplit(metadata.authorization_endpoint).query else "?"
        return metadata.authorization_endpoint + separator + urlencode(parameters)

    async def claims(self, code: str, *, secrets: LoginSecrets, redirect: str) -> dict[str, Any]:
        """Exchanges the code for the claims of the user. Raises IdentityProviderUnavailableError, IdentityProofError."""
        tokens = await self._exchange(code, secrets.verifier, redirect)
        expected = ExpectedToken(issuer=self.issuer, client_id=self._client_id, nonce=secrets.nonce)
        keys = await self._keys_for(tokens.id_token)
        return check_id_token(tokens.id_token, keys, expected, access_token=tokens.access_token, now=int(time.time()))

    async def metadata(self) -> ProviderMetadata:
        """Provider metadata, cached for an hour. Raises IdentityProviderUnavailableError."""
        if self._cached_metadata is not None and time.monotonic() - self._cached_metadata[0] < _CACHE_TTL_S:
            return self._cached_metadata[1]
        body = await self._get(self.issuer.rstrip("/") + "/.well-known/openid-configuration")
        try:
            metadata = msgspec.json.decode(body, type=ProviderMetadata)
        except msgspec.MsgspecError as cause:
            raise IdentityProviderUnavailableError(reason="it does not describe itself as OpenID Connect wants") from cause
        if metadata.issuer != self.issuer:
            raise IdentityProviderUnavailableError(reason="it calls itself otherwise than the setting oidc_issuer does")
        for address in (metadata.authorization_endpoint, metadata.token_endpoint, metadata.jwks_uri):
            if not is_https_or_local(address):
                raise IdentityProviderUnavailableError(reason="it names an address that is not https")
        self._cached_metadata = (time.monotonic(), metadata)
        return metadata

    async def _keys_for(self, token: str) -> KeySet:
        key_id = token_key_id(token)
        age = time.monotonic() - self._cached_keys[0] if self._cached_keys else float("inf")
        is_known = self._cached_keys is not None and (key_id is None or any(key.kid == key_id for key in self._cached_keys[1]))
        if self._cached_keys is None or age > _CACHE_TTL_S or (not is_known and age > _KEYS_REFETCH_S):
            body = await self._get((await self.metadata()).jwks_uri)
            try:
                jwks = msgspec.json.decode(body, type=dict[str, Any])
            except msgspec.MsgspecError as cause:
                raise IdentityProviderUnavailableError(reason="its keys cannot be read") from cause
            self._cached_keys = (time.monotonic(), public_keys(jwks))
        return self._cached_keys[1]

    async def _exchange(self, code: str, verifier: str, redirect: str) -> _TokenResponse:
        metadata = await self.metadata()
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect, "code_verifier": verifier}
        headers = {"accept": "application/json"}
        if self._secret and "client_secret_basic" in metadata.token_endpoint_auth_methods_supported:
            # RFC 6749 §2.3.1: both parts are form-encoded before joining.
            pair = f"{quote(self._client_id, safe='')}:{quote(self._secret, safe='')}"
            headers["authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        else:
            form["client_id"] = self._client_id
            if self._secret:
                form["client_secret"] = self._secret
        status, body = await self._request("POST", metadata.token_endpoint, data=form, headers=headers)
        if 400 <= status < 500:
            raise IdentityProofError(reason="it does not take the code")
        if status != 200:
            raise IdentityProviderUnavailableError(reason=f"it answered {status}")
        try:
            return msgspec.json.decode(body, type=_TokenResponse)
        except msgspec.MsgspecError as cause:
            raise IdentityProofError(reason="its answer holds no token") from cause

    async def _get(self, address: str) -> bytes:
        status, body = await self._request("GET", address)
        if status != 200:
            raise IdentityProviderUnavailableError(reason=f"it answered {status}")
        return body

    async def _request(self, method: str, address: str, **options: Any) -> tuple[int, bytes]:
        body = bytearray()
        try:
            async with (
                asyncio.timeout(2 * _TIMEOUT_S),
                httpx.AsyncClient(timeout=_TIMEOUT_S, follow_redirects=False) as http,
                http.stream(method, address, **options) as answer,
            ):
                async for piece in answer.aiter_bytes():
                    body += piece
                    if len(body) > _MAX_RESPONSE_BYTES:
                        raise IdentityProviderUnavailableError(reason="its answer is too long")
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as cause:
            raise IdentityProviderUnavailableError(reason="it does not answer") from cause
        return answer.status_code, bytes(body)


def is_https_or_local(address: str) -> bool:
    """Whether the URL is https or loopback."""
    parts = urlsplit(address)
    if parts.scheme == "https":
        return bool(parts.hostname)
    try:
        is_loopback = parts.hostname == "localhost" or ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False
    return parts.scheme == "http" and is_loopback
