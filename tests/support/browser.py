"""A real Chromium for browser tests, with a log of its errors and of the hosts it has contacted.

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

#: `pytestmark` of a file of browser tests.
IN_A_BROWSER = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (Debian: apt install chromium)"),
    # Playwright leaves the transports of its event loop to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]

_QUIET = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
_WAIT_MS = 10_000
_CHANGES_MS = 20_000


@dataclass(kw_only=True)
class Seen:
    """Errors of the browser, and the hosts it has contacted. Lifetime: one test."""

    complaints: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)


@contextmanager
def launched(*flags: str) -> Iterator[Browser]:
    """Runs one browser. flags: further command-line flags of Chromium."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    # A change of a console page needs a whole page run, and the machine is shared.
    playwright.expect.set_options(timeout=_CHANGES_MS)
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=[*_QUIET, *flags])
        yield browser
        browser.close()


@contextmanager
def visiting(browser: Browser, address: str, seen: Seen) -> Iterator[Callable[..., Page]]:
    """Yields a function that opens a path in a new context; asserts at the end: no errors, no other host."""
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
    """Draws the digit seven on the drawing pad."""
    box = page.locator("#pad").bounding_box()
    assert box is not None
    points = [(0.3, 0.25), (0.7, 0.25), (0.45, 0.8)]
    positions = [(box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in points]
    page.mouse.move(*positions[0])
    page.mouse.down()
    for position in positions[1:]:
        page.mouse.move(*position, steps=8)
    page.mouse.up()


def verdict(page: Page) -> str:
    """Waits for the prediction and returns its text."""
    page.wait_for_selector(".verdict")
    return page.inner_text(".verdict")


def sideways(page: Page) -> int:
    """Pixels by which the page is wider than the window."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))
