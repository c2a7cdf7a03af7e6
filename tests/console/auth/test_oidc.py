"""Login to the console through an identity provider: real server and console, a small provider, and attacks on the login."""

from __future__ import annotations

import stat
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import httpx
import pytest
from sqlalchemy import select
from starlette.applications import Starlette
from tests.support.browser import IN_A_BROWSER
from tests.support.console import SIGNED_PASSWORD, Console, add_users, run_console, serve_with_console
from tests.support.server import settings_of, started
from tests.support.web_app import served

from relevo.config import Settings
from relevo.console.auth.login import LoginRoutes
from relevo.console.auth.sessions import ConsoleConfig, ConsoleSessions
from relevo.domain.access import Role
from relevo.server import key_loader, open_store
from relevo.store.db.engine import read_transaction
from relevo.store.db.tables import sign_in_failures
from relevo.util.hmac_signing import Purpose, caller_header, sign

pytest.importorskip("authlib", reason="the library that speaks with identity providers is not installed")
pytest.importorskip("streamlit", reason="the extra 'console' is not installed")

from tests.support.identity_provider import CLIENT, SECRET, IdentityProvider, identity_provider

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

    import relevo.server

_PAGE = {"Accept": "text/html"}


@pytest.fixture(scope="module")
def provider() -> Iterator[IdentityProvider]:
    with identity_provider() as running:
        yield running


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, provider: IdentityProvider) -> Settings:
    """A server where new users become viewers, with the console key outside its home."""
    folder = tmp_path_factory.mktemp("elsewhere")
    options = {
        "oidc_issuer": provider.issuer,
        "oidc_client_id": CLIENT,
        "oidc_client_secret": SECRET,
        "oidc_default_role": "viewer",
    }
    settings = settings_of(folder, console_key_file=str(folder / "shared" / "console.key"), **options)
    add_users(settings, boss=Role.ADMIN)
    return settings


@pytest.fixture(scope="module")
def server(settings: Settings) -> Iterator[relevo.server.RunningServer]:
    with started(settings) as running:
        yield running


@pytest.fixture(scope="module")
def oidc_console(
    server: relevo.server.RunningServer, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Console]:
    """The console of this server; the test is a trusted proxy, so that it can send any client address."""
    flags = ("--console-key-file", settings.console_key_file, "--trusted-proxies", "127.0.0.1")
    with run_console(server.url, tmp_path_factory.mktemp("elsewhere-console"), *flags) as running:
        yield running


def http_browser(console: Console) -> httpx.Client:
    return httpx.Client(base_url=console.url, headers=_PAGE, timeout=30)


@contextmanager
def serve_login_routes(config: ConsoleConfig, host: str = "another.example") -> Iterator[httpx.Client]:
    """Serves the login routes with this configuration; yields a browser that sends this Host header."""
    with (
        served(Starlette(routes=list(LoginRoutes(ConsoleSessions(config)).routes()))) as address,
        httpx.Client(base_url=address, headers={"host": host}, timeout=30) as browser,
    ):
        yield browser


def login_at_provider(browser: httpx.Client) -> str:
    """Starts the login and logs in at the provider; returns the callback URL of the console, not yet requested."""
    answer = browser.get("/sign-in/elsewhere", params={"next": "/models"})
    while not answer.headers["location"].startswith(str(browser.base_url.join("/sign-in/back"))):
        answer = browser.get(answer.headers["location"])
    return str(answer.headers["location"])


def query_of(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query))


def _assert_rejected(answer: httpx.Response) -> None:
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?said=back")
    assert "relevo_console=" not in answer.headers.get("set-cookie", "")


@pytest.mark.browser
class TestInABrowser:
    """Login in a real browser."""

    pytestmark = IN_A_BROWSER

    def test_login_without_a_password(self, chromium: Browser, oidc_console: Console, server: relevo.server.RunningServer) -> None:
        """One click on the login page leads to the requested page; the code is in no address and no Referer afterwards."""
        context = chromium.new_context(locale="en-GB")
        page = context.new_page()
        page.set_default_timeout(30_000)
        referers: list[str] = []
        page.on("request", lambda request: referers.append(request.headers.get("referer", "")))
        page.goto(f"{oidc_console.url}/traffic")
        page.click("text=Sign in at 127.0.0.1")
        page.wait_for_selector(".rv-who:has-text('ana')")
        assert urlsplit(page.url).path == "/traffic"
        assert "code=" not in page.url
        assert not [referer for referer in referers if "code=" in referer]
        cookies = {cookie["name"]: cookie for cookie in context.cookies()}
        assert cookies["relevo_console"]["httpOnly"]
        # A browser sends cookies to all ports of a host: none of them may be a session of the server.
        assert set(cookies) <= {"relevo_console", "relevo_oidc"} | {name for name in cookies if "streamlit" in name}
        assert httpx.get(f"{server.url}/me", cookies={name: cookie["value"] for name, cookie in cookies.items()}).status_code == 401
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url("**/sign-in")
        context.close()


