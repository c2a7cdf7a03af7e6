"""Login and logout of the console, against a server with users."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import expect
from tests.support.browser import IN_A_BROWSER
from tests.support.console import SIGNED_PASSWORD, Console, open_page, open_page_as, wait_until_idle

from relevo.client import Client

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_PAGE = {"Accept": "text/html"}


@pytest.mark.browser
class TestInABrowser:
    """Login in a real browser."""

    pytestmark = IN_A_BROWSER

    def test_without_a_session_every_page_redirects_to_the_login_page(self, chromium: Browser, signed_console: Console) -> None:
        """Any page redirects to the login page; a wrong password shows an error in the language of the browser."""
        with open_page(chromium, signed_console, "/history", locale="es-ES") as page:
            assert urlsplit(page.url).path == "/sign-in"
            page.fill("input[name=name]", "ana")
            page.fill("input[name=password]", "wrong")
            page.press("input[name=password]", "Enter")
            expect(page.locator(".refusal")).to_be_visible()
            assert page.input_value("input[name=name]") == "ana"
            expect(page.locator(".refusal")).not_to_contain_text("wrong")

    def test_login_and_logout(self, chromium: Browser, signed_console: Console) -> None:
        """The sidebar shows user and role; the cookie is HttpOnly; after logout the old cookie is invalid."""
        with open_page(chromium, signed_console) as page:
            page.fill("input[name=name]", "ana")
            page.fill("input[name=password]", SIGNED_PASSWORD)
            page.press("input[name=password]", "Enter")
            expect(page.locator(".rv-who")).to_contain_text("admin")
            cookies = {cookie["name"]: cookie for cookie in page.context.cookies()}
            assert cookies["relevo_console"]["httpOnly"]
            assert cookies["relevo_console"]["sameSite"] == "Lax"
            # The session of the server stays in the console.
            assert not [name for name in cookies if name.endswith("relevo_session")]
            page.get_by_role("button", name="Sign out").click()
            page.wait_for_url("**/sign-in")
            page.context.add_cookies([{"name": "relevo_console", "value": cookies["relevo_console"]["value"], "url": page.url}])
            page.goto(signed_console.url)
            assert page.url.endswith("/sign-in")

    def test_every_page_has_its_own_address(self, chromium: Browser, signed_console: Console) -> None:
        """Every page opens by its address, before and after login and after a reload; the query string is kept."""
        with open_page(chromium, signed_console, "/history?label=3") as page:
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
                    wait_until_idle(page)
                    assert page.get_by_role("dialog").count() == 0
                    page.reload()

    def test_an_unknown_or_forbidden_page_shows_no_streamlit_dialog(self, chromium: Browser, signed_console: Console) -> None:
        """The English "page not found" dialog of Streamlit never appears."""
        with open_page_as(chromium, signed_console, "bob", "/people", locale="es-ES") as page:
            for name in ("people", "nothing-like-it", "label"):
                page.goto(f"{signed_console.url}/{name}")
                page.wait_for_selector("h1")
                wait_until_idle(page)
                assert page.get_by_role("dialog").count() == 0, name
                assert "not found" not in page.inner_text("body")


def test_a_cross_site_login_is_rejected(signed_console: Console) -> None:
    """A form from another site, or without an Origin header, gets no session even with the right password."""
    form = {"name": "ana", "password": SIGNED_PASSWORD}
    for headers in ({"Origin": "https://elsewhere.example"}, {}, {"Origin": signed_console.url, "Sec-Fetch-Site": "cross-site"}):
        answer = httpx.post(f"{signed_console.url}/sign-in", data=form, headers=headers)
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers
    answer = httpx.post(f"{signed_console.url}/sign-in", data=form, headers={"Origin": signed_console.url})
    assert answer.status_code == 303
    assert "HttpOnly" in answer.headers["set-cookie"]


def test_a_forged_cookie_is_rejected(signed_console: Console) -> None:
    """Only tokens issued by the console are accepted, and every login issues a new one."""
    request = {"cookies": {"relevo_console": "A" * 43}, "headers": _PAGE}
    assert httpx.get(signed_console.url, **request).headers["location"] == "/sign-in"  # type: ignore[arg-type]  # two of httpx's
    form, own = {"name": "bob", "password": SIGNED_PASSWORD}, {"Origin": signed_console.url}
    tokens = {httpx.post(f"{signed_console.url}/sign-in", data=form, headers=own).cookies["relevo_console"] for _ in range(2)}
    assert len(tokens) == 2


def test_every_response_has_security_headers(console: Console) -> None:
    """The policy allows no other host, no framing and no content sniffing."""
    for path in ("/", "/sign-in", "/static/no-such.js", "/_stcore/health"):
        headers = httpx.get(console.url + path).headers
        assert "default-src 'self'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "'unsafe-inline'" not in headers["content-security-policy"].partition("script-src")[2].partition(";")[0]
        assert (headers["x-frame-options"], headers["x-content-type-options"]) == ("DENY", "nosniff")


def test_the_liveness_probe_answers(console: Console) -> None:
    """The response equals the one of the server, so `relevo health --url` works for both."""
    with Client(console.url) as client:
        assert client.live()


def test_selecting_a_language_redirects_within_the_console(console: Console) -> None:
    """The redirect goes back to the page, never to another site; an unknown language sets no cookie."""
    answer = httpx.get(f"{console.url}/language/es", params={"back": "history"})
    assert answer.headers["location"] == "/history"
    assert answer.cookies["lang"] == "es"
    for back in ("//elsewhere.example", "https://elsewhere.example", "\\\\x"):
        assert httpx.get(f"{console.url}/language/es", params={"back": back}).headers["location"] == "/"
    assert "set-cookie" not in httpx.get(f"{console.url}/language/fr").headers
