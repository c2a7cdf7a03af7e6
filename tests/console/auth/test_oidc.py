"""Signing in to the console with an account elsewhere: real server, real console, small provider; and who tries to abuse it."""

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
from tests.support.console import SIGNED_PASSWORD, Console, add_users, console_over, served_beside
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
    with identity_provider() as it:
        yield it


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, provider: IdentityProvider) -> Settings:
    """A server where who is new becomes a viewer, and whose console's key lies where no home has it."""
    folder = tmp_path_factory.mktemp("elsewhere")
    told = {"oidc_issuer": provider.issuer, "oidc_client_id": CLIENT, "oidc_client_secret": SECRET, "oidc_default_role": "viewer"}
    made = settings_of(folder, console_key_file=str(folder / "shared" / "console.key"), **told)
    add_users(made, boss=Role.ADMIN)
    return made


@pytest.fixture(scope="module")
def server(settings: Settings) -> Iterator[relevo.server.RunningServer]:
    with started(settings) as it:
        yield it


@pytest.fixture(scope="module")
def ours(server: relevo.server.RunningServer, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """Its console; to it the test itself is a proxy, so that it may come from many machines."""
    flags = ("--console-key-file", settings.console_key_file, "--trusted-proxies", "127.0.0.1")
    with console_over(server.url, tmp_path_factory.mktemp("elsewhere-console"), *flags) as it:
        yield it


def browser_of(console: Console) -> httpx.Client:
    return httpx.Client(base_url=console.url, headers=_PAGE, timeout=30)


@contextmanager
def desk_of(told: ConsoleConfig, host: str = "another.example") -> Iterator[httpx.Client]:
    """A browser before the desk of a console that was told so, calling it by that name."""
    with (
        served(Starlette(routes=list(LoginRoutes(ConsoleSessions(told)).routes()))) as address,
        httpx.Client(base_url=address, headers={"host": host}, timeout=30) as browser,
    ):
        yield browser


def gone_and_back(browser: httpx.Client) -> str:
    """Set out at the console and sign in at the provider: the address that leads back to the console, not yet followed."""
    at = browser.get("/sign-in/elsewhere", params={"next": "/models"})
    while not at.headers["location"].startswith(str(browser.base_url.join("/sign-in/back"))):
        at = browser.get(at.headers["location"])
    return str(at.headers["location"])


def words_in(address: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(address).query))


def _is_kept_out(answer: httpx.Response) -> None:
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?said=back")
    assert "relevo_console=" not in answer.headers.get("set-cookie", "")


@pytest.mark.browser
class TestInABrowser:
    """What a person sees."""

    pytestmark = IN_A_BROWSER

    def test_somebody_without_a_password_comes_in(
        self, chromium: Browser, ours: Console, server: relevo.server.RunningServer
    ) -> None:
        """One click on the sign-in page, and they are on the page they wanted; the code is in no address and no Referer after."""
        context = chromium.new_context(locale="en-GB")
        page = context.new_page()
        page.set_default_timeout(30_000)
        told: list[str] = []
        page.on("request", lambda request: told.append(request.headers.get("referer", "")))
        page.goto(f"{ours.url}/traffic")
        page.click("text=Sign in at 127.0.0.1")
        page.wait_for_selector(".rv-who:has-text('ana')")
        assert urlsplit(page.url).path == "/traffic"
        assert "code=" not in page.url
        assert not [one for one in told if "code=" in one]
        cookies = {one["name"]: one for one in context.cookies()}
        assert cookies["relevo_console"]["httpOnly"]
        # Cookies of one host are sent to all of its ports: none of them is a session of the server's own.
        assert set(cookies) <= {"relevo_console", "relevo_oidc"} | {name for name in cookies if "streamlit" in name}
        assert httpx.get(f"{server.url}/me", cookies={one: cookies[one]["value"] for one in cookies}).status_code == 401
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url("**/sign-in")
        context.close()


