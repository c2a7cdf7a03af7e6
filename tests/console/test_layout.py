"""The frame of the console in a real browser."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tests.server.test_exposure import OUTWARD
from tests.support.browser import IN_A_BROWSER
from tests.support.console import Console, opened, served_beside

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser

pytestmark = IN_A_BROWSER


def test_a_server_without_users_is_shown_without_signing_in(chromium: Browser, console: Console) -> None:
    """Nobody signs in where nobody is asked; the frame says so; nothing comes from another host, and the policy lets all run."""
    with opened(chromium, console) as page:
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.reload()
        page.wait_for_selector("h1:has-text('Classify')")
        page.wait_for_selector("text=this server has no users yet")
        assert complaints == []


def test_the_language_is_the_browsers_until_another_is_chosen(chromium: Browser, console: Console) -> None:
    """A Spanish browser reads Spanish; a click on English is remembered."""
    with opened(chromium, console, locale="es-ES") as page:
        page.wait_for_selector("h1:has-text('Clasificar')")
        page.click("a[lang=en]")
        page.wait_for_selector("h1:has-text('Classify')")
        page.goto(console.url)
        page.wait_for_selector("h1:has-text('Classify')")


def test_a_dare_stands_above_every_page(chromium: Browser, tmp_path: Path) -> None:
    """A server that others can reach, open and in the clear, says so on a telephone, too, on whatever page one is."""
    with served_beside(tmp_path, "--host", OUTWARD, "--insecure") as beside:
        here = replace(beside, url=beside.url.replace(OUTWARD, "127.0.0.1"))
        with opened(chromium, session, "/models", viewport={"width": 390, "height": 800}, locale="es-ES") as page:
            page.wait_for_selector("h1:has-text('Modelos')")
            warning = page.locator(".rv-insecure")
            assert warning.is_visible()
            assert "Otras máquinas" in warning.inner_text()
            box = warning.bounding_box()
            assert box is not None
            assert box["y"] < 800