def test_serve_with_console_needs_no_configuration(tmp_path: Path, provider: IdentityProvider) -> None:
    """`relevo serve --console`: server and console share key and addresses, so the login works by default."""
    home = Settings(home=tmp_path / ".relevo")
    add_users(home, boss=Role.ADMIN)
    flags = ("--oidc-issuer", provider.issuer, "--oidc-client-id", CLIENT, "--oidc-client-secret", SECRET)
    with (
        serve_with_console(tmp_path, "--oidc-default-role", "viewer", *flags) as served_console,
        http_browser(served_console) as browser,
    ):
        answer = browser.get(login_at_provider(browser))
        assert (answer.status_code, answer.headers["location"]) == (303, "/models")
        assert browser.get("/models").status_code == 200
        forged = {"Origin": served_console.url, "X-Forwarded-For": "203.0.113.66", "Relevo-Caller": "203.0.113.66"}
        form = {"name": "boss", "password": SIGNED_PASSWORD}
        assert browser.post("/sign-in", data=form, headers=forged).status_code == 303
    store = open_store(home, migrated=True)
    addresses = [entry.address for entry in store.audit_reader.page(limit=20).items if entry.action == "session.open"]
    store.engine.dispose()
    assert addresses == ["127.0.0.1", "127.0.0.1"], "a client cannot forge its address"


def test_the_login_page_links_to_the_provider(oidc_console: Console, console: Console) -> None:
    """The link keeps the target page; without a provider there is no link."""
    page = httpx.get(f"{oidc_console.url}/sign-in", params={"next": "/history?label=3"}).text
    assert "/sign-in/elsewhere?next=%2Fhistory%3Flabel%3D3" in page
    assert "/sign-in/elsewhere" not in httpx.get(f"{console.url}/sign-in").text


def test_a_callback_url_works_once(oidc_console: Console) -> None:
    """Requested again with the same cookie, as from a browser history or a log, it is rejected."""
    with http_browser(oidc_console) as browser:
        callback = login_at_provider(browser)
        cookies = dict(browser.cookies)
        answer = browser.get(callback)
        assert (answer.status_code, answer.headers["location"]) == (303, "/models")
        assert browser.get("/models").status_code == 200
        browser.cookies.clear()
        browser.cookies.update({name: value for name, value in cookies.items() if name == "relevo_console_tie"})
        _assert_rejected(browser.get(callback))


def test_login_csrf_is_rejected(oidc_console: Console) -> None:
    """The callback URL of an attacker is rejected in a browser that started no login, or its own."""
    with http_browser(oidc_console) as attacker, http_browser(oidc_console) as victim:
        link = login_at_provider(attacker)
        _assert_rejected(victim.get(link))
        victim.get("/sign-in/elsewhere")
        _assert_rejected(victim.get(link))
        own = query_of(login_at_provider(victim))
        _assert_rejected(victim.get("/sign-in/back", params={"code": query_of(link)["code"], "state": own["state"]}))
    with http_browser(oidc_console) as victim:
        for query in ("", "code=x", "state=x", "code=x&state=", "code=%00&state=%C0%AF", "state=x&code=" + "x" * 5000):
            _assert_rejected(victim.get(f"/sign-in/back?{query}"))


def test_a_stolen_code_is_rejected(oidc_console: Console, server: relevo.server.RunningServer, settings: Settings) -> None:
    """In the login of another browser, and at the server without the console key."""
    with http_browser(oidc_console) as owner, http_browser(oidc_console) as thief:
        code = query_of(login_at_provider(owner))["code"]
        for key in (b"", b"a guess"):
            body = {
                "code": code,
                "verifier": "v" * 43,
                "console": oidc_console.url,
                "mark": sign(key, Purpose.REDEEM, code, oidc_console.url),
            }
            assert httpx.post(f"{server.url}/login/console", json=body).status_code == 401
        own = query_of(login_at_provider(thief))
        _assert_rejected(thief.get("/sign-in/back", params={"code": code, "state": own["state"]}))
    assert key_loader(settings.console_key)() != b""


