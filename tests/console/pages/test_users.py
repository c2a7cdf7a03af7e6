"""The users page in a real browser: users, API keys and the audit log."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect
from tests.support.browser import IN_A_BROWSER, sideways
from tests.support.console import SIGNED_PASSWORD, Console, open_page, open_page_as, wait_until_idle

from relevo.client import Client
from relevo.errors import AuthenticationError

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from relevo import server

pytestmark = IN_A_BROWSER


def test_a_server_without_users_shows_the_form_for_an_admin(chromium: Browser, console: Console) -> None:
    """The page offers to create the first admin; a weak password shows the error."""
    with open_page(chromium, console, "/people") as page:
        page.get_by_label("Name").fill("zoe")
        page.get_by_label("Password", exact=True).fill("short")
        page.get_by_role("button", name="Make the admin").click()
        expect(page.get_by_role("alert")).to_contain_text("password")


def test_an_admin_manages_users_and_keys(chromium: Browser, signed_console: Console, signed_server: server.RunningServer) -> None:
    """Adds a user, creates a key (shown once) and revokes it; the audit log names the admin. No overflow on a phone."""
    with open_page_as(chromium, signed_console, "ana", "/people", viewport={"width": 390, "height": 844}) as page:
        page.get_by_label("Name", exact=True).fill("eva")
        page.get_by_role("button", name="Add").click()
        expect(page.locator(".relevo-table tbody").first).to_contain_text("eva")
        wait_until_idle(page)
        assert sideways(page) == 0
        page.get_by_role("tab", name="Keys").click()
        page.get_by_label("What it is for").fill("nightly")
        page.get_by_role("button", name="read", exact=True).click()
        page.get_by_role("button", name="Make the key").click()
        key = page.locator('[data-testid="stCode"] code').inner_text().strip()
        with Client(signed_server.url, key=key, retries=1) as program:
            assert program.models()
            expect(page.get_by_role("button", name="Revoke")).to_be_disabled()
            _choose_key(page, "nightly")
            page.get_by_role("button", name="Revoke").click()
            dialog = page.get_by_role("dialog")
            expect(dialog).to_contain_text("“nightly”")
            dialog.get_by_role("button", name="Cancel").click()
            expect(dialog).to_have_count(0)
            wait_until_idle(page)
            assert program.models()
            page.get_by_role("button", name="Revoke").click()
            dialog.get_by_role("button", name="Revoke “nightly”").click()
            expect(page.get_by_text("nightly is revoked")).to_be_visible()
            wait_until_idle(page)
            expect(page.locator("tr", has_text="nightly")).to_contain_text("over")
            expect(page.get_by_text(key)).to_have_count(0)
            with pytest.raises(AuthenticationError):
                _request_until_rejected(program)
        page.get_by_role("tab", name="Audit").click()
        for change in ("key.revoke", "key.add", "user.add"):
            expect(page.locator("tr", has_text=change).first).to_be_visible()
        expect(page.locator("tr", has_text="key.revoke").first).to_contain_text("ana")


def test_a_key_of_a_disabled_user_is_marked(
    chromium: Browser, signed_console: Console, signed_server: server.RunningServer
) -> None:
    """The key is not shown as active, and rotating it shows the error."""
    with Client(signed_server.url) as caller:
        caller.sign_in("ana", SIGNED_PASSWORD)
        gone = caller.request_json("POST", "/users", json={"name": "gone", "role": "viewer"})["id"]
        caller.request_json("POST", "/keys", json={"name": "orphaned", "user": gone, "scopes": ["read"]})
        caller.request_json("PATCH", f"/users/{gone}", json={"disabled": True})
    with open_page_as(chromium, signed_console, "ana", "/people") as page:
        page.get_by_role("tab", name="Keys").click()
        expect(page.locator("tr", has_text="orphaned")).to_contain_text("its user is disabled")
        _choose_key(page, "orphaned")
        page.get_by_role("button", name="Change for a new one").click()
        page.get_by_role("dialog").get_by_role("button", name="Change “orphaned”").click()
        expect(page.get_by_role("alert")).to_contain_text("the owner of the key is switched off")


def test_disabling_a_user_needs_confirmation(
    chromium: Browser, signed_console: Console, signed_server: server.RunningServer
) -> None:
    """The dialog names the user and the lost permissions; until then nothing is changed."""
    with Client(signed_server.url) as caller:
        caller.sign_in("ana", SIGNED_PASSWORD)
        user_id = caller.request_json("POST", "/users", json={"name": "aaron", "role": "viewer"})["id"]
        with open_page_as(chromium, signed_console, "ana", "/people") as page:
            page.get_by_role("combobox", name="User").first.click()
            page.get_by_role("option", name="aaron", exact=True).click()
            wait_until_idle(page)
            page.get_by_text("Disabled: may not come in").click()
            page.get_by_role("button", name="Save").click()
            dialog = page.get_by_role("dialog")
            expect(dialog).to_contain_text("aaron loses: every access")
            assert not caller.request_json("GET", f"/users/{user_id}")["disabled"]
            dialog.get_by_role("button", name="Change aaron").click()
            expect(page.get_by_text("aaron was changed")).to_be_visible()
        assert caller.request_json("GET", f"/users/{user_id}")["disabled"]


def _choose_key(page: Page, name: str) -> None:
    wait_until_idle(page)
    option = page.get_by_role("option", name=name)
    for _ in range(5):
        page.get_by_role("combobox", name="Key", exact=True).click()
        # Race: a page run at this moment closes the list again.
        with contextlib.suppress(AssertionError):
            expect(option).to_be_visible(timeout=5000)
            break
    option.click()
    wait_until_idle(page)
    # Widgets of the previous page run stay visible for a moment.
    expect(page.get_by_role("button", name="Revoke")).to_have_count(1)


def _request_until_rejected(program: Client) -> None:
    while True:
        program.models()


def test_pages_and_search_of_users(chromium: Browser, signed_console: Console, signed_server: server.RunningServer) -> None:
    """The next page shows further users; the search finds a part of a name, and reports when nothing matches."""
    with Client(signed_server.url) as caller:
        caller.sign_in("ana", SIGNED_PASSWORD)
        for number in range(60):
            caller.request_json("POST", "/users", json={"name": f"many {number:02}", "role": "viewer"})
    with open_page_as(chromium, signed_console, "ana", "/people") as page:
        wait_until_idle(page)
        table = page.locator(".relevo-table tbody").first
        expect(table.locator("tr")).to_have_count(50)
        page.get_by_role("button", name="Next").first.click()
        expect(table).to_contain_text("many 59")
        expect(table).not_to_contain_text("ana")
        find = page.get_by_label("Find a user")
        find.fill("MANY 07")
        find.press("Enter")
        expect(table.locator("tr")).to_have_count(1)
        find.fill("nobody at all")
        find.press("Enter")
        expect(page.get_by_text("Nobody is called so.")).to_be_visible()
