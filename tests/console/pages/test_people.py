"""Users, keys and the audit in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect
from tests.browsing import IN_A_BROWSER, sideways
from tests.console.console_world import Console, opened, settled, signed_in

from relevo.client import Client
from relevo.errors import NotKnown

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from relevo import compose

pytestmark = IN_A_BROWSER


def test_a_server_without_users_offers_the_first(chromium: Browser, console: Console) -> None:
    """Where nobody is a user yet, the page offers to make the first admin and says what follows."""
    with opened(chromium, console, "/people") as page:
        expect(page.get_by_role("button", name="Make the admin")).to_be_visible()
        page.get_by_label("Name").fill("zoe")
        page.get_by_label("Password", exact=True).fill("short")
        page.get_by_role("button", name="Make the admin").click()
        expect(page.locator(".rv-refusal")).to_contain_text("password")


def test_a_user_is_added_and_the_audit_tells(chromium: Browser, signed_console: Console) -> None:
    """An admin adds a user with a role; the table has them, and the audit says who did it, by name. A phone scrolls nothing aside."""
    with signed_in(chromium, signed_console, "ana", "/people", viewport={"width": 390, "height": 844}) as page:
        page.get_by_label("Name", exact=True).fill("eva")
        page.get_by_role("button", name="Add").click()
        expect(page.locator(".relevo-table tbody").first).to_contain_text("eva")
        settled(page)
        assert sideways(page) == 0
        page.get_by_role("tab", name="Audit").click()
        row = page.locator("tr", has_text="user.add").first
        expect(row).to_contain_text("ana")


def test_a_key_is_shown_once_and_revoked(chromium: Browser, signed_console: Console, signed_server: compose.RunningServer) -> None:
    """A key made here lets a program in; it is shown this one time, and revoking it shuts the program out."""
    with signed_in(chromium, signed_console, "ana", "/people") as page:
        page.get_by_role("tab", name="Keys").click()
        page.get_by_label("What it is for").fill("nightly")
        page.get_by_text("read", exact=True).click()
        page.get_by_role("button", name="Make the key").click()
        key = page.locator('[data-testid="stCode"] code').inner_text().strip()
        with Client(signed_server.url, key=key, retries=1) as program:
            assert program.models()
            page.get_by_role("button", name="Revoke").click()
            expect(page.locator("tr", has_text="nightly")).to_contain_text("over")
            expect(page.get_by_text(key)).to_have_count(0)
            with pytest.raises(NotKnown):
                _until_shut_out(program)


def _until_shut_out(program: Client) -> None:
    for _ in range(20):
        program.models()
