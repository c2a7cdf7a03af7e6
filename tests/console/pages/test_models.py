"""The models page in a real browser: comparison of versions, and moving an alias."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect
from tests.support.browser import IN_A_BROWSER
from tests.support.console import SIGNED_PASSWORD, Console, open_page_as, wait_until_idle

from relevo.client import Client

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from relevo import server

pytestmark = IN_A_BROWSER


def test_a_viewer_compares_versions_but_moves_no_alias(chromium: Browser, signed_console: Console) -> None:
    """Two versions side by side with confusion matrix, card and lineage, in Spanish format.

    A viewer sees which role is needed instead of the alias form, and no users page in the navigation.
    """
    with open_page_as(chromium, signed_console, "bob", "/models?model=digits", locale="es-ES") as page:
        expect(page.locator(".relevo-chip", has_text="champion → v1")).to_be_visible()
        expect(page.locator(".relevo-table").first).to_contain_text("v2")
        assert "," in page.locator(".relevo-table td.figure").first.inner_text()
        expect(page.locator(".relevo-plot", has_text="Qué confunde, 60 filas")).to_have_count(2)
        page.wait_for_selector('[data-testid="stVegaLiteChart"] canvas, [data-testid="stVegaLiteChart"] svg')
        page.get_by_role("tab", name="Ficha").click()
        expect(page.get_by_text("Con 60 muestras dadas por el usuario").first).to_be_visible()
        page.get_by_role("tab", name="Procedencia").click()
        expect(page.locator(".relevo-facts").first).to_contain_text("scikit-learn")
        expect(page.get_by_text("Para mover un alias hace falta el papel operador")).to_be_visible()
        expect(page.get_by_role("button", name="Mover")).to_have_count(0)
        expect(page.locator('[data-testid="stSidebarNavLink"]', has_text="Personas")).to_have_count(0)


def test_an_alias_is_moved_with_a_reason(chromium: Browser, signed_console: Console, signed_server: server.RunningServer) -> None:
    """Moving needs a reason; the page confirms the move, and the history shows author and reason."""
    with open_page_as(chromium, signed_console, "ana", "/models?model=digits") as page:
        _choose(page, "Alias", "challenger")
        _choose(page, "Version", "v1")
        page.get_by_role("button", name="Move").click()
        expect(page.get_by_text("Say why")).to_be_visible()
        page.get_by_label("Reason").fill("It was better after all")
        page.get_by_role("button", name="Move").click()
        expect(page.get_by_text("challenger stands at v1 now")).to_be_visible()
        wait_until_idle(page)
        expect(page.locator(".relevo-table").last).to_contain_text("It was better after all")
    with Client(signed_server.url) as client:
        client.sign_in("ana", SIGNED_PASSWORD)
        assert client.request_json("GET", "/models/digits/aliases")["aliases"]["challenger"] == 1


def test_moving_the_champion_needs_confirmation(
    chromium: Browser, signed_console: Console, signed_server: server.RunningServer
) -> None:
    """The dialog names the model and both versions; until then the old version stays."""
    with Client(signed_server.url) as client, open_page_as(chromium, signed_console, "ana", "/models?model=digits") as page:
        client.sign_in("ana", SIGNED_PASSWORD)
        page.get_by_label("Reason").fill("It is better")
        _choose(page, "Version", "v2")
        page.get_by_role("button", name="Move").click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("digits are answered by version v2 from then on, and no longer by version v1")
        assert client.request_json("GET", "/models/digits/aliases")["aliases"]["champion"] == 1
        dialog.get_by_role("button", name="Let version v2 answer").click()
        expect(page.get_by_text("champion stands at v2 now")).to_be_visible()
        assert client.request_json("GET", "/models/digits/aliases")["aliases"]["champion"] == 2
        client.request_json("PUT", "/models/digits/aliases/champion", json={"version": 1, "reason": "back"})


def _choose(page: Page, field: str, option: str) -> None:
    """Selects an option in a select box of Streamlit."""
    box = page.get_by_role("combobox", name=field)
    box.press_sequentially(option)
    expect(page.get_by_role("option", name=option, exact=True)).to_be_visible()
    box.press("Enter")


def test_cards_stay_in_their_columns(chromium: Browser, signed_console: Console) -> None:
    """A wide table in a card scrolls by itself; the page does not, on a phone or with two columns."""
    for width in (390, 1200):
        with open_page_as(
            chromium, signed_console, "ana", "/models?model=digits", viewport={"width": width, "height": 844}
        ) as page:
            page.get_by_role("tab").nth(1).click()
            page.wait_for_selector('[data-testid="stMarkdownContainer"] table')
            wait_until_idle(page)
            overflow = "() => { const e = document.querySelector('[data-testid=stMain]'); return e.scrollWidth - e.clientWidth }"
            assert page.evaluate(overflow) == 0
