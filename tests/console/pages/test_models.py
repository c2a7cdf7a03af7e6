"""A model's versions in a real browser: side by side, and an alias moved by who may."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect
from tests.support.browser import IN_A_BROWSER
from tests.support.console import SIGNED_PASSWORD, Console, settled, signed_in

from relevo.client import Client

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from relevo import server

pytestmark = IN_A_BROWSER


def test_a_viewer_compares_and_moves_nothing(chromium: Browser, signed_console: Console) -> None:
    """Two versions stand beside each other with what they confuse, their card and where they came from; figures in Spanish.

    Who may not move an alias is told whom to ask, and finds no form; nor does the navigation show who there is.
    """
    with signed_in(chromium, signed_console, "bob", "/models?model=digits", locale="es-ES") as page:
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
    """Without a reason nothing moves; with one it does, the page says so, and the history names who and why."""
    with signed_in(chromium, signed_console, "ana", "/models?model=digits") as page:
        _choose(page, "Alias", "challenger")
        _choose(page, "Version", "v1")
        page.get_by_role("button", name="Move").click()
        expect(page.get_by_text("Say why")).to_be_visible()
        page.get_by_label("Reason").fill("It was better after all")
        page.get_by_role("button", name="Move").click()
        expect(page.get_by_text("challenger stands at v1 now")).to_be_visible()
        settled(page)
        expect(page.locator(".relevo-table").last).to_contain_text("It was better after all")
    with Client(signed_server.url) as client:
        client.sign_in("ana", SIGNED_PASSWORD)
        assert client.ask("GET", "/models/digits/aliases")["aliases"]["challenger"] == 1


def test_the_champion_moves_only_after_a_question(
    chromium: Browser, signed_console: Console, signed_server: server.RunningServer
) -> None:
    """The question names the model and both versions; until it is answered the old one answers."""
    with Client(signed_server.url) as client, signed_in(chromium, signed_console, "ana", "/models?model=digits") as page:
        client.sign_in("ana", SIGNED_PASSWORD)
        page.get_by_label("Reason").fill("It is better")
        _choose(page, "Version", "v2")
        page.get_by_role("button", name="Move").click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("digits are answered by version v2 from then on, and no longer by version v1")
        assert client.ask("GET", "/models/digits/aliases")["aliases"]["champion"] == 1
        dialog.get_by_role("button", name="Let version v2 answer").click()
        expect(page.get_by_text("champion stands at v2 now")).to_be_visible()
        assert client.ask("GET", "/models/digits/aliases")["aliases"]["champion"] == 2
        client.ask("PUT", "/models/digits/aliases/champion", json={"version": 1, "reason": "back"})


def _choose(page: Page, field: str, option: str) -> None:
    """Choose in one of Streamlit's lists."""
    box = page.get_by_role("combobox", name=field)
    box.press_sequentially(option)
    expect(page.get_by_role("option", name=option, exact=True)).to_be_visible()
    box.press("Enter")


def test_cards_stay_in_their_columns(chromium: Browser, signed_console: Console) -> None:
    """A wide table of a card scrolls by itself: it moves neither the page on a telephone nor into the card beside it."""
    for width in (390, 1200):
        with signed_in(chromium, signed_console, "ana", "/models?model=digits", viewport={"width": width, "height": 844}) as page:
            page.get_by_role("tab").nth(1).click()
            page.wait_for_selector('[data-testid="stMarkdownContainer"] table')
            settled(page)
            wider = "() => { const it = document.querySelector('[data-testid=stMain]'); return it.scrollWidth - it.clientWidth }"
            assert page.evaluate(wider) == 0
