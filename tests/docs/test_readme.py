"""The examples of the README run, in order, in an empty folder, against a real server."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from tests.support.doc_runner import ROOT, Tour, blocks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LINK = re.compile(r"\]\(([^)#]+)[^)]*\)")


@pytest.fixture
def tour(tmp_path: Path) -> Iterator[Tour]:
    one = Tour(tmp_path)
    yield one
    one.stop()


def test_the_readme_runs(tour: Tour) -> None:
    """Every shell and Python example of the README succeeds."""
    pytest.importorskip("skl2onnx")
    tour.walk("README.md")


def test_both_readmes_show_the_same() -> None:
    """Both READMEs have identical examples."""
    assert blocks("README.es.md") == blocks("README.md")


@pytest.mark.parametrize(
    "page",
    sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")]),
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link of a page points to an existing file."""
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
