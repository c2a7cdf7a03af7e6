"""HMAC signatures between console and server cannot be forged."""

from __future__ import annotations

import pytest

from relevo.util.hmac_signing import CallerVerifier, Purpose, caller_header, sign, verify

KEY = bytes(range(32))


def test_a_console_says_for_whom_it_asks() -> None:
    """With the key, an address is accepted, in its canonical form."""
    assert CallerVerifier(KEY).caller(caller_header(KEY, "203.0.113.9").encode()) == "203.0.113.9"
    assert CallerVerifier(KEY).caller(caller_header(KEY, "2001:DB8::7").encode()) == "2001:db8::7"


@pytest.mark.parametrize(
    "words",
    [
        "203.0.113.9",
        "203.0.113.9 ",
        caller_header(b"another key", "203.0.113.9"),
        caller_header(KEY, "203.0.113.9").replace("203", "198"),
        caller_header(KEY, "203.0.113.9") + "0",
        caller_header(KEY, "not an address"),
        caller_header(KEY, ""),
        f"203.0.113.9 {sign(KEY, Purpose.REDEEM, '203.0.113.9')}",
        "203.0.113.9 \xff",
        "x" * 100_000,
        "",
    ],
)
def test_a_signature_cannot_be_forged(words: str) -> None:
    """With another key, address or purpose, or an invalid value, no address is accepted."""
    assert CallerVerifier(KEY).caller(words.encode("latin-1")) is None


def test_without_a_key_nothing_is_believed() -> None:
    """An empty key is never valid."""
    assert CallerVerifier(b"").caller(caller_header(b"", "203.0.113.9").encode()) is None
    assert not verify(b"", sign(b"", Purpose.LEAVE, "x"), Purpose.LEAVE, "x")


def test_words_do_not_run_into_each_other() -> None:
    """The same letters split differently are another list."""
    assert sign(KEY, Purpose.LEAVE, "ab", "c") != sign(KEY, Purpose.LEAVE, "a", "bc")
    assert verify(KEY, sign(KEY, Purpose.LEAVE, "a", "b"), Purpose.LEAVE, "a", "b")
    assert not verify(KEY, sign(KEY, Purpose.LEAVE, "a", "b"), Purpose.LEAVE, "b", "a")
