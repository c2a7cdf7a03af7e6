"""Validation of ID tokens: every check must pass."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("joserfc", reason="the library that reads tokens is not installed")

from joserfc import jws
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from tests.support.identity_provider import (
    CLIENT,
    SECRET,
    IdentityProvider,
    signed_by_somebody_else,
    signed_with_the_public_key,
    signed_with_the_secret,
    unsigned,
)

from relevo.errors import IdentityProofError
from relevo.web.auth.id_token import ExpectedToken, check_id_token, public_keys

if TYPE_CHECKING:
    from collections.abc import Callable

ASKED = ExpectedToken(issuer="https://id.example", client_id=CLIENT, nonce="a nonce")


@pytest.fixture
def provider() -> IdentityProvider:
    return IdentityProvider(issuer=ASKED.issuer)


def believed(provider: IdentityProvider, *more: Any, token: str = "", later_s: int = 0) -> dict[str, Any]:
    keys = public_keys({"keys": [key.as_dict(private=False) for key in (provider.key, *more)]})
    made = token or provider.token({"nonce": ASKED.nonce})
    return check_id_token(made, keys, ASKED, access_token="opaque", now=int(time.time()) + later_s)  # noqa: S106 - of nobody


def test_what_fits_is_believed(provider: IdentityProvider) -> None:
    """One audience, a list of one, or several with this server as authorized party; clocks may differ by a minute."""
    for claims in ({}, {"aud": [CLIENT]}, {"aud": [CLIENT, "another"], "azp": CLIENT}):
        provider.claims = claims
        assert believed(provider)["sub"] == "7"
    assert believed(provider, later_s=330)["sub"] == "7"
    assert believed(provider, later_s=-50)["sub"] == "7"


@pytest.mark.parametrize("make", [lambda: ECKey.generate_key("P-256"), lambda: RSAKey.generate_key(2048), OKPKey.generate_key])
def test_usual_kinds_of_keys(provider: IdentityProvider, make: Callable[[], Any]) -> None:
    """Common signature algorithms are accepted; a key without a kid is used if it is the only one."""
    provider.key = make()
    token = provider.token({"nonce": ASKED.nonce}) if not isinstance(provider.key, OKPKey) else _by_okp(provider)
    assert believed(provider, token=token)["preferred_username"] == "ana"


def _by_okp(provider: IdentityProvider) -> str:
    provider.sign = lambda it, header, claims: jws.serialize_compact(
        {**header, "alg": "Ed25519"}, json.dumps(claims).encode(), it.key, algorithms=["Ed25519"]
    )
    return provider.token({"nonce": ASKED.nonce})


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"aud": "another"},
        {"aud": ["another"]},
        {"aud": "another", "azp": CLIENT},
        {"aud": [CLIENT, "another"]},
        {"aud": [CLIENT, "another"], "azp": "another"},
        {"aud": None},
        {"azp": "another"},
        {"iss": "https://another.example"},
        {"iss": None},
        {"exp": 1},
        {"exp": None},
        {"exp": "9999999999"},
        {"iat": 1},
        {"iat": 9_999_999_999},
        {"iat": None},
        {"nbf": 9_999_999_999},
        {"sub": None},
        {"sub": ""},
        {"sub": 7},
        {"sub": "a" * 300},
        {"sub": "\u2460"},
        {"at_hash": "another"},
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(provider: IdentityProvider, claims: dict[str, Any]) -> None:
    """A foreign nonce, audience, issuer or access token, an expired or future token, or a missing subject is rejected."""
    provider.claims = claims
    with pytest.raises(IdentityProofError) as refused:
        believed(provider)
    assert "another" not in str(refused.value)


@pytest.mark.parametrize("sign", [unsigned, signed_with_the_secret, signed_with_the_public_key, signed_by_somebody_else])
def test_what_the_provider_did_not_sign_is_refused(provider: IdentityProvider, sign: Any) -> None:
    """Unsigned, HMAC-signed, key-confused and foreign tokens are rejected."""
    provider.sign = sign
    with pytest.raises(IdentityProofError):
        believed(provider)


def test_a_shared_secret_is_no_public_key(provider: IdentityProvider) -> None:
    """A symmetric key in the provider's key set is not used."""
    shared = OctKey.import_key(SECRET.encode(), {"kid": "shared"})
    provider.header, provider.sign = {"kid": "shared"}, signed_with_the_secret
    with pytest.raises(IdentityProofError):
        believed(provider, shared)


def test_keys_of_kinds_to_come_are_passed_over(provider: IdentityProvider) -> None:
    """Unknown key types and encryption keys in the key set are ignored."""
    own = provider.key.as_dict(private=False)
    keys = public_keys(
        {"keys": [{"kty": "AKP", "alg": "ML-DSA-44", "pub": "x", "kid": "later"}, own, {**own, "use": "enc", "kid": "e"}]}
    )
    token = provider.token({"nonce": ASKED.nonce})
    assert check_id_token(token, keys, ASKED, access_token=None, now=int(time.time()))["sub"] == "7"
    assert [key.kid for key in keys] == ["first"]


def test_a_token_is_good_for_ten_minutes(provider: IdentityProvider) -> None:
    """Tokens older than ten minutes are rejected, whatever their `exp`."""
    provider.claims = {"exp": int(time.time()) + 86_400}
    believed(provider, later_s=590)
    with pytest.raises(IdentityProofError, match="over"):
        believed(provider, later_s=610)


@pytest.mark.parametrize("token", ["", "a", "a.b.c", "....", "é.é.é", "a" * 40_000, "e30.e30.e30", "bnVsbA.e30.x"])
def test_what_is_no_token_is_refused(provider: IdentityProvider, token: str) -> None:
    """Malformed tokens raise IdentityProofError."""
    keys = public_keys({"keys": [provider.key.as_dict(private=False)]})
    with pytest.raises(IdentityProofError):
        check_id_token(token, keys, ASKED, access_token=None, now=int(time.time()))


@pytest.mark.parametrize(
    "told", [{}, {"keys": None}, {"keys": [7]}, {"keys": [{"kty": "RSA"}]}, {"keys": [{"kty": "EC", "crv": 1}]}]
)
def test_keys_that_are_none_check_nothing(provider: IdentityProvider, told: dict[str, Any]) -> None:
    """With a malformed or empty key set, no token is accepted."""
    with pytest.raises(IdentityProofError):
        check_id_token(provider.token({"nonce": ASKED.nonce}), public_keys(told), ASKED, access_token=None, now=int(time.time()))
