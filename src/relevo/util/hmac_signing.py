"""HMAC signatures with which a console proves its requests to the server; both read the same key file.

    console: caller_header(key, "203.0.113.9") ─► Relevo-Caller: 203.0.113.9 <signature>
                                               ─► server: CallerVerifier(key).caller ─► "203.0.113.9" | None
    console: sign(key, Purpose.LEAVE, …) ─► in a URL that a browser follows ─► server: verify(key, signature, Purpose.LEAVE, …)

The key itself is never sent. Without it, neither the caller's address nor the console to redirect to can be forged.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from enum import StrEnum
from functools import lru_cache

#: The header with the address of the console's client; lower case.
CALLER_HEADER = b"relevo-caller"
_MAX_HEADER_BYTES = 200


class Purpose(StrEnum):
    """What a signature is for; it is valid for no other purpose."""

    #: The address of the caller.
    CALLER = "caller"
    #: A browser that is redirected to the OIDC provider and returns to the console.
    LEAVE = "leave"
    #: A login code that the console exchanges for a session.
    REDEEM = "redeem"


def sign(key: bytes, purpose: Purpose, *parts: str) -> str:
    """HMAC-SHA256 over the purpose and the parts, each prefixed with its length, so that no two lists give the same bytes."""
    message = b"".join(b"%d:%s" % (len(part), part) for part in (text.encode("utf-8", "replace") for text in (purpose, *parts)))
    return hmac.new(key, b"relevo console " + message, hashlib.sha256).hexdigest()


def verify(key: bytes, signature: str, purpose: Purpose, *parts: str) -> bool:
    """Whether the signature over these parts was made with this key; constant time. False for an empty key."""
    return bool(key) and hmac.compare_digest(sign(key, purpose, *parts).encode(), signature.encode("utf-8", "replace"))


def caller_header(key: bytes, address: str) -> str:
    """The header value for a caller at this address."""
    return f"{address} {sign(key, Purpose.CALLER, address)}"


class CallerVerifier:
    """Verifies the caller addresses that a console sends. Lifetime: the worker."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        # A flood of different values only evicts entries of this cache, and costs one hash each.
        self.caller = lru_cache(maxsize=4096)(self._caller)

    def _caller(self, value: bytes) -> str | None:
        """The caller's address of a signed header value; None if the signature is not valid."""
        address, _, signature = value[:_MAX_HEADER_BYTES].decode("latin-1").partition(" ")
        if not verify(self._key, signature, Purpose.CALLER, address):
            return None
        try:
            return str(ipaddress.ip_address(address))
        except ValueError:
            return None
