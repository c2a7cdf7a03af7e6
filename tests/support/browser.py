"""A real Chromium for tests of pages, and what it did besides showing them.

with launched() as browser, visiting(browser, address, seen) as visit: page = visit("/", locale="es-ES")
"""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

#: For `pytestmark` of a file of browser tests.
IN_A_BROWSER = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (Debian: apt install chromium)"),
    # Playwright leaves its event loop's transports to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]

_QUIET = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
_WAIT_MS = 10_000
_CHANGES_MS = 20_000


@dataclass(kw_only=True)
class Seen:
    """What a browser did besides showing the page; lives as long as a test."""

    complaints: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)


@contextmanager
def launched(*flags: str) -> Iterator[Browser]:
    """One browser. flags: of Chromium, beside those that keep it quiet."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    # A page of the console takes a run of it to change, and the machine is shared.
    playwright.expect.set_options(timeout=_CHANGES_MS)
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=[*_QUIET, *flags])
        yield browser
        browser.close()


@contextmanager
def visiting(browser: Browser, address: str, seen: Seen) -> Iterator[Callable[..., Page]]:
    """Opens a path in a fresh context; afterwards there must be no complaint and no outside host."""
    contexts = []

    def visit(path: str = "/", **options: Any) -> Page:
        context = browser.new_context(**{"locale": "en-GB", **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(_WAIT_MS)
        page.on("console", lambda message: seen.complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: seen.complaints.append(str(error)))
        page.on("request", lambda request: seen.hosts.add(request.url.split("/")[2]) if request.url.startswith("http") else None)
        page.goto(address + path)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert seen.complaints == []
    assert seen.hosts == {address.removeprefix("http://")}


def draw_a_seven(page: Page) -> None:
    """Three strokes of a pen on the drawing pad."""
    box = page.locator("#pad").bounding_box()
    assert box is not None
    points = [(0.3, 0.25), (0.7, 0.25), (0.45, 0.8)]
    spots = [(box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in points]
    page.mouse.move(*spots[0])
    page.mouse.down()
    for spot in spots[1:]:
        page.mouse.move(*spot, steps=8)
    page.mouse.up()


def verdict(page: Page) -> str:
    """The answer, once it is shown."""
    page.wait_for_selector(".verdict")
    return page.inner_text(".verdict")


def sideways(page: Page) -> int:
    """How many pixels the page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))
