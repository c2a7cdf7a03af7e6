"""Console login: only for known consoles, by a single-use code that is bound to console and browser."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest

pytest.importorskip("authlib", reason="the library that speaks with identity providers is not installed")

from tests.support.identity_provider import CLIENT, SECRET, IdentityProvider
from tests.support.web_app import build_world, served

from relevo.config import Settings
from relevo.domain.access import Role
from relevo.store.auth.users import UserChange
from relevo.testing import memory_store
from relevo.util.hmac_signing import Purpose, sign
from relevo.web.app import build_app
from relevo.web.auth.oidc import Provider
from relevo.web.context import utc_now

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.web_app import World

KEY = bytes(range(32))
CONSOLE = "http://127.0.0.1:8501"
STATE = "s" * 43
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
PAGE = {"accept": "text/html"}


@pytest.fixture
def late() -> list[timedelta]:
    """Offset of the clock."""
    return [timedelta()]


@pytest.fixture
def world(provider: IdentityProvider, late: list[timedelta]) -> Iterator[World]:
    """A world with an admin and a console key, where new accounts become viewers."""
    settings = Settings(oidc_issuer=provider.issuer, oidc_client_id=CLIENT, oidc_client_secret=SECRET, oidc_default_role="viewer")
    more: dict[str, Any] = {"settings": settings, "provider": Provider(settings), "console_key": KEY}
    with memory_store() as store:
        store.users.add_user("boss", Role.ADMIN, at=utc_now())
        built = build_world(store, [])
        yield dataclasses.replace(built, context=dataclasses.replace(built.context, now=lambda: utc_now() + late[0], **more))


@pytest.fixture
def address(world: World) -> Iterator[str]:
    with served(build_app(world.context)) as where:
        yield where


@pytest.fixture
def browser(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, headers=PAGE, timeout=10, follow_redirects=False) as it:
        yield it


def leaving(to: str = CONSOLE, state: str = STATE, challenge: str = CHALLENGE, *, key: bytes = KEY, **other: str) -> str:
    """The URL to which a console redirects a browser."""
    told = {"to": to, "state": state, "challenge": challenge, "mark": sign(key, Purpose.LEAVE, to, state, challenge)}
    return "/login/console?" + urlencode(told | other)


def come_back(browser: httpx.Client, path: str | None = None) -> httpx.Response:
    """Logs in at the provider; returns to the server."""
    sent = browser.get(path or leaving())
    assert sent.status_code == 303, sent.text
    return browser.get(str(httpx.get(sent.headers["location"]).headers["location"]))


def code_of(answer: httpx.Response) -> str:
    assert answer.status_code == 303, answer.text
    there = urlsplit(answer.headers["location"])
    assert f"{there.scheme}://{there.netloc}{there.path}" == f"{CONSOLE}/sign-in/back"
    told = dict(parse_qsl(there.query))
    assert told["state"] == STATE
    return told["code"]


def redeem(address: str, code: str, *, console: str = CONSOLE, verifier: str = VERIFIER, key: bytes = KEY) -> httpx.Response:
    told = {"code": code, "verifier": verifier, "console": console, "mark": sign(key, Purpose.REDEEM, code, console)}
    return httpx.post(f"{address}/login/console", json=told)


def _is_refused(answer: httpx.Response) -> None:
    assert (answer.status_code, answer.json()["code"]) == (401, "proof_refused")
    assert "set-cookie" not in answer.headers


def test_who_signs_in_there_is_handed_over_to_the_console(browser: httpx.Client, address: str, world: World) -> None:
    """The code gives the console a session of the user; the browser gets none of the server."""
    back = come_back(browser)
    assert "relevo_session" not in str(back.headers)
    assert browser.get("/me", headers={"accept": "application/json"}).status_code == 401
    done = redeem(address, code_of(back))
    assert (done.status_code, done.json()["user"]["name"]) == (200, "ana")
    with httpx.Client(base_url=address, cookies={"relevo_session": done.cookies["relevo_session"]}) as console:
        assert console.get("/me").json()["csrf"] == done.json()["csrf"]
    acts = [act.action for act in world.store.audit_reader.page(limit=5).items]
    assert acts.count("session.open") == 1


def test_a_code_counts_once(browser: httpx.Client, address: str) -> None:
    """A code cannot be redeemed twice."""
    code = code_of(come_back(browser))
    assert redeem(address, code).status_code == 200
    _is_refused(redeem(address, code))


def test_a_code_counts_for_a_minute(browser: httpx.Client, address: str, late: list[timedelta]) -> None:
    """A code expires after a minute."""
    code = code_of(come_back(browser))
    late[0] = timedelta(seconds=61)
    _is_refused(redeem(address, code))


def test_a_code_counts_for_its_console(browser: httpx.Client, address: str) -> None:
    """A code for another console, or without a valid signature, is rejected and consumed."""
    _is_refused(redeem(address, code_of(come_back(browser)), console="http://127.0.0.1:9999"))
    code = code_of(come_back(browser))
    _is_refused(redeem(address, code, key=b"another key"))
    assert redeem(address, code).status_code == 200, "without the key it was not even looked at"


def test_a_code_counts_for_the_browser_that_set_out(browser: httpx.Client, address: str) -> None:
    """A stolen code is rejected in another browser, whose secret differs."""
    code = code_of(come_back(browser))
    _is_refused(redeem(address, code, verifier="t" * 43))
    _is_refused(redeem(address, code))


@pytest.mark.parametrize(
    "path",
    [
        "/login/console",
        leaving(key=b"another key"),
        leaving(key=b""),
        leaving(mark="0" * 64),
        leaving("https://evil.example", mark=sign(KEY, Purpose.LEAVE, CONSOLE, STATE, CHALLENGE)),
        leaving(challenge="e" * 43, mark=sign(KEY, Purpose.LEAVE, CONSOLE, STATE, CHALLENGE)),
        leaving("https://console.example/path"),
        leaving("https://console.example@evil.example"),
        leaving("javascript:alert(1)"),
        leaving("//evil.example"),
        leaving("https://console.example\r\nset-cookie: x=y"),
        leaving(state="short"),
        leaving(challenge=""),
    ],
)
def test_nobody_is_sent_to_a_strangers_address(browser: httpx.Client, path: str, provider: IdentityProvider) -> None:
    """Without a valid signature or console URL, the browser is not redirected to the provider."""
    answer = browser.get(path)
    assert answer.status_code == 401
    assert 'role="alert"' in answer.text
    assert provider.asked == []


def test_the_way_back_cannot_be_named_by_others(browser: httpx.Client) -> None:
    """`next` cannot start a console login, even with a valid signature."""
    back = come_back(browser, "/login/oidc?" + urlencode({"next": leaving()}))
    assert back.headers["location"] == "/"


def test_who_is_switched_off_on_the_way_stays_out(browser: httpx.Client, address: str, world: World) -> None:
    """A user disabled between code and redemption is rejected."""
    code = code_of(come_back(browser))
    people = world.store.users
    people.change_user(people.get_by_name("ana").id, UserChange(disabled=True), at=utc_now())
    _is_refused(redeem(address, code))


def test_a_console_learns_where_else_people_sign_in(address: str, provider: IdentityProvider, world: World) -> None:
    """The provider's name, or null; without a provider codes cannot be redeemed."""
    assert httpx.get(f"{address}/login/elsewhere").json() == {"provider": urlsplit(provider.issuer).hostname}
    with served(build_app(dataclasses.replace(world.context, provider=None))) as alone:
        assert httpx.get(f"{alone}/login/elsewhere").json() == {"provider": None}
        assert httpx.get(alone + leaving()).status_code == 404
        assert redeem(alone, "x").status_code == 404


def test_what_is_no_hand_over_is_told(address: str) -> None:
    """Malformed redemptions give 400."""
    for body in (b"", b"\xff", b"[]", b'{"code": 1}', b"[" * 10_000):
        answer = httpx.post(f"{address}/login/console", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 400, body
