"""Redirect targets after login or a change of language: pages of this console only."""

from __future__ import annotations

import pytest

from relevo.console.auth.redirects import safe_redirect


@pytest.mark.parametrize(
    ("target", "expected"),
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
def test_pages_keep_their_query_string(target: str | None, expected: str) -> None:
    """With or without slashes; the first page has the address "/"."""
    assert safe_redirect(target) == expected


@pytest.mark.parametrize(
    "target",
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
def test_other_targets_are_replaced(target: str) -> None:
    """Another host, another scheme or a header injection leads to the first page."""
    assert safe_redirect(target) == "/"
