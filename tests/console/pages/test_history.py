"""Looking back in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.parquet as pq  # type: ignore[import-untyped]  # ships no types
import pytest
from playwright.sync_api import expect
from tests.support.browser import IN_A_BROWSER, sideways
from tests.support.console import SIGNED_PASSWORD, Console, opened, settled, signed_in

from relevo.client import Client

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from relevo import server

pytestmark = IN_A_BROWSER


@pytest.fixture(scope="module")
def answered(signed_server: server.RunningServer, digit_pngs: list[bytes]) -> list[str]:
    """Thirty answers, the first of them labelled; their ids, newest first."""
    with Client(signed_server.url) as client:
        client.sign_in("ana", SIGNED_PASSWORD)
        given = [client.predict("digits", one).query_id for one in digit_pngs[:30]]
        client.label(given[0], "3")
        client.prediction(given[-1])
    return given[::-1]


def _choose(page: Page, what: str, option: str) -> None:
    page.get_by_role("combobox", name=what).click()
    page.get_by_role("option", name=option, exact=True).click()
    settled(page)


def test_pictures_are_paged_by_the_database_and_narrowed(chromium: Browser, signed_console: Console, answered: list[str]) -> None:
    """A page shows 24 pictures; older ones come by a click, labelled ones alone by a filter, here and in a download."""
    assert len(answered) == 30
    phone = {"width": 390, "height": 844}
    with signed_in(chromium, signed_console, "ana", "/history?model=digits", viewport=phone) as page:
        cards = page.locator(".rv-thumb")
        expect(cards).to_have_count(24)
        expect(cards.locator("img")).to_have_count(24)
        assert sideways(page) == 0
        page.set_viewport_size({"width": 1280, "height": 900})
        page.get_by_role("button", name="Older").click()
        expect(page.get_by_text("Answers 25 to")).to_be_visible()
        settled(page)
        _choose(page, "Label", "= 3")
        expect(page.get_by_text("Answers 1 to 1")).to_be_visible()
        expect(cards).to_have_count(1)
        expect(cards.locator(".rv-right, .rv-wrong")).to_contain_text("3")
        with page.expect_download() as as_text:
            page.get_by_role("button", name="CSV").click()
        assert as_text.value.path().read_text(encoding="utf-8").count("\n") == 2
        with page.expect_download() as as_table:
            page.get_by_role("button", name="Parquet").click()
        assert pq.read_table(as_table.value.path())["query_id"].to_pylist() == [answered[-1]]


def test_a_table_has_no_download_of_its_own(chromium: Browser, signed_console: Console, answered: list[str]) -> None:
    """What Streamlit itself would write as CSV is not protected from formulas, so it is not offered; searching still is."""
    assert answered
    with signed_in(chromium, signed_console, "ana", "/history?model=digits") as page:
        page.get_by_role("button", name="Table").or_(page.get_by_role("radio", name="Table")).first.click()
        settled(page)
        page.get_by_test_id("stDataFrame").hover()
        expect(page.get_by_role("button", name="Search").first).to_be_visible()
        expect(page.locator('button[aria-label*="Download as CSV"]')).to_be_hidden()
        assert page.locator('button[aria-label*="Download as CSV"]').count() == 1


def test_one_answer_in_full_and_its_truth_corrected(chromium: Browser, signed_console: Console, answered: list[str]) -> None:
    """A link to a number opens it; a label given there is told with who gave it, and the older one is struck out."""
    with signed_in(chromium, signed_console, "ana", f"/history?model=digits&id={answered[-1]}") as page:
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_test_id("verdict")).to_be_visible()
        expect(dialog).to_contain_text(answered[-1])
        expect(dialog.locator(".rv-said")).to_contain_text("ana")
        dialog.get_by_role("button", name="That is right").click()
        expect(dialog.locator(".rv-said li")).to_have_count(2)
        expect(dialog.locator(".rv-said .past")).to_contain_text("3")


def test_a_viewer_sees_answers_without_what_was_asked(chromium: Browser, signed_console: Console, answered: list[str]) -> None:
    """The server shows a viewer no inputs, and the page says why; nor is there anything to download."""
    assert answered
    with signed_in(chromium, signed_console, "bob", "/history?model=digits") as page:
        expect(page.locator(".rv-thumb").first).to_contain_text("Your role does not see inputs")
        expect(page.locator(".rv-thumb img")).to_have_count(0)
        expect(page.get_by_role("button", name="CSV")).to_have_count(0)


def test_nothing_asked_yet_says_what_to_do(chromium: Browser, console: Console) -> None:
    """A filter that nothing passes says so, rather than showing an empty table."""
    with opened(chromium, console, "/history?model=digits") as page:
        settled(page)
        _choose(page, "Answer", "9")
        _choose(page, "Label", "= 1")
        expect(page.locator(".rv-empty h2")).to_have_text("No answer matches")
