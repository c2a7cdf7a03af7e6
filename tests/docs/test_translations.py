"""Every page exists in English and Spanish with the same examples, headings and tables, and links to its own language."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from tests.support.doc_runner import ROOT, blocks

if TYPE_CHECKING:
    from pathlib import Path

#: User documentation; CONTRIBUTING, CHANGELOG and the benchmarks are in English only.
PAGES = sorted(
    page
    for page in (*(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md"), ROOT / "README.md", ROOT / "SECURITY.md")
    if ".es." not in page.name and "samples" not in page.parts
)
#: Pages whose examples are run by a script instead of a test.
ELSEWHERE = {
    "docs/how-to/run-it-in-a-container.md": "benchmarks/container.py",
    "docs/console/manual.md": "docs/make_screenshots.py",
}
_MOST_BYTES = 80 * 1024
_BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)#:]+\.md)(?:#[^)]*)?\)")


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def spanish(page: Path) -> Path:
    return page.with_name(page.name.removesuffix(".md") + ".es.md")


def shape(text: str) -> list[str]:
    """Depth of the headings and number of table rows, which are equal in both languages."""
    kinds = (re.match(r"#+(?= )|\|", line) for line in _BLOCK.sub("", text).splitlines())
    return [found[0] for found in kinds if found]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_page_has_a_twin_that_shows_the_same(page: Path) -> None:
    """Every page has a Spanish page with the same examples, headings and table rows."""
    twin = spanish(page)
    assert twin.is_file(), f"{named(page)} has no Spanish twin {twin.name}"
    english, other = page.read_text(encoding="utf-8"), twin.read_text(encoding="utf-8")
    assert _BLOCK.findall(other) == _BLOCK.findall(english)
    assert shape(other) == shape(english)


@pytest.mark.parametrize("page", [spanish(page) for page in PAGES], ids=named)
def test_spanish_pages_lead_to_spanish_pages(page: Path) -> None:
    """Spanish pages link to Spanish pages, except to their own English page."""
    for target in _LINK.findall(page.read_text(encoding="utf-8")):
        there = (page.parent / target).resolve()
        if ".es." not in there.name and spanish(there).is_file():
            assert there == page.with_name(page.name.replace(".es.", ".")), f"{named(page)} leads to the English {target}"


def test_spanish_has_one_word_for_a_file() -> None:
    """Spanish texts use «archivo» only, never «fichero»."""
    said = [*map(spanish, PAGES), *(ROOT / "src" / "relevo" / "i18n" / "es").glob("*.json"), ROOT / "docs" / "words.es.json"]
    assert not [named(file) for file in said if "fichero" in file.read_text(encoding="utf-8").lower()]


@pytest.mark.parametrize("page", [page for page in PAGES if (ROOT / "docs") in page.parents or page.parent == ROOT], ids=named)
def test_every_page_with_examples_is_walked(page: Path) -> None:
    """The examples of every page are run by a test or by a script in ELSEWHERE."""
    if blocks(named(page)) and named(page) not in ELSEWHERE:
        tests = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "tests" / "docs").glob("test_*.py"))
        assert f'"{named(page)}"' in tests, f"no test walks {named(page)}"


@pytest.mark.parametrize(("page", "script"), ELSEWHERE.items())
def test_who_tries_other_pages_is_there(page: str, script: str) -> None:
    """Pages and scripts in ELSEWHERE exist."""
    assert (ROOT / page).is_file()
    assert (ROOT / script).is_file()


def test_pictures_are_small_and_in_both_languages() -> None:
    """Each picture of the manual exists in English and Spanish, and weighs little."""
    folder = ROOT / "docs" / "console" / "pictures"
    english, other = ({file.name for file in (folder / language).glob("*.png")} for language in ("en", "es"))
    assert english == other != set()
    assert not [file for file in folder.rglob("*.png") if file.stat().st_size > _MOST_BYTES]
