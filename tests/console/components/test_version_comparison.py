"""A card of a stranger, on our page."""

from __future__ import annotations

import pytest

pytest.importorskip("streamlit", reason="the extra 'console' is not installed")

from relevo.console.components.version_comparison import version_label, sanitize_card


def test_a_strangers_card_fetches_nothing() -> None:
    """No way of writing a picture in Markdown is left, so reading a card tells nobody that it was read."""
    card = "![own](figures/roc.png) ![x](http://elsewhere/x.png) ![y][1] ![][1]\n\n[1]: http://elsewhere/y.png"
    shown = sanitize_card(card)
    assert "figures/roc.png" not in shown
    assert "x.png" not in shown
    assert "![" not in shown


def test_a_card_stands_below_the_pages_headings() -> None:
    """A card's title is no title of the page, and what costs $5 is no formula."""
    assert sanitize_card("# churn\n\n## Input\n\n$5 or $6") == "### churn\n\n#### Input\n\n\\$5 or \\$6"


def test_a_version_has_a_short_name() -> None:
    """v3, or a dash where none answers."""
    assert (version_label(3), version_label(None)) == ("v3", "–")
