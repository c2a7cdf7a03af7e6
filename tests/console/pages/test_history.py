"""The history page in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.parquet as pq  # type: ignore[import-untyped]  # ships no types
import pytest
from playwright.sync_api import expect
from tests.support.browser import IN_A_BROWSER, sideways
from tests.support.console import SIGNED_PASSWORD, Console, open_page, open_page_as, wait_until_idle

from relevo.client import Client

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from relevo import server

pytestmark = IN_A_BROWSER


@pytest.fixture(scope="module")
def prediction_ids(signed_server: server.RunningServer, digit_pngs: list[bytes]) -> list[str]:
    """Ids of thirty predictions, newest first; the oldest is labelled."""
    with Client(signed_server.url) as client:
        client.sign_in("ana", SIGNED_PASSWORD)
        ids = [client.predict("digits", png).query_id for png in digit_pngs[:30]]
        client.label(ids[0], "3")
        client.prediction(ids[-1])
    return ids[::-1]


def _choose(page: Page, name: str, option: str) -> None:
    page.get_by_role("combobox", name=name).click()
    page.get_by_role("option", name=option, exact=True).click()
    wait_until_idle(page)


def test_pages_filters_and_downloads(chromium: Browser, signed_console: Console, prediction_ids: list[str]) -> None:
    """A page shows 24 images; the next page and a filter work, and the filter applies to downloads."""
    assert len(prediction_ids) == 30
    phone = {"width": 390, "height": 844}
    with open_page_as(chromium, signed_console, "ana", "/history?model=digits", viewport=phone) as page:
        cards = page.locator(".rv-thumb")
        expect(cards).to_have_count(24)
        expect(cards.locator("img")).to_have_count(24)
        assert sideways(page) == 0
        page.set_viewport_size({"width": 1280, "height": 900})
        page.get_by_role("button", name="Older").click()
        expect(page.get_by_text("Answers 25 to")).to_be_visible()
        wait_until_idle(page)
        _choose(page, "Label", "= 3")
        expect(page.get_by_text("Answers 1 to 1")).to_be_visible()
        expect(cards).to_have_count(1)
        expect(cards.locator(".rv-right, .rv-wrong")).to_contain_text("3")
        with page.expect_download() as as_text:
            page.get_by_role("button", name="CSV").click()
        assert as_text.value.path().read_text(encoding="utf-8").count("\n") == 2
        with page.expect_download() as as_table:
            page.get_by_role("button", name="Parquet").click()
        assert pq.read_table(as_table.value.path())["query_id"].to_pylist() == [prediction_ids[-1]]


def test_the_csv_download_of_streamlit_is_hidden(chromium: Browser, signed_console: Console, prediction_ids: list[str]) -> None:
    """The CSV of Streamlit is not protected against formulas, so it is hidden; the search is available."""
    assert prediction_ids
    with open_page_as(chromium, signed_console, "ana", "/history?model=digits") as page:
        page.get_by_role("button", name="Table").or_(page.get_by_role("radio", name="Table")).first.click()
        wait_until_idle(page)
        page.get_by_test_id("stDataFrame").hover()
        expect(page.get_by_role("button", name="Search").first).to_be_visible()
        expect(page.locator('button[aria-label*="Download as CSV"]')).to_be_hidden()
        assert page.locator('button[aria-label*="Download as CSV"]').count() == 1


def test_the_detail_dialog_and_a_corrected_label(chromium: Browser, signed_console: Console, prediction_ids: list[str]) -> None:
    """An address with an id opens the dialog; a new label is shown with its author, the old one struck out."""
    with open_page_as(chromium, signed_console, "ana", f"/history?model=digits&id={prediction_ids[-1]}") as page:
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_test_id("verdict")).to_be_visible()
        expect(dialog).to_contain_text(prediction_ids[-1])
        expect(dialog.locator(".rv-said")).to_contain_text("ana")
        dialog.get_by_role("button", name="That is right").click()
        expect(dialog.locator(".rv-said li")).to_have_count(2)
        expect(dialog.locator(".rv-said .past")).to_contain_text("3")


def test_a_viewer_sees_no_inputs(chromium: Browser, signed_console: Console, prediction_ids: list[str]) -> None:
    """The page says that the role does not see inputs; there are no downloads."""
    assert prediction_ids
    with open_page_as(chromium, signed_console, "bob", "/history?model=digits") as page:
        expect(page.locator(".rv-thumb").first).to_contain_text("Your role does not see inputs")
        expect(page.locator(".rv-thumb img")).to_have_count(0)
        expect(page.get_by_role("button", name="CSV")).to_have_count(0)


def test_a_filter_without_results_says_so(chromium: Browser, console: Console) -> None:
    """The page shows a message instead of an empty table."""
    with open_page(chromium, console, "/history?model=digits") as page:
        wait_until_idle(page)
        _choose(page, "Answer", "9")
        _choose(page, "Label", "= 1")
        expect(page.locator(".rv-empty h2")).to_have_text("No answer matches")