def test_serve_with_its_console_needs_to_be_told_nothing(tmp_path: Path, provider: IdentityProvider) -> None:
    """`relevo serve --console`: key and addresses are known to both, so the way there and back is open by default."""
    home = Settings(home=tmp_path / ".relevo")
    add_users(home, boss=Role.ADMIN)
    flags = ("--oidc-issuer", provider.issuer, "--oidc-client-id", CLIENT, "--oidc-client-secret", SECRET)
    with served_beside(tmp_path, "--oidc-default-role", "viewer", *flags) as beside, browser_of(beside) as browser:
        done = browser.get(gone_and_back(browser))
        assert (done.status_code, done.headers["location"]) == (303, "/models")
        assert browser.get("/models").status_code == 200
        forged = {"Origin": beside.url, "X-Forwarded-For": "203.0.113.66", "Relevo-Caller": "203.0.113.66"}
        form = {"name": "boss", "password": SIGNED_PASSWORD}
        assert browser.post("/sign-in", data=form, headers=forged).status_code == 303
    store = open_store(home, migrated=True)
    opened = [act.address for act in store.trail.page(limit=20).items if act.action == "session.open"]
    store.engine.dispose()
    assert opened == ["127.0.0.1", "127.0.0.1"], "nobody chooses the address they come from"


def test_the_sign_in_page_shows_the_way_where_there_is_one(ours: Console, console: Console) -> None:
    """It names the provider, keeps where one was going, and shows nothing where the server has none."""
    shown = httpx.get(f"{ours.url}/sign-in", params={"next": "/history?label=3"}).text
    assert "/sign-in/elsewhere?next=%2Fhistory%3Flabel%3D3" in shown
    assert "/sign-in/elsewhere" not in httpx.get(f"{console.url}/sign-in").text


def test_a_way_back_counts_once(ours: Console) -> None:
    """Followed again with the same cookie, as from a history or a log, it lets nobody in."""
    with browser_of(ours) as browser:
        back = gone_and_back(browser)
        tie = dict(browser.cookies)
        done = browser.get(back)
        assert (done.status_code, done.headers["location"]) == (303, "/models")
        assert browser.get("/models").status_code == 200
        browser.cookies.clear()
        browser.cookies.update({name: value for name, value in tie.items() if name == "relevo_console_tie"})
        _is_kept_out(browser.get(back))


def test_nobody_is_signed_in_by_a_strangers_link(ours: Console) -> None:
    """A way back of somebody else's, in a browser that never set out, or set out itself: the victim stays who they were."""
    with browser_of(ours) as stranger, browser_of(ours) as victim:
        link = gone_and_back(stranger)
        _is_kept_out(victim.get(link))
        victim.get("/sign-in/elsewhere")
        _is_kept_out(victim.get(link))
        own = words_in(gone_and_back(victim))
        _is_kept_out(victim.get("/sign-in/back", params={"code": words_in(link)["code"], "state": own["state"]}))
    with browser_of(ours) as victim:
        for query in ("", "code=x", "state=x", "code=x&state=", "code=%00&state=%C0%AF", "state=x&code=" + "x" * 5000):
            _is_kept_out(victim.get(f"/sign-in/back?{query}"))


def test_a_stolen_code_is_worth_nothing(ours: Console, server: relevo.server.RunningServer, settings: Settings) -> None:
    """Shown to the console by the thief's own journey, or to the server without the console's key."""
    with browser_of(ours) as owner, browser_of(ours) as thief:
        code = words_in(gone_and_back(owner))["code"]
        for key in (b"", b"a guess"):
            told = {"code": code, "verifier": "v" * 43, "console": ours.url, "mark": sign(key, Purpose.REDEEM, code, ours.url)}
            assert httpx.post(f"{server.url}/login/console", json=told).status_code == 401
        own = words_in(gone_and_back(thief))
        _is_kept_out(thief.get("/sign-in/back", params={"code": code, "state": own["state"]}))
    assert key_loader(settings.console_key)() != b""


