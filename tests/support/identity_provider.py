"""A small local OpenID Connect provider: signs real tokens, accepts a code once, and can return wrong data for a test.

    with identity_provider() as provider: Settings(oidc_issuer=provider.issuer, oidc_client_id=CLIENT, …)

GET /authorize lets in whoever `person` says, at once; POST /token holds code, secret, address and PKCE against what was asked.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from joserfc import jws
from joserfc.jwk import ECKey, OctKey, RSAKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CLIENT = "relevo at the clinic"
SECRET = "a secret / with:signs"  # noqa: S105 - of a provider that lives as long as a test


@dataclass(kw_only=True)
class IdentityProvider:
    """The provider's data and faults. Lifetime: a test."""

    issuer: str
    person: dict[str, Any] = field(default_factory=lambda: {"sub": "7", "preferred_username": "ana", "email": "ana@example.org"})
    about: dict[str, Any] = field(default_factory=dict)  # in place of what it would tell of itself
    claims: dict[str, Any] = field(default_factory=dict)  # in place of what it would sign; None leaves one out
    header: dict[str, Any] = field(default_factory=dict)
    sign: Callable[[IdentityProvider, dict[str, Any], dict[str, Any]], str] | None = None
    asked: list[dict[str, str]] = field(default_factory=list)  # every authorization
    taken: list[dict[str, str]] = field(default_factory=list)  # every token request
    jwks_reads: int = 0
    delay_s: float = 0.0
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    key: Any = field(default_factory=lambda: ECKey.generate_key("P-256", {"kid": "first", "use": "sig"}))
    more_keys: list[Any] = field(default_factory=list)

    def token(self, asked: dict[str, str]) -> str:
        """An id token for this authorization."""
        now = int(time.time())
        told = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": asked["nonce"], **self.person}
        claims = {name: value for name, value in {**told, **self.claims}.items() if value is not None}
        header = {"alg": "ES256" if isinstance(self.key, ECKey) else "RS256", **self.header}
        if self.key.kid is not None:
            header.setdefault("kid", self.key.kid)
        if self.sign is not None:
            return self.sign(self, header, claims)
        return jws.serialize_compact(header, json.dumps(claims).encode(), self.key)

    def new_key(self) -> None:
        """Sign with another key from now on."""
        self.key = RSAKey.generate_key(2048, {"kid": secrets.token_hex(4), "use": "sig"})


def unsigned(_provider: IdentityProvider, header: dict[str, Any], claims: dict[str, Any]) -> str:
    """A token that says it needs no signature."""
    return ".".join([_part({**header, "alg": "none"}), _part(claims), ""])


def signed_with_the_secret(_provider: IdentityProvider, header: dict[str, Any], claims: dict[str, Any]) -> str:
    """A token signed with what the client knows, too."""
    key = OctKey.import_key(SECRET.encode())
    return jws.serialize_compact({**header, "alg": "HS256"}, json.dumps(claims).encode(), key, algorithms=["HS256"])


def signed_with_the_public_key(provider: IdentityProvider, header: dict[str, Any], claims: dict[str, Any]) -> str:
    """A token whose secret is what everybody can read: the provider's public key."""
    key = OctKey.import_key(json.dumps(provider.key.as_dict(private=False)).encode())
    return jws.serialize_compact({**header, "alg": "HS256"}, json.dumps(claims).encode(), key, algorithms=["HS256"])


def signed_by_somebody_else(_provider: IdentityProvider, header: dict[str, Any], claims: dict[str, Any]) -> str:
    """The right name of a key, and another key."""
    return jws.serialize_compact(header, json.dumps(claims).encode(), ECKey.generate_key("P-256"))


def _part(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@contextmanager
def identity_provider() -> Iterator[IdentityProvider]:
    """One that answers for as long as the block."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    provider = server.provider = IdentityProvider(issuer=f"http://127.0.0.1:{server.server_address[1]}")  # type: ignore[attr-defined]  # for the handler
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """Everything a browser or the server reads."""
        provider: IdentityProvider = self.server.provider  # type: ignore[attr-defined]  # said above
        path, asked = urlsplit(self.path).path, dict(parse_qsl(urlsplit(self.path).query))
        time.sleep(provider.delay_s)
        if path == "/.well-known/openid-configuration":
            of = {name: f"{provider.issuer}/{path}" for name, path in _PATHS.items()}
            self._tell({"issuer": provider.issuer, **of, **provider.about})
        elif path == "/jwks":
            provider.jwks_reads += 1
            self._tell({"keys": [key.as_dict(private=False) for key in (provider.key, *provider.more_keys)]})
        elif path == "/authorize":
            provider.asked.append(asked)
            code = secrets.token_urlsafe(16)
            provider.codes[code] = asked
            self.send_response(302)
            self.send_header("Location", f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}")
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self._tell({"error": "not_found"}, 404)

    def do_POST(self) -> None:
        """A code for a token, once."""
        provider: IdentityProvider = self.server.provider  # type: ignore[attr-defined]  # said above
        form = dict(parse_qsl(self.rfile.read(int(self.headers["content-length"])).decode()))
        provider.taken.append({**form, "authorization": self.headers.get("authorization", "")})
        asked = provider.codes.pop(form.get("code", ""), None)
        if asked is None or not self._fits(asked, form):
            self._tell({"error": "invalid_grant"}, 400)
            return
        self._tell({"access_token": "opaque", "token_type": "Bearer", "id_token": provider.token(asked)})

    def _fits(self, asked: dict[str, str], form: dict[str, str]) -> bool:
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        pair = urlencode([(CLIENT, SECRET)]).replace("+", "%20").replace("=", ":")
        known = self.headers.get("authorization") == "Basic " + base64.b64encode(pair.encode()).decode()
        return known and asked["code_challenge"] == challenge and asked["redirect_uri"] == form["redirect_uri"]

    def _tell(self, what: dict[str, Any], status: int = 200) -> None:
        body = json.dumps(what).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


_PATHS = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "jwks"}
