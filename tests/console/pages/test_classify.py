"""The classify page in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect
from tests.support.browser import IN_A_BROWSER, sideways
from tests.support.console import Console, open_page, open_page_as, wait_until_idle

from relevo.client import Client

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser

    from relevo import server

pytestmark = IN_A_BROWSER


def test_an_image_is_classified_and_labelled(
    chromium: Browser, console: Console, console_server: server.RunningServer, digit_pngs: list[bytes]
) -> None:
    """An image gives a digit with a bar for each label; the label given on the page reaches the history."""
    phone = {"width": 390, "height": 844}
    with open_page(chromium, console, "/?model=digits", locale="es-ES", viewport=phone) as page:
        page.set_input_files("input[type=file]", {"name": "one.png", "mimeType": "image/png", "buffer": digit_pngs[0]})
        digit = page.get_by_test_id("verdict").inner_text()
        expect(page.locator(".rv-bars li")).to_have_count(10)
        expect(page.locator(".rv-bars .chosen .figure")).to_contain_text(",")
        assert sideways(page) == 0
        page.get_by_role("button", name="Es correcto").click()
        expect(page.locator(".rv-kept")).to_contain_text(digit)
    with Client(console_server.url) as client:
        newest = client.history(limit=1, model="digits").items[0]
        assert (newest["prediction"], newest["label"]) == (digit, digit)


def test_the_form_starts_with_the_examples(chromium: Browser, console: Console) -> None:
    """The form starts with the examples of the signature; other values give another prediction."""
    with open_page(chromium, console, "/?model=churn") as page:
        expect(page.get_by_label("tenure")).not_to_have_value("")
        page.get_by_role("button", name="Ask the model").click()
        verdict = page.get_by_test_id("verdict")
        expect(verdict).to_be_visible()
        wait_until_idle(page)
        before = page.locator(".rv-bars .chosen .figure").inner_text()
        page.get_by_label("tenure").fill("2")
        page.get_by_label("tenure").press("Tab")
        page.get_by_role("button", name="Ask the model").click()
        expect(page.locator(".rv-bars .chosen .figure")).not_to_have_text(before)


def test_an_invalid_image_shows_the_error_of_the_server(chromium: Browser, console: Console, tmp_path: Path) -> None:
    """The message of the server is shown on the page."""
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG nothing more")
    with open_page(chromium, console, "/?model=digits") as page:
        page.set_input_files("input[type=file]", broken)
        expect(page.locator(".rv-refusal")).to_contain_text("image")


def test_an_unsupported_file_type_is_explained(chromium: Browser, console: Console) -> None:
    """The error of the uploader and the link that skips the navigation are translated."""
    after = "element => getComputedStyle(element, '::after').content"
    with open_page(chromium, console, "/?model=digits", locale="es-ES") as page:
        uploader = page.get_by_test_id("stFileUploader")
        assert uploader.evaluate(after) == "none"
        page.set_input_files("input[type=file]", {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no picture"})
        expect(page.get_by_test_id("stFileChipIconError")).to_be_visible()
        assert "no se ha admitido" in uploader.evaluate(after)
        assert "Ir al contenido" in page.get_by_test_id("stSkipToContent").evaluate(after)


def test_a_viewer_cannot_label(chromium: Browser, signed_console: Console, digit_pngs: list[bytes]) -> None:
    """A user without the labeler role sees no label form."""
    with open_page_as(chromium, signed_console, "bob", "/?model=digits") as page:
        page.set_input_files("input[type=file]", {"name": "one.png", "mimeType": "image/png", "buffer": digit_pngs[1]})
        expect(page.get_by_test_id("verdict")).to_be_visible()
        wait_until_idle(page)
        expect(page.get_by_role("button", name="That is right")).to_have_count(0)
