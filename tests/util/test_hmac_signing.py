"""What a console can prove to its server, and what nobody else can."""

from __future__ import annotations

import pytest

from relevo.util.hmac_signing import Purpose, Vouched, is_marked, mark, vouched

KEY = bytes(range(32))


def test_a_console_says_for_whom_it_asks() -> None:
    """Under the key an address is believed, in one writing."""
    assert Vouched(KEY).caller(vouched(KEY, "203.0.113.9").encode()) == "203.0.113.9"
    assert Vouched(KEY).caller(vouched(KEY, "2001:DB8::7").encode()) == "2001:db8::7"


@pytest.mark.parametrize(
    "words",
    [
        "203.0.113.9",
        "203.0.113.9 ",
        vouched(b"another key", "203.0.113.9"),
        vouched(KEY, "203.0.113.9").replace("203", "198"),
        vouched(KEY, "203.0.113.9") + "0",
        vouched(KEY, "not an address"),
        vouched(KEY, ""),
        f"203.0.113.9 {mark(KEY, Purpose.REDEEM, '203.0.113.9')}",
        "203.0.113.9 \xff",
        "x" * 100_000,
        "",
    ],
)
def test_nobody_forges_one(words: str) -> None:
    """Another key, another address, another purpose, no address or no words at all: nobody is named."""
    assert Vouched(KEY).caller(words.encode("latin-1")) is None


def test_without_a_key_nothing_is_believed() -> None:
    """An empty key would be everybody's."""
    assert Vouched(b"").caller(vouched(b"", "203.0.113.9").encode()) is None
    assert not is_marked(b"", mark(b"", Purpose.LEAVE, "x"), Purpose.LEAVE, "x")


def test_words_do_not_run_into_each_other() -> None:
    """The same letters parted elsewhere are another list."""
    assert mark(KEY, Purpose.LEAVE, "ab", "c") != mark(KEY, Purpose.LEAVE, "a", "bc")
    assert is_marked(KEY, mark(KEY, Purpose.LEAVE, "a", "b"), Purpose.LEAVE, "a", "b")
    assert not is_marked(KEY, mark(KEY, Purpose.LEAVE, "a", "b"), Purpose.LEAVE, "b", "a")
