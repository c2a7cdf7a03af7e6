"""Camera input on a phone, with the fake camera of Chromium, which shows a moving pattern."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect
from tests.support.browser import IN_A_BROWSER, launched, sideways
from tests.support.console import Console, open_page, wait_until_idle

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

    from relevo import server

pytestmark = IN_A_BROWSER

_PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser with a camera that every page may use."""
    with launched("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream") as browser:
        yield browser


def test_the_console_takes_a_picture(chromium: Browser, console: Console) -> None:
    """The content security policy allows the camera; its picture is classified like a file."""
    with open_page(chromium, console, "/?model=digits", locale="es-ES", **_PHONE) as page:
        page.context.grant_permissions(["camera"], origin=console.url)
        page.get_by_text("Cámara").click()
        wait_until_idle(page)
        shutter = page.get_by_test_id("stCameraInputButton")
        expect(shutter).to_be_enabled(timeout=30_000)
        page.wait_for_function("() => { const v = document.querySelector('video'); return v && v.videoWidth > 0 }")
        shutter.click()
        expect(page.get_by_test_id("verdict")).to_be_visible(timeout=30_000)
        expect(page.locator(".rv-bars li")).to_have_count(10)
        assert sideways(page) == 0


def test_the_model_page_opens_the_camera_of_the_phone(
    chromium: Browser, console_server: server.RunningServer, digit_pngs: list[bytes]
) -> None:
    """The button opens the rear camera of the phone through a file chooser; its picture is classified."""
    context = chromium.new_context(locale="es-ES", **_PHONE)
    page = context.new_page()
    page.goto(f"{console_server.url}/?model=digits")
    page.get_by_role("button", name="Subir").tap()
    photo = page.locator("#photo")
    assert (photo.get_attribute("capture"), photo.get_attribute("accept")) == ("environment", "image/*")
    expect(page.locator("#camera")).to_be_visible()
    with page.expect_file_chooser() as chooser:
        page.locator("label[for=photo]").tap()
    chooser.value.set_files({"name": "photo.png", "mimeType": "image/png", "buffer": digit_pngs[0]})
    expect(page.locator(".verdict")).to_be_visible()
    assert sideways(page) == 0
    context.close()
