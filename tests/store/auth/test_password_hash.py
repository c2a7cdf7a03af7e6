"""Password hashing: argon2id with the required parameters, and no timing difference for unknown users."""

from __future__ import annotations

import statistics
import time

from argon2 import PasswordHasher, Type, extract_parameters

from relevo.store.auth.password_hash import hash_password, needs_rehash, verify_password


def test_a_password_verifies_against_its_hash_only() -> None:
    """Two hashes of one password differ, and both verify."""
    first, second = hash_password("correct horse battery"), hash_password("correct horse battery")
    assert first != second
    assert verify_password(first, "correct horse battery")
    assert verify_password(second, "correct horse battery")
    assert not verify_password(first, "correct horse batterx")
    assert not verify_password(first, "")


def test_the_parameters_are_at_least_those_recommended() -> None:
    """argon2id with 19 MiB, two passes, one lane (OWASP); a salt of 16 bytes."""
    told = extract_parameters(hash_password("correct horse battery"))
    assert told.type is Type.ID
    assert told.memory_cost >= 19 * 1024
    assert told.time_cost >= 2
    assert told.parallelism >= 1
    assert told.salt_len >= 16


def test_passwords_are_normalized() -> None:
    """An accent as one code point or as two is the same password."""
    assert verify_password(hash_password("contrase\u00f1a larga"), "contrasen\u0303a larga")


def test_no_password_verifies_without_a_hash() -> None:
    """Without a stored hash no password verifies, not even that of the dummy hash."""
    assert not verify_password(None, "nobody")
    assert not verify_password("no hash at all", "nobody")


def test_a_hash_with_other_parameters_needs_rehashing() -> None:
    """A hash with other parameters needs rehashing."""
    assert not needs_rehash(hash_password("correct horse battery"))
    assert needs_rehash(PasswordHasher(time_cost=1, memory_cost=8 * 1024, parallelism=1).hash("correct horse battery"))


def test_an_unknown_user_takes_the_same_time() -> None:
    """A wrong password takes the same time for known and unknown users."""
    kept = hash_password("correct horse battery")
    verify_password(None, "wrong")

    def took(target: str | None) -> float:
        begin = time.thread_time()
        verify_password(target, "wrong password")
        return time.thread_time() - begin

    pairs = [(took(kept), took(None)) for _ in range(15)]
    somebody, nobody = (statistics.median(times) for times in zip(*pairs, strict=True))
    assert 0.7 < nobody / somebody < 1.4, (somebody, nobody)
