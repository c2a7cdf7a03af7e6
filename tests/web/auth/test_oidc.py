"""OpenID Connect login: a callback is accepted only if all checks pass, and only once."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

pytest.importorskip("authlib", reason="the library that speaks with identity providers is not installed")

from tests.support.identity_provider import (
    CLIENT,
    SECRET,
    IdentityProvider,
    signed_by_somebody_else,
    signed_with_the_secret,
    unsigned,
)
from tests.support.server import running, settings_of
from tests.support.web_app import build_world, served

import relevo.server
from relevo.config import Settings
from relevo.domain.access import Role
from relevo.store.auth.oidc_logins import ExternalIdentity
from relevo.store.auth.users import UserChange
from relevo.testing import memory_store
from relevo.web.app import build_app
from relevo.web.auth.oidc import Provider, is_https_or_local
from relevo.web.context import utc_now

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.web_app import World

PAGE = {"accept": "text/html"}


@pytest.fixture
def world(provider: IdentityProvider) -> Iterator[World]:
    """A world with an admin, where new accounts become viewers."""
    settings = Settings(oidc_issuer=provider.issuer, oidc_client_id=CLIENT, oidc_client_secret=SECRET, oidc_default_role="viewer")
    with memory_store() as store:
        store.users.add_user("boss", Role.ADMIN, at=utc_now())
        built = build_world(store, [])
        yield dataclasses.replace(built, context=dataclasses.replace(built.context, settings=settings, provider=Provider(settings)))


@pytest.fixture
def address(world: World) -> Iterator[str]:
    with served(build_app(world.context)) as where:
        yield where


@pytest.fixture
def browser(address: str) -> Iterator[httpx.Client]:
    """A browser that follows redirects."""
    with httpx.Client(base_url=address, headers=PAGE, timeout=10, follow_redirects=False) as it:
        yield it


def callback_of(browser: httpx.Client, path: str = "/login/oidc") -> str:
    """Logs in at the provider; returns the callback URL."""
    sent = browser.get(path)
    assert sent.status_code == 303, sent.text
    back = httpx.get(sent.headers["location"])
    return str(back.headers["location"])


def signed_in(browser: httpx.Client) -> httpx.Response:
    return browser.get(callback_of(browser))


def test_who_signs_in_there_is_signed_in_here(browser: httpx.Client, provider: IdentityProvider, world: World) -> None:
    """A new account gets a user with the default role, a session and its target page; the next login finds the same user."""
    done = browser.get(callback_of(browser, "/login/oidc?next=/predictions%3Flimit%3D5"))
    assert (done.status_code, done.headers["location"]) == (303, "/predictions?limit=5")
    body = browser.get("/me", headers={"accept": "application/json"}).json()
    assert (body["name"], body["role"], body["auth_method"]) == ("ana", "viewer", "session")
    browser.cookies.clear()
    provider.person["preferred_username"] = "renamed"
    assert signed_in(browser).status_code == 303
    assert browser.get("/me").json()["id"] == body["id"]
    assert [user.name for user in world.store.users.iter_all()] == ["ana", "boss"]


def test_what_the_provider_is_asked(browser: httpx.Client, provider: IdentityProvider) -> None:
    """The request has an S256 challenge and 256-bit state and nonce; the client secret is sent in a header, never by the browser."""
    signed_in(browser)
    asked, taken = provider.asked[0], provider.taken[0]
    assert (asked["response_type"], asked["client_id"], asked["code_challenge_method"]) == ("code", CLIENT, "S256")
    assert asked["scope"].split()[0] == "openid"
    assert all(len(asked[name]) >= 43 for name in ("state", "nonce", "code_challenge"))
    assert len(taken["code_verifier"]) >= 43
    assert SECRET not in str(asked)
    assert "client_secret" not in taken


def test_a_token_for_another_is_refused(browser: httpx.Client, provider: IdentityProvider, world: World) -> None:
    """A foreign nonce, audience or issuer, an expired token or a foreign signature creates no user and no session."""
    for claims in ({"nonce": "another"}, {"aud": "another"}, {"iss": "https://another.example"}, {"exp": 1}, {"sub": None}):
        provider.claims = claims
        _refused(browser, signed_in(browser), world)
    provider.claims = {}
    for sign in (unsigned, signed_with_the_secret, signed_by_somebody_else):
        provider.sign = sign
        _refused(browser, signed_in(browser), world)


def _refused(browser: httpx.Client, done: httpx.Response, world: World, code: int = 401) -> None:
    assert done.status_code == code
    assert 'role="alert"' in done.text
    assert browser.get("/me", headers={"accept": "application/json"}).status_code == 401
    assert [user.name for user in world.store.users.iter_all()] == ["boss"]


def test_a_way_back_is_gone_once(browser: httpx.Client, provider: IdentityProvider) -> None:
    """A state is accepted once; a repeated callback does not reach the provider."""
    back = callback_of(browser)
    tie = dict(browser.cookies)
    assert browser.get(back).status_code == 303
    browser.cookies.update(tie)
    count = len(provider.taken)
    assert browser.get(back).status_code == 401
    assert len(provider.taken) == count


def test_a_code_that_was_used_is_refused(browser: httpx.Client, provider: IdentityProvider, world: World) -> None:
    """A code that has been redeemed is rejected, even with a fresh state."""
    spent = dict(parse_qsl(urlsplit(callback_of(browser)).query))["code"]
    provider.codes.clear()
    fresh = dict(parse_qsl(urlsplit(callback_of(browser)).query))["state"]
    _refused(browser, browser.get("/login/oidc/callback", params={"code": spent, "state": fresh}), world)


def test_another_persons_code_is_refused(browser: httpx.Client, address: str, world: World) -> None:
    """A code does not match the PKCE challenge of another browser."""
    stolen = dict(parse_qsl(urlsplit(callback_of(browser)).query))["code"]
    with httpx.Client(base_url=address, headers=PAGE) as thief:
        own = dict(parse_qsl(urlsplit(callback_of(thief)).query))["state"]
        _refused(thief, thief.get("/login/oidc/callback", params={"code": stolen, "state": own}), world)


def test_nobody_is_signed_in_by_a_strangers_link(browser: httpx.Client, address: str, world: World) -> None:
    """A callback URL opened in another browser is rejected, with or without a login attempt of its own."""
    link = callback_of(browser)
    with httpx.Client(base_url=address, headers=PAGE) as victim:
        _refused(victim, victim.get(link), world)
        callback_of(victim)
        _refused(victim, victim.get(link), world)


def test_a_broken_way_back_is_refused(browser: httpx.Client, provider: IdentityProvider, world: World) -> None:
    """Missing, repeated or wrong callback parameters are reported on the login page."""
    for query in (
        "",
        "code=x",
        "state={state}",
        "state={state}&error=access_denied",
        "state={state}&code=x&iss=https%3A%2F%2Fanother.example",
        "state={state}&state={state}&code=x",
        "state={state}&code=x&code=y",
        "state=%00&code=x",
        "state=%C0%AF&code=%00",
        "state={state}&code=x&error=access_denied",
        "state={state}&code=" + "x" * 5000,
    ):
        state = dict(parse_qsl(urlsplit(callback_of(browser)).query))["state"]
        _refused(browser, browser.get("/login/oidc/callback?" + query.replace("{state}", state)), world)
    assert not provider.taken, "the provider is asked about none of them"


def test_a_provider_that_promises_its_name_must_give_it(browser: httpx.Client, provider: IdentityProvider, world: World) -> None:
    """RFC 9207: a missing `iss` is rejected if the provider announces it."""
    provider.about = {"authorization_response_iss_parameter_supported": True}
    back = callback_of(browser)
    _refused(browser, browser.get(back), world)
    assert browser.get(callback_of(browser) + f"&iss={provider.issuer}").status_code == 303


def test_too_late_is_refused(world: World, provider: IdentityProvider) -> None:
    """A login attempt expires after ten minutes."""
    from datetime import timedelta

    late = timedelta()
    context = dataclasses.replace(world.context, now=lambda: utc_now() + late)
    with served(build_app(context)) as address, httpx.Client(base_url=address, headers=PAGE) as browser:
        back = callback_of(browser)
        late = timedelta(minutes=10, seconds=1)
        _refused(browser, browser.get(back), world)
    assert not provider.taken


def test_a_new_key_of_the_provider_is_read(browser: httpx.Client, provider: IdentityProvider, world: World) -> None:
    """An unknown kid causes the keys to be fetched again, at a limited rate."""
    assert signed_in(browser).status_code == 303
    provider.new_key()
    assert signed_in(browser).status_code == 401, "keys were read a moment ago"
    reads = provider.jwks_reads
    known = world.context.provider
    assert known is not None
    assert known._cached_keys is not None
    known._cached_keys = (time.monotonic() - 11, known._cached_keys[1])
    assert signed_in(browser).status_code == 303
    assert provider.jwks_reads == reads + 1


def test_a_provider_that_is_not_itself_is_not_used(browser: httpx.Client, provider: IdentityProvider) -> None:
    """A wrong issuer, a plain-http URL or an endless document gives 503 without a redirect."""
    for about in (
        {"issuer": "https://another.example"},
        {"token_endpoint": "http://another.example/token"},
        {"jwks_uri": "file:///etc/passwd"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"jwks_uri": None},
        {"padding": "x" * 2**21},
    ):
        provider.about = about
        assert browser.get("/login/oidc").status_code == 503, about
    assert browser.get("/login/oidc", headers={"accept": "application/json"}).json()["code"] == "provider_away"


def test_a_provider_that_is_away_keeps_nobody_else_out(world: World) -> None:
    """If the provider is unavailable, the page says so, and password login works."""
    settings = Settings(oidc_issuer="http://127.0.0.1:9", oidc_client_id=CLIENT)
    context = dataclasses.replace(world.context, settings=settings, provider=Provider(settings))
    with served(build_app(context)) as address, httpx.Client(base_url=address, headers=PAGE) as browser:
        assert browser.get("/login/oidc").status_code == 503
        assert browser.get("/login").status_code == 200


def test_who_is_switched_off_stays_out(browser: httpx.Client, world: World) -> None:
    """A disabled user cannot log in, and no second user is created."""
    signed_in(browser)
    people = world.store.users
    people.change_user(people.get_by_name("ana").id, UserChange(disabled=True), at=utc_now())
    browser.cookies.clear()
    assert signed_in(browser).status_code == 401
    assert len(list(people.iter_all())) == 2


def test_where_nobody_is_made_an_account_must_be_linked(world: World, provider: IdentityProvider) -> None:
    """With oidc_default_role = nobody, an account must be linked to a user; its names do not matter."""
    settings = dataclasses.replace(world.context.settings, oidc_default_role="nobody")
    people = world.store.users
    app = build_app(dataclasses.replace(world.context, settings=settings))
    with served(app) as address, httpx.Client(base_url=address, headers=PAGE) as browser:
        _refused(browser, signed_in(browser), world)
        people.elsewhere.link_user(
            people.get_by_name("boss").id, ExternalIdentity(issuer=provider.issuer, subject="7"), at=utc_now()
        )
        assert signed_in(browser).status_code == 303
        assert browser.get("/me").json()["name"] == "boss"
        people.elsewhere.link_user(
            people.get_by_name("boss").id, ExternalIdentity(issuer=provider.issuer, subject="8"), at=utc_now()
        )
        time.sleep(0.4)
        assert browser.get("/me", headers={"accept": "application/json"}).status_code == 401, (
            "linked to another, the session is over"
        )


def test_names_that_are_taken_are_not_taken_over(browser: httpx.Client, provider: IdentityProvider, world: World) -> None:
    """An account with the name of an existing user becomes a different user."""
    provider.person = {"sub": "8", "preferred_username": "boss", "email": "boss@example.org"}
    assert signed_in(browser).status_code == 303
    me = browser.get("/me").json()
    assert (me["name"], me["role"]) == ("boss@example.org", "viewer")
    assert world.store.users.get_by_name("boss").role is Role.ADMIN


def test_the_session_is_a_new_one(browser: httpx.Client) -> None:
    """Login ignores a session cookie planted before it."""
    browser.cookies.set("relevo_session", "laid-there-by-somebody")
    done = signed_in(browser)
    assert done.status_code == 303
    assert "laid-there" not in str(done.headers)
    assert "HttpOnly" in done.headers["set-cookie"]


def test_journeys_of_one_address_are_bounded(browser: httpx.Client, world: World) -> None:
    """Pending login attempts of one address are limited, and `next` has a maximum length."""
    from sqlalchemy import text

    for _ in range(25):
        browser.get("/login/oidc?next=//evil.example")
    with world.store.engine.connect() as connection:
        rows = connection.execute(text("SELECT back FROM oidc_login_attempts")).all()
    assert len(rows) == 20
    assert {row.back for row in rows} == {"/"}


def test_what_is_safe() -> None:
    """URLs with https, or with a loopback host, are accepted."""
    assert is_https_or_local("https://id.example/realms/one")
    assert is_https_or_local("http://localhost:8080")
    assert not any(
        is_https_or_local(one) for one in ("http://id.example", "http://127.0.0.1.example", "ftp://x", "//x", "", "https://")
    )


def test_the_settings_reach_the_server(tmp_path: Path, provider: IdentityProvider) -> None:
    """oidc_issuer, oidc_client_id, oidc_client_secret and oidc_default_role take effect in a real server."""
    store = relevo.server.open_store(settings_of(tmp_path))
    store.users.add_user("boss", Role.ADMIN, at=utc_now())
    store.engine.dispose()
    told = {"oidc_issuer": provider.issuer, "oidc_client_id": CLIENT, "oidc_client_secret": SECRET, "oidc_default_role": "labeler"}
    with running(tmp_path, **told) as server, httpx.Client(base_url=server.url, headers=PAGE) as browser:
        assert 'href="/login/oidc?next=' in browser.get("/login").text
        assert signed_in(browser).status_code == 303
        assert browser.get("/me").json()["role"] == "labeler"
