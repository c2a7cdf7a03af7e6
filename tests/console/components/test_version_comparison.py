"""Untrusted model cards in the version comparison."""

from __future__ import annotations

import pytest

pytest.importorskip("streamlit", reason="the extra 'console' is not installed")

from relevo.console.components.version_comparison import sanitize_card, version_label


def test_an_untrusted_card_loads_no_images() -> None:
    """No image syntax of Markdown remains, so a card cannot track its readers."""
    card = "![own](figures/roc.png) ![x](http://elsewhere/x.png) ![y][1] ![][1]\n\n[1]: http://elsewhere/y.png"
    result = sanitize_card(card)
    assert "figures/roc.png" not in result
    assert "x.png" not in result
    assert "![" not in result


def test_headings_and_formulas_of_a_card() -> None:
    """Headings are two levels lower than in the card, and a dollar sign starts no formula."""
    assert sanitize_card("# churn\n\n## Input\n\n$5 or $6") == "### churn\n\n#### Input\n\n\\$5 or \\$6"


def test_version_labels() -> None:
    """v3, or a dash without a version."""
    assert (version_label(3), version_label(None)) == ("v3", "–")
