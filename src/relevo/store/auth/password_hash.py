"""Password hashing with argon2id.

    hash_password(password) ─► "$argon2id$v=19$m=19456,t=2,p=1$…" ─ verify_password(hash, password) ─► yes | no
    unknown user ─► the same work against a dummy hash, so that the response time reveals nothing

Parameters: OWASP Password Storage Cheat Sheet, the minimum it recommends for argon2id. One verification
uses 19 MiB for about 30 ms and releases the GIL meanwhile; callers limit how many run at once.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argon2 import PasswordHasher

MEMORY_KIB = 19 * 1024
TIME_COST = 2
PARALLELISM = 1


def hash_password(password: str) -> str:
    """Returns the hash to store."""
    return _hasher().hash(_normalized(password))


def verify_password(stored_hash: str | None, password: str) -> bool:
    """Whether this is the password. stored_hash: None for an unknown user or one without a password: false, after equal work."""
    from argon2.exceptions import InvalidHashError, VerifyMismatchError

    try:
        matches = _hasher().verify(stored_hash or _dummy_hash(), _normalized(password))
    except (VerifyMismatchError, InvalidHashError):
        return False
    return matches and stored_hash is not None


def needs_rehash(stored_hash: str) -> bool:
    """Whether the hash was made with other parameters, so that the next login should replace it."""
    return _hasher().check_needs_rehash(stored_hash)


def _normalized(password: str) -> bytes:
    # Keyboards send é as one code point or as two; both are the same password (NIST SP 800-63B §3.1.1.2).
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")


@cache
def _hasher() -> PasswordHasher:
    from argon2 import PasswordHasher

    return PasswordHasher(time_cost=TIME_COST, memory_cost=MEMORY_KIB, parallelism=PARALLELISM)


@cache
def _dummy_hash() -> str:
    return _hasher().hash(b"nobody")
