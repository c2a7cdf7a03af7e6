"""The common layout of the console in a real browser."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tests.server.test_exposure import OUTWARD
from tests.support.browser import IN_A_BROWSER
from tests.support.console import Console, open_page, serve_with_console

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser

pytestmark = IN_A_BROWSER


def test_a_server_without_users_needs_no_login(chromium: Browser, console: Console) -> None:
    """The page opens without login and says so; the content security policy blocks nothing."""
    with open_page(chromium, console) as page:
        errors: list[str] = []
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.reload()
        page.wait_for_selector("h1:has-text('Classify')")
        page.wait_for_selector("text=this server has no users yet")
        assert errors == []


def test_the_language_of_the_browser_is_the_default(chromium: Browser, console: Console) -> None:
    """A Spanish browser gets Spanish; a click on English is kept in a cookie."""
    with open_page(chromium, console, locale="es-ES") as page:
        page.wait_for_selector("h1:has-text('Clasificar')")
        page.click("a[lang=en]")
        page.wait_for_selector("h1:has-text('Classify')")
        page.goto(console.url)
        page.wait_for_selector("h1:has-text('Classify')")


def test_every_page_shows_the_insecure_warning(chromium: Browser, tmp_path: Path) -> None:
    """A reachable server without users and encryption shows the warning on every page, also on a phone."""
    with serve_with_console(tmp_path, "--host", OUTWARD, "--insecure") as public_console:
        console = replace(public_console, url=public_console.url.replace(OUTWARD, "127.0.0.1"))
        with open_page(chromium, console, "/models", viewport={"width": 390, "height": 800}, locale="es-ES") as page:
            page.wait_for_selector("h1:has-text('Modelos')")
            warning = page.locator(".rv-insecure")
            assert warning.is_visible()
            assert "Otras máquinas" in warning.inner_text()
            box = warning.bounding_box()
            assert box is not None
            assert box["y"] < 800
