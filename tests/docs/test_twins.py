"""Every page exists in English and in Spanish, and both show the same: examples, headings, tables, links to their own language."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from tests.docs.tour import ROOT

if TYPE_CHECKING:
    from pathlib import Path

#: What a user reads; how the project itself is worked on, measured and changed is told in English.
PAGES = sorted(
    page
    for page in (*(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md"), ROOT / "README.md", ROOT / "SECURITY.md")
    if ".es." not in page.name and "samples" not in page.parts
)
_BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)#:]+\.md)(?:#[^)]*)?\)")


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def spanish(page: Path) -> Path:
    return page.with_name(page.name.removesuffix(".md") + ".es.md")


def shape(text: str) -> list[str]:
    """Headings by their depth, and how many rows tables have: what two pages that say the same have alike."""
    kinds = (re.match(r"#+(?= )|\|", line) for line in _BLOCK.sub("", text).splitlines())
    return [found[0] for found in kinds if found]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_page_has_a_twin_that_shows_the_same(page: Path) -> None:
    """No page lacks its Spanish, and no example, heading or row of a table stands in one language only."""
    twin = spanish(page)
    assert twin.is_file(), f"{named(page)} has no Spanish twin {twin.name}"
    english, other = page.read_text(encoding="utf-8"), twin.read_text(encoding="utf-8")
    assert _BLOCK.findall(other) == _BLOCK.findall(english)
    assert shape(other) == shape(english)


@pytest.mark.parametrize("page", [spanish(page) for page in PAGES], ids=named)
def test_spanish_pages_lead_to_spanish_pages(page: Path) -> None:
    """A reader is led to no English page that has a Spanish twin, but for the page itself in English."""
    for target in _LINK.findall(page.read_text(encoding="utf-8")):
        there = (page.parent / target).resolve()
        if ".es." not in there.name and spanish(there).is_file():
            assert there == page.with_name(page.name.replace(".es.", ".")), f"{named(page)} leads to the English {target}"
