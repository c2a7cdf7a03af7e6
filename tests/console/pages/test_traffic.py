"""The traffic page in a real browser: the empty state, then figures that refresh by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from playwright.sync_api import expect
from tests.support.browser import IN_A_BROWSER
from tests.support.console import SIGNED_PASSWORD, Console, open_page_as

from relevo.client import Client

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from relevo import server

pytestmark = IN_A_BROWSER


def test_traffic_refreshes_by_itself(
    chromium: Browser, signed_console: Console, signed_server: server.RunningServer, churn_records: list[dict[str, Any]]
) -> None:
    """The page starts with the empty state; new requests appear without a reload."""
    with open_page_as(chromium, signed_console, "bob", "/traffic?model=churn") as page:
        expect(page.get_by_text("Nobody asked in this time")).to_be_visible()
        page.get_by_text("1 hour", exact=True).click()
        with Client(signed_server.url) as client:
            client.sign_in("bob", SIGNED_PASSWORD)
            for record in churn_records[:3]:
                client.predict("churn", record)
        expect(page.locator(".relevo-tile dd").first).to_contain_text("3", timeout=15_000)
        expect(page.locator(".relevo-table tbody")).to_contain_text("v1")
        expect(page.locator('[data-testid="stVegaLiteChart"]')).to_have_count(4)