def test_a_code_for_another_console_is_rejected(
    oidc_console: Console, server: relevo.server.RunningServer, settings: Settings
) -> None:
    """A code that the server issued for one console is rejected at another one."""
    config = ConsoleConfig(server=server.url, address="http://another.example", key=key_loader(settings.console_key))
    with serve_login_routes(config) as other_browser, http_browser(oidc_console) as browser:
        location = other_browser.get("/sign-in/elsewhere").headers["location"]
        query = query_of(location) | {"to": oidc_console.url}
        signed = tuple(query[name] for name in ("to", "state", "challenge"))
        assert browser.get(f"{server.url}/login/console?{urlencode(query)}").status_code == 401, "the signature covers the address"
        query["mark"] = sign(key_loader(settings.console_key)(), Purpose.LEAVE, *signed)
        step = browser.get(f"{server.url}/login/console?{urlencode(query)}")
        while not step.headers["location"].startswith(oidc_console.url):
            step = browser.get(step.headers["location"])
        answer = other_browser.get("/sign-in/back", params=query_of(step.headers["location"]))
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?said=back")
    assert "relevo_console=" not in answer.headers.get("set-cookie", "").replace("relevo_console_tie=", "")


def test_redirects_use_the_public_urls() -> None:
    """Browsers go to public_url, not to the internal URL; and only from console_public_url, whatever the Host header."""
    config = ConsoleConfig(
        server="http://api:8000", public_url="https://models.example", address="https://console.example", key=lambda: b"key"
    )
    with serve_login_routes(config, host="evil.example") as browser:
        first = browser.get("/sign-in/elsewhere", params={"next": "/history"}).headers["location"]
        assert first == "https://console.example/sign-in/elsewhere?here&next=/history"
        location = browser.get("/sign-in/elsewhere?here&next=/history").headers["location"]
    assert location.startswith("https://models.example/login/console?")
    assert parse_qs(urlsplit(location).query)["to"] == ["https://console.example"]


def test_without_a_key_there_is_no_provider_login() -> None:
    """A console that cannot sign its requests offers only the password login."""
    with serve_login_routes(ConsoleConfig(server="http://127.0.0.1:9")) as browser:
        assert browser.get("/sign-in/elsewhere").headers["location"] == "/sign-in"
        assert "/sign-in/elsewhere" not in browser.get("/sign-in").text


def test_console_key_file(server: relevo.server.RunningServer, settings: Settings) -> None:
    """The server creates the file with mode 600; only headers signed with this key are accepted."""
    path = settings.console_key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not (settings.home / "keys" / "console.key").exists()
    for header, address in (
        (caller_header(key_loader(path)(), "203.0.113.9"), "203.0.113.9"),
        (caller_header(b"a guess", "203.0.113.66"), "127.0.0.1"),
        ("203.0.113.66", "127.0.0.1"),
    ):
        headers = {"Relevo-Caller": header, "X-Forwarded-For": "203.0.113.77"}
        body = {"name": "boss", "password": SIGNED_PASSWORD}
        assert httpx.post(f"{server.url}/login", json=body, headers=headers, timeout=30).status_code == 200
        store = open_store(settings, migrated=True)
        newest = store.audit_reader.page(limit=1).items[0]
        store.engine.dispose()
        assert (newest.action, newest.address) == ("session.open", address)


def test_failed_logins_are_counted_per_client_address(oidc_console: Console, settings: Settings) -> None:
    """Wrong passwords count for the address of the browser, not of the console: one client does not lock out another."""
    for address in ("203.0.113.7", "203.0.113.7", "203.0.113.8"):
        headers = {"Origin": oidc_console.url, "X-Forwarded-For": address}
        answer = httpx.post(f"{oidc_console.url}/sign-in", data={"name": "boss", "password": "wrong"}, headers=headers, timeout=60)
        assert answer.status_code == 401
    store = open_store(settings, migrated=True)
    with read_transaction(store.engine) as connection:
        counts = Counter(connection.scalars(select(sign_in_failures.c.address)).all())
    store.engine.dispose()
    assert counts == {"203.0.113.7": 2, "203.0.113.8": 1}
