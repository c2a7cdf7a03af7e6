"""What an identity provider says of who signed in: a token that is believed only when everything about it fits.

    id_token ─ header: alg on the list, a key of the provider's ─ signature ─ iss, aud, azp, exp, iat, nonce, at_hash ─► claims
                                                                     any of them wrong ─► IdentityProofError

Pure: the token, the provider's keys and what was asked for. OpenID Connect Core 1.0 §3.1.3.7, RFC 8725.
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

#: Signatures by a key that the provider alone holds; with one of ours, or none, anybody who knows ours could sign.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519")
#: Seconds by which two clocks may differ.
_LEEWAY_S = 60
#: A token that was made longer ago was not made for this sign-in.
_OLDEST_S = 600
_MOST_TOKEN = 32_768
_MOST_SUBJECT = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedToken:
    """What the token must be an answer to."""

    issuer: str
    client_id: str
    nonce: str


def public_keys(told: Mapping[str, Any]) -> KeySet:
    """The provider's keys that signatures may be checked with. Raises IdentityProofError when it tells none."""
    rows = told.get("keys")
    usable = [row for row in rows if _is_usable(row)] if isinstance(rows, list) else []
    try:
        return KeySet.import_key_set({"keys": usable})
    except (JoseError, ValueError, TypeError, KeyError) as cause:
        raise IdentityProofError(reason="its keys cannot be read") from cause


def _is_usable(row: object) -> bool:
    return isinstance(row, dict) and row.get("use", "sig") == "sig"


def token_key_id(token: str) -> str | None:
    """The name of the key that the token says it was signed with. Raises IdentityProofError for what is no token."""
    if len(token) > _MOST_TOKEN:
        raise IdentityProofError(reason="its token is too long")
    try:
        return jws.extract_compact(token.encode()).headers().get("kid")
    except (JoseError, ValueError, TypeError) as cause:
        raise IdentityProofError(reason="its token cannot be read") from cause


def check_id_token(token: str, keys: KeySet, asked: ExpectedToken, *, access_token: str | None, now: int) -> dict[str, Any]:
    """The claims. now: seconds since 1970. Raises IdentityProofError, which never repeats what the token says."""
    token_key_id(token)
    try:
        found = jwt.decode(token, keys, algorithms=list(ALGORITHMS))
    except (JoseError, ValueError, TypeError) as cause:
        raise IdentityProofError(reason="its token is not signed as it must be") from cause
    claims = found.claims
    _check_values(claims, now)
    params = {"client_id": asked.client_id, "nonce": asked.nonce, "access_token": access_token}
    checked = CodeIDToken(claims, found.header, {"iss": {"value": asked.issuer}, "aud": {"value": asked.client_id}}, params)
    try:
        checked.validate(now=now, leeway=_LEEWAY_S)
    except (JoseError, ValueError, TypeError) as cause:
        raise IdentityProofError(reason="its token is not for this sign-in") from cause
    return claims


def _check_values(claims: Mapping[str, Any], now: int) -> None:
    """What the library leaves open: who somebody may be, how old a token, and that a moment is a number."""
    if not _is_subject(claims.get("sub")):
        raise IdentityProofError(reason="its token is not for this sign-in")
    begins, ends = _moment(claims.get("iat")), _moment(claims.get("exp"))
    if not now - _OLDEST_S <= begins <= now + _LEEWAY_S or ends <= now - _LEEWAY_S:
        raise IdentityProofError(reason="its token is over, or not yet good")


def _is_subject(subject: object) -> bool:
    """OpenID Connect Core 1.0 §2: ASCII, so that no two writings of one name are two people, or two people one."""
    return isinstance(subject, str) and 0 < len(subject) <= _MOST_SUBJECT and subject.isascii() and subject.isprintable()


def _moment(told: object) -> float:
    """Seconds since 1970; what is no number was never."""
    return told if isinstance(told, int | float) and not isinstance(told, bool) else float("-inf")
