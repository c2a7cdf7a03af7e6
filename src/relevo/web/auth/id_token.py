"""Validates the ID token of an OpenID Connect provider.

    id_token ─ header: allowed alg, known key ─ signature ─ iss, aud, azp, exp, iat, nonce, at_hash ─► claims
                                                              any check fails ─► IdentityProofError

Pure: a function of the token, the provider's keys and the expected values. OpenID Connect Core 1.0 §3.1.3.7, RFC 8725.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from authlib.oidc.core import CodeIDToken  # type: ignore[import-untyped]  # it ships no types
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from relevo.errors import IdentityProofError

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Asymmetric signatures only. HMAC would let anyone with the client secret sign, and `none` anyone at all.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519")
#: Allowed clock difference, in s.
_LEEWAY_S = 60
#: Maximum age of a token, in s; an older one was not issued for this login.
_MAX_AGE_S = 600
_MAX_TOKEN_LENGTH = 32_768
_MAX_SUBJECT_LENGTH = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedToken:
    """Values that the token must match. Lifetime: the request."""

    issuer: str
    client_id: str
    nonce: str


def public_keys(jwks: Mapping[str, Any]) -> KeySet:
    """The provider's signature keys. Raises IdentityProofError if there are none."""
    rows = jwks.get("keys")
    usable = [row for row in rows if _is_usable(row)] if isinstance(rows, list) else []
    try:
        return KeySet.import_key_set({"keys": usable})
    except (JoseError, ValueError, TypeError, KeyError) as cause:
        raise IdentityProofError(reason="its keys cannot be read") from cause


def _is_usable(row: object) -> bool:
    return isinstance(row, dict) and row.get("use", "sig") == "sig"


def token_key_id(token: str) -> str | None:
    """The `kid` in the token's header. Raises IdentityProofError for a malformed token."""
    if len(token) > _MAX_TOKEN_LENGTH:
        raise IdentityProofError(reason="its token is too long")
    try:
        return jws.extract_compact(token.encode()).headers().get("kid")
    except (JoseError, ValueError, TypeError) as cause:
        raise IdentityProofError(reason="its token cannot be read") from cause


def check_id_token(token: str, keys: KeySet, expected: ExpectedToken, *, access_token: str | None, now: int) -> dict[str, Any]:
    """The token's claims. now: seconds since 1970. Raises IdentityProofError, whose message never contains token content."""
    token_key_id(token)
    try:
        decoded = jwt.decode(token, keys, algorithms=list(ALGORITHMS))
    except (JoseError, ValueError, TypeError) as cause:
        raise IdentityProofError(reason="its token is not signed as it must be") from cause
    claims = decoded.claims
    _check_values(claims, now)
    params = {"client_id": expected.client_id, "nonce": expected.nonce, "access_token": access_token}
    options = {"iss": {"value": expected.issuer}, "aud": {"value": expected.client_id}}
    id_token = CodeIDToken(claims, decoded.header, options, params)
    try:
        id_token.validate(now=now, leeway=_LEEWAY_S)
    except (JoseError, ValueError, TypeError) as cause:
        raise IdentityProofError(reason="its token is not for this sign-in") from cause
    return claims


def _check_values(claims: Mapping[str, Any], now: int) -> None:
    """Checks what the library does not: the form of `sub`, the maximum age, and that timestamps are numbers."""
    if not _is_subject(claims.get("sub")):
        raise IdentityProofError(reason="its token is not for this sign-in")
    issued, expires = _timestamp(claims.get("iat")), _timestamp(claims.get("exp"))
    if not now - _MAX_AGE_S <= issued <= now + _LEEWAY_S or expires <= now - _LEEWAY_S:
        raise IdentityProofError(reason="its token is over, or not yet good")


def _is_subject(subject: object) -> bool:
    """OpenID Connect Core 1.0 §2: ASCII. Prevents two Unicode spellings of one name from being two users."""
    return isinstance(subject, str) and 0 < len(subject) <= _MAX_SUBJECT_LENGTH and subject.isascii() and subject.isprintable()


def _timestamp(value: object) -> float:
    """Seconds since 1970; -inf if the value is not a number."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else float("-inf")
