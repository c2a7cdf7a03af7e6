"""What a console shows its server to be believed: words marked under a key that both can read, and nobody else.

    console: vouched(key, "203.0.113.9") ─► Relevo-Caller: 203.0.113.9 <mark> ─► server: Vouched(key).caller ─► "203.0.113.9" | None
    console: mark(key, Purpose.LEAVE, …) ─► in an address that a browser carries ─► server: is_marked(key, mark, Purpose.LEAVE, …)

The key itself never travels. Who has it not can forge nothing: an address that it asks for, or a console that people are sent to.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from enum import StrEnum
from functools import lru_cache

#: The header in which a console says for whose machine it asks; in lower case.
CALLER_HEADER = b"relevo-caller"
_MOST_HEADER = 200


class Purpose(StrEnum):
    """What a mark is for; one of another purpose counts nothing."""

    #: An address to be taken for the caller's.
    CALLER = "caller"
    #: A browser that is sent to sign in elsewhere, and comes back to the console.
    LEAVE = "leave"
    #: A code that the console changes into a session.
    REDEEM = "redeem"


def sign(key: bytes, purpose: Purpose, *words: str) -> str:
    """HMAC-SHA256 over the purpose and the words, each with its length before it, so that no two lists are the same bytes."""
    told = b"".join(b"%d:%s" % (len(word), word) for word in (one.encode("utf-8", "replace") for one in (purpose, *words)))
    return hmac.new(key, b"relevo console " + told, hashlib.sha256).hexdigest()


def verify(key: bytes, given: str, purpose: Purpose, *words: str) -> bool:
    """Whether somebody with the key marked these words, in constant time; without a key nobody did."""
    return bool(key) and hmac.compare_digest(sign(key, purpose, *words).encode(), given.encode("utf-8", "replace"))


def caller_header(key: bytes, address: str) -> str:
    """The header's value for a caller at this address."""
    return f"{address} {sign(key, Purpose.CALLER, address)}"


class CallerVerifier:
    """Knows what a console vouches for; lives as long as the worker."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        # A flood of different words takes the place of its own, and costs a hash each.
        self.caller = lru_cache(maxsize=4096)(self._caller)

    def _caller(self, value: bytes) -> str | None:
        """The caller's address that a console says, as its header came; None for words of anybody else."""
        address, _, given = value[:_MOST_HEADER].decode("latin-1").partition(" ")
        if not verify(self._key, given, Purpose.CALLER, address):
            return None
        try:
            return str(ipaddress.ip_address(address))
        except ValueError:
            return None
