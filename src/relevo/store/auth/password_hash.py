"""Passwords at rest: argon2id, slow on purpose, so only whoever signs in or sets one meets it.

    hashed(password) ─► "$argon2id$v=19$m=19456,t=2,p=1$…" ─ fits(hash, password) ─► yes | no
    no such user ─► the same work against a hash of nobody's, so that the time it takes tells nothing

Parameters: OWASP Password Storage Cheat Sheet, the least it recommends for argon2id. One check
holds 19 MiB for some 30 ms and lets go of the interpreter meanwhile; who calls this bounds how many run at once.
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
    """What may be kept of a password."""
    return _hasher().hash(_same_bytes(password))


def verify_password(kept: str | None, password: str) -> bool:
    """Whether this is the password. kept: None for a user who is not there or has none; that takes as long and is never true."""
    from argon2.exceptions import InvalidHashError, VerifyMismatchError

    try:
        found = _hasher().verify(kept or _nobodys(), _same_bytes(password))
    except (VerifyMismatchError, InvalidHashError):
        return False
    return found and kept is not None


def needs_rehash(kept: str) -> bool:
    """Whether it was made with other parameters than today's, so that the next sign-in should make it anew."""
    return _hasher().check_needs_rehash(kept)


def _same_bytes(password: str) -> bytes:
    # One keyboard sends é as one sign, another as two; both mean the same password (NIST SP 800-63B §3.1.1.2).
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")


@cache
def _hasher() -> PasswordHasher:
    from argon2 import PasswordHasher

    return PasswordHasher(time_cost=TIME_COST, memory_cost=MEMORY_KIB, parallelism=PARALLELISM)


@cache
def _nobodys() -> str:
    return _hasher().hash(b"nobody")
