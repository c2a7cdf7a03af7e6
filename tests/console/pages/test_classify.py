"""Asking models in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect
from tests.support.browser import IN_A_BROWSER, sideways
from tests.support.console import Console, opened, settled, signed_in

from relevo.client import Client

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser

    from relevo import server

pytestmark = IN_A_BROWSER


def test_a_picture_is_answered_and_the_truth_kept(
    chromium: Browser, console: Console, console_server: server.RunningServer, digit_pngs: list[bytes]
) -> None:
    """A picture gives a digit, a bar for each, and a question whether that was right; what is said reaches the history."""
    phone = {"width": 390, "height": 844}
    with opened(chromium, console, "/?model=digits", locale="es-ES", viewport=phone) as page:
        page.set_input_files("input[type=file]", {"name": "one.png", "mimeType": "image/png", "buffer": digit_pngs[0]})
        said = page.get_by_test_id("verdict").inner_text()
        expect(page.locator(".rv-bars li")).to_have_count(10)
        expect(page.locator(".rv-bars .chosen .figure")).to_contain_text(",")
        assert sideways(page) == 0
        page.get_by_role("button", name="Es correcto").click()
        expect(page.locator(".rv-kept")).to_contain_text(said)
    with Client(console_server.url) as client:
        newest = client.history(limit=1, model="digits").items[0]
        assert (newest["prediction"], newest["label"]) == (said, said)


def test_a_record_is_a_form_with_its_examples(chromium: Browser, console: Console) -> None:
    """The form starts with the examples of the signature; sending it gives an answer, and what it is not can be said."""
    with opened(chromium, console, "/?model=churn") as page:
        expect(page.get_by_label("tenure")).not_to_have_value("")
        page.get_by_role("button", name="Ask the model").click()
        verdict = page.get_by_test_id("verdict")
        expect(verdict).to_be_visible()
        settled(page)
        before = page.locator(".rv-bars .chosen .figure").inner_text()
        page.get_by_label("tenure").fill("2")
        page.get_by_label("tenure").press("Tab")
        page.get_by_role("button", name="Ask the model").click()
        expect(page.locator(".rv-bars .chosen .figure")).not_to_have_text(before)


def test_a_file_that_is_no_picture_is_refused_in_words(chromium: Browser, console: Console, tmp_path: Path) -> None:
    """The server's own sentence is shown, and the page goes on working."""
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG nothing more")
    with opened(chromium, console, "/?model=digits") as page:
        page.set_input_files("input[type=file]", broken)
        expect(page.locator(".rv-refusal")).to_contain_text("image")


def test_a_file_of_another_kind_is_refused_in_our_words(chromium: Browser, console: Console) -> None:
    """Beside the mark that the library shows stands why, in the visitor's language; so does the link past the navigation."""
    after = "one => getComputedStyle(one, '::after').content"
    with opened(chromium, console, "/?model=digits", locale="es-ES") as page:
        uploader = page.get_by_test_id("stFileUploader")
        assert uploader.evaluate(after) == "none"
        page.set_input_files("input[type=file]", {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no picture"})
        expect(page.get_by_test_id("stFileChipIconError")).to_be_visible()
        assert "no se ha admitido" in uploader.evaluate(after)
        assert "Ir al contenido" in page.get_by_test_id("stSkipToContent").evaluate(after)


def test_a_viewer_asks_but_says_no_truth(chromium: Browser, signed_console: Console, digit_pngs: list[bytes]) -> None:
    """Who may not label is not asked to."""
    with signed_in(chromium, signed_console, "bob", "/?model=digits") as page:
        page.set_input_files("input[type=file]", {"name": "one.png", "mimeType": "image/png", "buffer": digit_pngs[1]})
        expect(page.get_by_test_id("verdict")).to_be_visible()
        settled(page)
        expect(page.get_by_role("button", name="That is right")).to_have_count(0)
