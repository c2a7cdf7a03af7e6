"""Where a browser may be led after signing in or choosing a language: pages of this console alone."""

from __future__ import annotations

import pytest

from relevo.console.auth.redirects import safe_redirect


@pytest.mark.parametrize(
    ("asked", "there"),
    [
        ("history", "/history"),
        ("/history?model=digits&label=3", "/history?model=digits&label=3"),
        ("/history/", "/history"),
        ("/classify", "/"),
        ("classify?model=churn", "/?model=churn"),
        ("/", "/"),
        ("/?", "/"),
        ("", "/"),
        (None, "/"),
    ],
)
def test_a_page_and_what_it_was_asked(asked: str | None, there: str) -> None:
    """With or without slashes, and the first page at its only address."""
    assert safe_redirect(asked) == there


@pytest.mark.parametrize(
    "asked",
    [
        "//evil.example",
        "https://evil.example",
        "/\\evil",
        "\\\\x",
        "/a/b",
        "/history\r\nx: y",
        "/history? x",
        "javascript:x",
        "/" * 3,
        "/é",
    ],
)
def test_nowhere_else(asked: str) -> None:
    """Another host, another scheme, a second header: the first page."""
    assert safe_redirect(asked) == "/"