def test_a_code_for_another_console_is_refused(ours: Console, server: relevo.server.RunningServer, settings: Settings) -> None:
    """Two consoles of one server: what was sent to one opens nothing at the other, though all else be right."""
    told = ConsoleConfig(server=server.url, address="http://another.example", key=key_loader(settings.console_key))
    with desk_of(told) as there, browser_of(ours) as browser:
        sent = there.get("/sign-in/elsewhere").headers["location"]
        asked = words_in(sent) | {"to": ours.url}
        texts = tuple(asked[name] for name in ("to", "state", "challenge"))
        assert browser.get(f"{server.url}/login/console?{urlencode(asked)}").status_code == 401, "its mark is for its own address"
        asked["mark"] = sign(key_loader(settings.console_key)(), Purpose.LEAVE, *texts)
        at = browser.get(f"{server.url}/login/console?{urlencode(asked)}")
        while not at.headers["location"].startswith(ours.url):
            at = browser.get(at.headers["location"])
        answer = there.get("/sign-in/back", params=words_in(at.headers["location"]))
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?said=back")
    assert "relevo_console=" not in answer.headers.get("set-cookie", "").replace("relevo_console_tie=", "")


def test_browsers_are_sent_where_they_reach_the_server() -> None:
    """public_url, where the console itself asks another one; and from console_public_url alone, whatever name was called."""
    told = ConsoleConfig(
        server="http://api:8000", public_url="https://models.example", address="https://console.example", key=lambda: b"key"
    )
    with desk_of(told, host="evil.example") as browser:
        first = browser.get("/sign-in/elsewhere", params={"next": "/history"}).headers["location"]
        assert first == "https://console.example/sign-in/elsewhere?here&next=/history"
        there = browser.get("/sign-in/elsewhere?here&next=/history").headers["location"]
    assert there.startswith("https://models.example/login/console?")
    assert parse_qs(urlsplit(there).query)["to"] == ["https://console.example"]


def test_without_the_key_nobody_is_sent_anywhere() -> None:
    """A console that cannot prove itself offers no such way."""
    with desk_of(ConsoleConfig(server="http://127.0.0.1:9")) as browser:
        assert browser.get("/sign-in/elsewhere").headers["location"] == "/sign-in"
        assert "/sign-in/elsewhere" not in browser.get("/sign-in").text


def test_the_key_is_where_the_settings_say(server: relevo.server.RunningServer, settings: Settings) -> None:
    """console_key_file: made by the server, its owner's alone, and what is vouched for under it is believed; nothing else is."""
    path = settings.console_key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not (settings.home / "keys" / "console.key").exists()
    for header, address in (
        (caller_header(key_loader(path)(), "203.0.113.9"), "203.0.113.9"),
        (caller_header(b"a guess", "203.0.113.66"), "127.0.0.1"),
        ("203.0.113.66", "127.0.0.1"),
    ):
        told = {"Relevo-Caller": header, "X-Forwarded-For": "203.0.113.77"}
        body = {"name": "boss", "password": SIGNED_PASSWORD}
        assert httpx.post(f"{server.url}/login", json=body, headers=told, timeout=30).status_code == 200
        store = open_store(settings, migrated=True)
        newest = store.trail.page(limit=1).items[0]
        store.engine.dispose()
        assert (newest.action, newest.address) == ("session.open", address)


def test_each_visitor_of_the_console_has_tries_of_their_own(ours: Console, settings: Settings) -> None:
    """Wrong passwords are counted by the machine that typed them, not by the console's: one visitor locks no other out."""
    for machine in ("203.0.113.7", "203.0.113.7", "203.0.113.8"):
        told = {"Origin": ours.url, "X-Forwarded-For": machine}
        answer = httpx.post(f"{ours.url}/sign-in", data={"name": "boss", "password": "wrong"}, headers=told, timeout=60)
        assert answer.status_code == 401
    store = open_store(settings, migrated=True)
    with read_transaction(store.engine) as connection:
        counted = Counter(connection.scalars(select(sign_in_failures.c.address)).all())
    store.engine.dispose()
    assert counted == {"203.0.113.7": 2, "203.0.113.8": 1}
