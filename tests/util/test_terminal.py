"""Untrusted text cannot control a terminal."""

from __future__ import annotations

import json

import pytest

from relevo.util.terminal import escape_control, has_control


@pytest.mark.parametrize("char", ["\x00", "\x07", "\x1b", "\x7f", "\x85", "\x9b", "\x9d", "\u202e", "\u2066", "\u2028", "\udc80"])
def test_control_characters_are_escaped(char: str) -> None:
    """Every kind of control character is detected and escaped as in JSON."""
    escaped = escape_control(f"a{char}b")
    assert has_control(f"a{char}b")
    assert not has_control(escaped)
    assert escaped.isascii()
    assert json.loads(f'"{escaped}"') == f"a{char}b"


def test_all_other_characters_are_unchanged() -> None:
    """Letters of any script, symbols and the characters in `keep` are unchanged."""
    text = "año €, 数字, שלום 🐈\nsecond line"
    assert escape_control(text, keep="\n") == text
    assert not has_control(text, keep="\n")
    assert escape_control("a\r\n\tb") == "a\\r\\n\\tb"
