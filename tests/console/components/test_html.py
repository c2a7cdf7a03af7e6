"""HTML building blocks of the console."""

from __future__ import annotations

import pytest

pytest.importorskip("streamlit", reason="the extra 'console' is not installed")

from relevo.console.components import html


@pytest.mark.parametrize("block", [html.muted, html.code, html.strong, lambda text: html.chips([text]), html.join])
def test_all_text_is_escaped(block: object) -> None:
    """Names, reasons and notes that contain HTML are shown as text."""
    assert callable(block)
    markup = block("<img src=x onerror=alert(1)>\"'")
    assert "<img" not in markup.text
    assert "&lt;img src=x onerror=alert(1)&gt;" in markup.text


def test_markup_is_escaped_once() -> None:
    """Joined markup is not escaped a second time."""
    assert html.join("v3", html.chips(["a & b"])).text == 'v3 <span class="relevo-chip">a &amp; b</span>'
