"""The way into the console: signing in and out, against a server that asks who one is."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import expect
from tests.support.browser import IN_A_BROWSER
from tests.support.console import SIGNED_PASSWORD, Console, opened, settled, signed_in

from relevo.client import Client

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_PAGE = {"Accept": "text/html"}


@pytest.mark.browser
class TestInABrowser:
    """What a person sees."""

    pytestmark = IN_A_BROWSER

    def test_a_stranger_is_led_to_the_door_and_a_wrong_password_keeps_them_there(
        self, chromium: Browser, signed_console: Console
    ) -> None:
        """Whatever page was asked for, it is the sign-in page; a wrong password is told in the visitor's language."""
        with opened(chromium, signed_console, "/history", locale="es-ES") as page:
            assert urlsplit(page.url).path == "/sign-in"
            page.fill("input[name=name]", "ana")
            page.fill("input[name=password]", "wrong")
            page.press("input[name=password]", "Enter")
            expect(page.locator(".refusal")).to_be_visible()
            assert page.input_value("input[name=name]") == "ana"
            expect(page.locator(".refusal")).not_to_contain_text("wrong")

    def test_signing_in_and_out(self, chromium: Browser, signed_console: Console) -> None:
        """The frame names who is in and as what; the cookie is out of scripts' reach; signing out closes the way back."""
        with opened(chromium, signed_console) as page:
            page.fill("input[name=name]", "ana")
            page.fill("input[name=password]", SIGNED_PASSWORD)
            page.press("input[name=password]", "Enter")
            expect(page.locator(".rv-who")).to_contain_text("admin")
            cookies = {one["name"]: one for one in page.context.cookies()}
            assert cookies["relevo_console"]["httpOnly"]
            assert cookies["relevo_console"]["sameSite"] == "Lax"
            # The server's own session stays with the console.
            assert not [name for name in cookies if name.endswith("relevo_session")]
            page.get_by_role("button", name="Sign out").click()
            page.wait_for_url("**/sign-in")
            page.context.add_cookies([{"name": "relevo_console", "value": cookies["relevo_console"]["value"], "url": page.url}])
            page.goto(signed_console.url)
            assert page.url.endswith("/sign-in")

    def test_a_page_is_reached_by_its_own_address(self, chromium: Browser, signed_console: Console) -> None:
        """Every page, the first one too, before signing in and after, and again when it is reloaded; what it was asked stays."""
        with opened(chromium, signed_console, "/history?label=3") as page:
            page.fill("input[name=name]", "ana")
            page.fill("input[name=password]", "wrong")
            page.press("input[name=password]", "Enter")
            expect(page.locator(".refusal")).to_be_visible()
            page.click("a[lang=es]")
            page.fill("input[name=name]", "ana")
            page.fill("input[name=password]", SIGNED_PASSWORD)
            page.press("input[name=password]", "Enter")
            page.wait_for_selector("h1:has-text('Historial')")
            assert "label=3" in page.url
            page.click("a[lang=en]")
            for name in ("classify", "label", "models", "traffic", "people", "history"):
                page.goto(f"{signed_console.url}/{name}")
                for _ in range(2):
                    page.wait_for_selector(f"h1:has-text('{name.capitalize()}')")
                    settled(page)
                    assert page.get_by_role("dialog").count() == 0
                    page.reload()

    def test_a_page_that_is_not_there_or_not_theirs_is_the_first_one(self, chromium: Browser, signed_console: Console) -> None:
        """Streamlit's own dialog, in English alone, shows to nobody."""
        with signed_in(chromium, signed_console, "bob", "/people", locale="es-ES") as page:
            for name in ("people", "nothing-like-it", "label"):
                page.goto(f"{signed_console.url}/{name}")
                page.wait_for_selector("h1")
                settled(page)
                assert page.get_by_role("dialog").count() == 0, name
                assert "not found" not in page.inner_text("body")


def test_a_form_from_elsewhere_signs_nobody_in(signed_console: Console) -> None:
    """A page of another site, or a program that says nothing of where it comes from, gets no session for a right password."""
    form = {"name": "ana", "password": SIGNED_PASSWORD}
    for headers in ({"Origin": "https://elsewhere.example"}, {}, {"Origin": signed_console.url, "Sec-Fetch-Site": "cross-site"}):
        answer = httpx.post(f"{signed_console.url}/sign-in", data=form, headers=headers)
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers
    answer = httpx.post(f"{signed_console.url}/sign-in", data=form, headers={"Origin": signed_console.url})
    assert answer.status_code == 303
    assert "HttpOnly" in answer.headers["set-cookie"]


def test_a_made_up_cookie_opens_nothing(signed_console: Console) -> None:
    """Only what the console gave out counts, and each sign-in gives out another."""
    asked = {"cookies": {"relevo_console": "A" * 43}, "headers": _PAGE}
    assert httpx.get(signed_console.url, **asked).headers["location"] == "/sign-in"  # type: ignore[arg-type]  # two of httpx's
    form, own = {"name": "bob", "password": SIGNED_PASSWORD}, {"Origin": signed_console.url}
    given = {httpx.post(f"{signed_console.url}/sign-in", data=form, headers=own).cookies["relevo_console"] for _ in range(2)}
    assert len(given) == 2


def test_every_answer_is_sealed(console: Console) -> None:
    """No other host may be asked, nothing may frame the pages, and no kind of file is guessed."""
    for path in ("/", "/sign-in", "/static/no-such.js", "/_stcore/health"):
        headers = httpx.get(console.url + path).headers
        assert "default-src 'self'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "'unsafe-inline'" not in headers["content-security-policy"].partition("script-src")[2].partition(";")[0]
        assert (headers["x-frame-options"], headers["x-content-type-options"]) == ("DENY", "nosniff")


def test_whoever_restarts_it_can_ask_whether_it_lives(console: Console) -> None:
    """The console answers as the server does, so `relevo health --url` asks either."""
    with Client(console.url) as client:
        assert client.live()


def test_a_language_is_chosen_and_nothing_else(console: Console) -> None:
    """The choice comes back to the page it was made on, never to another site; an unknown language is not kept."""
    chosen = httpx.get(f"{console.url}/language/es", params={"back": "history"})
    assert chosen.headers["location"] == "/history"
    assert chosen.cookies["lang"] == "es"
    for back in ("//elsewhere.example", "https://elsewhere.example", "\\\\x"):
        assert httpx.get(f"{console.url}/language/es", params={"back": back}).headers["location"] == "/"
    assert "set-cookie" not in httpx.get(f"{console.url}/language/fr").headers
