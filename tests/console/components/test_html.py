"""Pieces of page made of HTML."""

from __future__ import annotations

import pytest

pytest.importorskip("streamlit", reason="the extra 'console' is not installed")

from relevo.console.components import html


@pytest.mark.parametrize("piece", [html.muted, html.code, html.strong, lambda text: html.chips([text]), html.join])
def test_no_text_is_markup(piece: object) -> None:
    """Names of models, reasons and notes are shown as they are, whatever they would be as HTML."""
    assert callable(piece)
    made = piece("<img src=x onerror=alert(1)>\"'")
    assert "<img" not in made.text
    assert "&lt;img src=x onerror=alert(1)&gt;" in made.text


def test_pieces_stand_together() -> None:
    """What is markup already is not escaped a second time."""
    assert html.join("v3", html.chips(["a & b"])).text == 'v3 <span class="relevo-chip">a &amp; b</span>'
