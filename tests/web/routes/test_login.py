"""Login over real connections: credentials, session lifetimes, and attacks."""

from __future__ import annotations

import asyncio
import re
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from tests.support.login import PASSWORD, add, code, cookie, signed_in

from relevo.domain.access import Role, Scope
from relevo.domain.audit import LOCAL_ACTOR
from relevo.errors import DatabaseUnavailableError
from relevo.store.auth import password_hash
from relevo.store.auth.sessions import Desk
from relevo.store.auth.users import UserChange
from relevo.web.auth.access_rules import RULES
from relevo.web.auth.guard import Authenticator
from relevo.web.auth.sessions import SessionCache, cookie_name, cookie_value, set_cookie
from relevo.web.routes.login import local_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.support.web_app import World

NOW = datetime.now(UTC)
#: Network of the tests' clients, before any login from it.
GUESSED_FROM = Desk(name="127.0.0.1", is_known=False)
HTML = {"accept": "text/html,application/xhtml+xml"}


def fields(page: str) -> dict[str, str]:
    """Hidden fields of a page's form."""
    return dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page))


def signs_in(address: str, name: str) -> None:
    """Asserts that the login succeeds."""
    with signed_in(address, name):
        pass


# --- login and logout -----------------------------------------------------------------------------------------------------


def test_a_program_signs_in_and_out(client: httpx.Client, address: str, ana: str) -> None:
    """Name and password give a cookie and a CSRF token; after logout the cookie is invalid."""
    response = client.post("/login", json={"name": "ana", "password": PASSWORD})
    assert response.status_code == 200
    assert (
        response.json()["user"] | {"id": ana, "name": "ana", "role": "admin", "auth_method": "session"} == response.json()["user"]
    )
    assert "no-store" in response.headers["cache-control"]
    me = client.get("/me").json()
    assert (me["name"], me["csrf"]) == ("ana", response.json()["csrf"])
    stolen = cookie(client)
    out = client.post("/logout", headers={"origin": address, "x-csrf-token": me["csrf"]})
    assert out.status_code == 204
    assert "Max-Age=0" in out.headers["set-cookie"]
    replayed = httpx.get(f"{address}/me", cookies={"relevo_session": stolen})
    assert code(replayed) == (401, "not_known")


def test_a_browser_signs_in_without_a_script(client: httpx.Client, ana: str) -> None:
    """A page redirects to the login form and back; the logout button works."""
    assert ana
    led = client.get("/?model=churn", headers=HTML)
    assert (led.status_code, led.headers["location"]) == (303, "/login?next=%2F%3Fmodel%3Dchurn")
    form = client.get(led.headers["location"], headers=HTML)
    came = client.post("/login", data={**fields(form.text), "name": "ana", "password": PASSWORD}, headers=HTML)
    assert (came.status_code, came.headers["location"]) == (303, "/?model=churn")
    page = client.get(came.headers["location"], headers=HTML)
    assert page.status_code == 200
    assert "Sign out" in page.text
    assert "Signed in as ana" in client.get("/login").text
    leave = {"csrf": fields(page.text)["csrf"]}
    gone = client.post("/logout", data=leave, headers={**HTML, "sec-fetch-site": "same-origin"})
    assert (gone.status_code, gone.headers["location"]) == (303, "/login")
    assert client.get("/me").status_code == 401


def test_the_form_speaks_both_languages(client: httpx.Client, ana: str) -> None:
    """Errors are in the language of the form, with the user name and never the password."""
    assert ana
    form = client.get("/login?lang=es&next=/docs").text
    assert "Contraseña" in form
    response = client.post("/login?lang=es", data={**fields(form), "name": '"><b>ana', "password": "not hers at all"})
    assert response.status_code == 401
    assert "El nombre o la contraseña" in response.text
    assert 'value="&#34;&gt;&lt;b&gt;ana"' in response.text
    assert "not hers at all" not in response.text
    assert fields(response.text)["next"] == "/docs"


def test_without_users_the_form_says_how_to_make_one(client: httpx.Client) -> None:
    """Without users the page explains how to create one."""
    assert "relevo user add" in client.get("/login").text
    assert code(client.post("/login", json={"name": "ana", "password": PASSWORD})) == (401, "sign_in_refused")
    assert client.get("/me").json()["auth_method"] == "open"


def test_what_is_no_sign_in_is_told_so(client: httpx.Client, ana: str) -> None:
    """Malformed logins are client errors."""
    assert ana
    more = b'{"name":"a","password":"b","role":"admin"}'
    for body in (b"", b"[]", b'{"name": 1, "password": "x"}', b'{"name": "ana"}', more, b"{"):
        response = client.post("/login", content=body, headers={"content-type": "application/json"})
        assert response.status_code in {400, 422}, body


def test_a_program_without_a_session_is_told_how(client: httpx.Client, ana: str) -> None:
    """Programs and scripts get 401 with WWW-Authenticate, no redirect."""
    assert ana
    response = client.get("/models")
    assert (code(response), response.headers["www-authenticate"]) == ((401, "not_known"), 'Bearer realm="relevo"')
    assert client.post("/submit", headers=HTML).headers["location"] == "/login?next=%2F"


# --- session ids ----------------------------------------------------------------------------------------------------------


def test_nobody_chooses_anothers_session(client: httpx.Client, address: str, ana: str) -> None:
    """A session cookie planted before the login is replaced (session fixation)."""
    assert ana
    client.cookies.set("relevo_session", "planted-by-somebody-else")
    response = client.post("/login", json={"name": "ana", "password": PASSWORD})
    given = re.match(r"relevo_session=([^;]+)", response.headers["set-cookie"])
    assert given is not None
    assert given[1] != "planted-by-somebody-else"
    planted = httpx.get(f"{address}/me", cookies={"relevo_session": "planted-by-somebody-else"})
    assert planted.status_code == 401


def test_signing_in_again_ends_the_session_before(client: httpx.Client, address: str, ana: str) -> None:
    """A second login in the same browser closes the first session."""
    assert ana
    with signed_in(address, "ana") as caller:
        first = cookie(caller)
        caller.post("/login", json={"name": "ana", "password": PASSWORD})
        assert cookie(caller) != first
    assert client.get("/me", headers={"cookie": f"relevo_session={first}"}).status_code == 401


def test_a_session_has_another_id_after_a_change_of_rights(world: World, address: str, ana: str) -> None:
    """A role change by oneself renews the session; one by another user ends it."""
    add(world, "boss")
    with signed_in(address, "ana") as caller, signed_in(address, "boss") as boss:
        before = cookie(caller)
        response = caller.patch(f"/users/{ana}", json={"role": "operator"})
        assert response.status_code == 200
        assert cookie(caller) != before
        assert caller.get("/me").json() | {"role": "operator", "csrf": response.headers["x-csrf-token"]} == caller.get("/me").json()
        assert httpx.get(f"{address}/me", cookies={"relevo_session": before}).status_code == 401
        assert boss.patch(f"/users/{ana}", json={"role": "viewer"}).status_code == 200
        time.sleep(0.35)  # the session cache's lifetime
        assert caller.get("/me").status_code == 401


def test_whoever_is_switched_off_is_out(world: World, address: str, ana: str) -> None:
    """Disabling a user ends the session and prevents login."""
    assert ana
    bob = add(world, "bob", Role.VIEWER)
    with signed_in(address, "bob") as caller:
        world.store.users.change_user(bob, UserChange(disabled=True), at=NOW)
        time.sleep(0.35)
        assert caller.get("/me").status_code == 401
        assert code(caller.post("/login", json={"name": "bob", "password": PASSWORD})) == (401, "sign_in_refused")


def test_over_https_only_the_cookie_that_nobody_else_can_set_counts() -> None:
    """Over https the cookie is __Host-, Secure and HttpOnly; the plain cookie is ignored."""
    https = {"scheme": "https", "headers": [(b"cookie", b"relevo_session=planted; __Host-relevo=ours")]}
    http = {"scheme": "http", "headers": https["headers"]}
    assert cookie_value(https, cookie_name(https)) == "ours"
    assert cookie_value(http, cookie_name(http)) == "planted"
    assert set_cookie(https, cookie_name(https), "x") == "__Host-relevo=x; Path=/; HttpOnly; SameSite=Lax; Secure"
    assert set_cookie(http, cookie_name(http), "x") == "relevo_session=x; Path=/; HttpOnly; SameSite=Lax"


# --- CSRF -----------------------------------------------------------------------------------------------------------------


#: Headers that a cross-site page cannot send with a session, or sends differently.
LACKING = [
    {"x-csrf-token": ""},
    {"x-csrf-token": "0" * 64},
    {"x-csrf-token": "é"},
    {"origin": ""},
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": "", "sec-fetch-site": "cross-site"},
    {"origin": "", "sec-fetch-site": "same-site"},
    {"origin": "", "sec-fetch-site": "none"},
]


def test_a_page_elsewhere_changes_nothing(address: str, ana: str) -> None:
    """A session without same-origin Origin, or without CSRF token, changes nothing."""
    with signed_in(address, "ana") as caller, httpx.Client(base_url=address, cookies={"relevo_session": cookie(caller)}) as forger:
        for lacking in LACKING:
            sent = {**caller.headers, **lacking}
            headers = [(name.encode(), value.encode()) for name, value in sent.items() if value]
            response = forger.request("PATCH", f"/users/{ana}", json={"name": "mallory"}, headers=headers)
            assert response.status_code == 403, lacking
            assert response.json()["code"] in {"not_your_page", "forbidden"}
        assert caller.get(f"/users/{ana}").json()["name"] == "ana"


def test_the_token_of_another_session_is_none(world: World, address: str, ana: str) -> None:
    """A CSRF token is valid for its own session only."""
    add(world, "mallory", Role.VIEWER)
    with signed_in(address, "ana") as caller, signed_in(address, "mallory") as mallory:
        headers = {"x-csrf-token": mallory.headers["x-csrf-token"]}
        assert code(caller.patch(f"/users/{ana}", json={}, headers=headers)) == (403, "not_your_page")
        assert caller.patch(f"/users/{ana}", json={}).status_code == 200


def test_the_fetch_header_stands_for_the_origin(address: str, ana: str) -> None:
    """Sec-Fetch-Site: same-origin replaces the Origin header."""
    with signed_in(address, "ana") as caller:
        del caller.headers["origin"]
        assert caller.patch(f"/users/{ana}", json={}, headers={"sec-fetch-site": "same-origin"}).status_code == 200


def test_a_key_needs_no_token(world: World, client: httpx.Client, ana: str) -> None:
    """API keys need no CSRF token, since browsers never send them by themselves."""
    key = world.store.users.add_key(ana, "test", list(Scope), at=NOW)
    world.context.authenticator.access = world.store.users.access_snapshot()
    client.headers["authorization"] = f"Bearer {key}"
    assert client.put("/models/digits/aliases/champion", json={"version": 1, "reason": "test"}).status_code == 200
    client.cookies.set("relevo_session", "anybodys")
    assert client.get("/me").json()["auth_method"] == "key", "what is said aloud counts before what comes along"


@pytest.mark.parametrize("rule", [one for one in RULES if one.csrf_in_form and one.path != "/submit"], ids=lambda rule: rule.path)
def test_every_form_carries_the_token(address: str, ana: str, rule: Any) -> None:
    """Routes with `csrf_in_form` require the session's CSRF token in the form.

    /submit, which FastAPI does not handle, is covered in test_permissions.
    """
    assert ana
    with signed_in(address, "ana") as caller:
        token = caller.headers.pop("x-csrf-token")
        for csrf, refused in ((None, True), ("0" * 64, True), (token, False)):
            response = caller.request(
                rule.method, rule.path, data={"query_id": "x", "value": "x", **({"csrf": csrf} if csrf else {})}
            )
            assert (response.status_code == 403) is refused, (csrf, response.text)


def test_a_sign_in_form_is_for_the_browser_that_asked_for_it(client: httpx.Client, address: str, ana: str) -> None:
    """Login CSRF: the form needs the browser's cookie and its token."""
    assert ana
    mine = fields(client.get("/login").text)
    with httpx.Client(base_url=address) as victim:
        given = {**mine, "name": "ana", "password": PASSWORD}
        assert victim.post("/login", data=given).status_code == 403
        victim.get("/login")
        assert victim.post("/login", data=given).status_code == 403
        assert victim.post("/login", data=given, headers={"origin": "https://evil.example"}).status_code == 403
        assert "relevo_session" not in victim.cookies
        # A cross-site request without preflight cannot have the content type of JSON.
        body = b'{"name":"ana","password":"correct horse battery"}'
        plain = victim.post("/login", content=body, headers={"content-type": "text/plain"})
        assert plain.status_code in {400, 403, 415, 422}
        assert "relevo_session" not in victim.cookies
    assert client.post("/login", data=given).status_code == 303


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/a\r\nset-cookie: x=y",
        "javascript:alert(1)",
        "evil",
        "",
        None,
        "/login",
        "/" + "a" * 3000,
        "/ñ",
    ],
)
def test_the_way_back_leads_nowhere_else(elsewhere: str | None) -> None:
    """The redirect after login stays on this server."""
    assert local_path(elsewhere) == "/"


def test_the_way_back_is_kept() -> None:
    """A local path with its query is preserved."""
    assert local_path("/predictions?model=digits&limit=5") == "/predictions?model=digits&limit=5"


# --- password guessing -------------------------------------------------------------------------------------------------------------


def mistyped(world: World, name: str) -> None:
    """Enough wrong attempts from this machine for a wait of a minute, so that a slow machine does not matter."""
    at = datetime.now(UTC) - timedelta(seconds=200)
    for pause in (0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60):
        at += timedelta(seconds=pause)
        world.store.users.sessions.register_attempt(name, GUESSED_FROM, at=at)


def test_guessing_is_slowed_and_nobody_else_waits(world: World, address: str, ana: str) -> None:
    """After five wrong attempts, the right password must wait too, from that address; other accounts do not."""
    assert ana
    add(world, "bob", Role.VIEWER)
    with httpx.Client(base_url=address) as guesser:
        wrong = [guesser.post("/login", json={"name": "bob", "password": f"wrong guess {one}"}) for one in range(5)]
        assert {code(told) for told in wrong} == {(401, "sign_in_refused")}
        mistyped(world, "ana")
        told = guesser.post("/login", json={"name": "ana", "password": PASSWORD})
        assert code(told) == (429, "too_many_failures")
        assert 20 < int(told.headers["retry-after"]) <= 60
        page = guesser.get("/login")
        by_form = guesser.post("/login", data={**fields(page.text), "name": "ana", "password": PASSWORD})
        assert by_form.status_code == 429
        assert 20 < int(by_form.headers["retry-after"]) <= 60
    add(world, "carol", Role.VIEWER)
    signs_in(address, "carol")
    world.store.users.sessions.reset_attempts("ana", GUESSED_FROM)
    signs_in(address, "ana")


def test_a_browser_that_was_here_before_does_not_wait_for_its_neighbours(world: World, address: str, ana: str) -> None:
    """Attempts from the same network delay new browsers, not one with a device cookie."""
    assert ana
    with signed_in(address, "ana") as mine, httpx.Client(base_url=address) as guesser:
        mistyped(world, "ana")
        assert guesser.post("/login", json={"name": "ana", "password": PASSWORD}).status_code == 429
        assert mine.post("/login", json={"name": "ana", "password": PASSWORD}).status_code == 200
        # The device cookie grants no access, is bound to one user, and cannot be forged.
        kept = str(mine.cookies["relevo_known"])
        for cookies in ({"relevo_known": kept}, {"relevo_session": kept}):
            assert httpx.get(f"{address}/me", cookies=cookies).status_code == 401
        for made_up in (kept[:-1] + ("0" if kept[-1] != "0" else "1"), "x", ".", "é"):
            response = httpx.post(
                f"{address}/login",
                json={"name": "ana", "password": PASSWORD},
                headers=[(b"cookie", b"relevo_known=" + made_up.encode())],
            )
            assert response.status_code == 429


def test_a_browser_that_was_here_before_guesses_no_more_than_others(address: str, ana: str) -> None:
    """A browser with a device cookie has five attempts, too."""
    assert ana
    with signed_in(address, "ana") as mine:
        told = [mine.post("/login", json={"name": "ana", "password": f"wrong guess {one}"}).status_code for one in range(6)]
    assert told[:5] == [401] * 5
    assert told[5] in {401, 429}, "a second may have passed"


def test_guesses_at_once_are_counted_all(address: str, ana: str) -> None:
    """Concurrent attempts are all counted."""
    assert ana
    with httpx.Client(base_url=address, timeout=30) as guesser, ThreadPoolExecutor(12) as pool:
        given = [{"name": "ana", "password": f"wrong guess {number}"} for number in range(12)]
        told = [one.status_code for one in pool.map(lambda body: guesser.post("/login", json=body), given)]
    assert told.count(401) <= 6
    assert told.count(401) + told.count(429) == 12


def test_who_there_is_cannot_be_told_from_the_time(world: World, address: str, ana: str) -> None:
    """Unknown names take as long as known ones and give the same message."""
    assert ana
    for number in range(7):
        add(world, f"user {number}", Role.VIEWER)

    def refused(name: str) -> tuple[float, str]:
        begin = time.perf_counter()
        told = caller.post("/login", json={"name": name, "password": "wrong password"})
        return time.perf_counter() - begin, told.json()["error"]

    with httpx.Client(base_url=address) as caller:
        refused("warm up")
        pairs = [(refused(f"user {number}"), refused(f"nobody {number}")) for number in range(7)]
    assert len({said for pair in pairs for _, said in pair}) == 1
    somebody, nobody = (statistics.median(took for took, _ in side) for side in zip(*pairs, strict=True))
    assert 0.5 < nobody / somebody < 2, (somebody, nobody)


def test_an_enormous_password_is_not_hashed(address: str, ana: str) -> None:
    """An overlong password is rejected without hashing it."""
    assert ana
    told = httpx.post(f"{address}/login", json={"name": "ana", "password": "x" * 500_000})
    assert code(told) == (401, "sign_in_refused")


@pytest.mark.parametrize("form", [{"password": "%" * 2**16}, {f"f{number}": "" for number in range(50)}])
def test_an_enormous_form_is_not_read(address: str, form: dict[str, str]) -> None:
    """An overlong form is rejected without parsing it."""
    response = httpx.post(f"{address}/login", data=form, headers={"origin": address})
    assert response.status_code == 413


def test_a_password_of_other_days_is_kept_anew(world: World, address: str, ana: str) -> None:
    """A password hash with old parameters is updated at login."""
    from argon2 import PasswordHasher

    weak = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(PASSWORD.encode())
    world.store.users.set_password(ana, weak, at=NOW)
    signs_in(address, "ana")
    now_kept = world.store.users.sign_in("ana")[1]
    assert now_kept is not None
    assert now_kept != weak
    assert not password_hash.needs_rehash(now_kept)
    signs_in(address, "ana")


def test_a_flood_of_sign_ins_holds_nobody_up(address: str, ana: str) -> None:
    """During a flood of logins other requests are answered, and excess logins are rejected."""
    assert ana
    with httpx.Client(base_url=address, timeout=30) as guesser, ThreadPoolExecutor(20) as pool:
        given = [{"name": f"n{number}", "password": "wrong password"} for number in range(40)]
        flood = [pool.submit(guesser.post, "/login", json=body) for body in given]
        took = []
        while not all(one.done() for one in flood):
            begin = time.perf_counter()
            assert guesser.get("/health/live").status_code == 200
            took.append(time.perf_counter() - begin)
        told = {one.result().status_code for one in flood}
    assert told == {401, 503}
    assert statistics.median(took) < 0.25, took


@contextmanager
def flooded(address: str, names: Sequence[str]) -> Iterator[None]:
    """Ninety addresses that try passwords concurrently and repeatedly while the block runs."""
    ended = threading.Event()

    def guess(number: int) -> None:
        transport = httpx.HTTPTransport(local_address=f"127.0.1.{number}")
        with httpx.Client(base_url=address, timeout=60, transport=transport) as guesser:
            while not ended.is_set():
                guesser.post("/login", json={"name": names[number % len(names)], "password": "wrong password"})

    with ThreadPoolExecutor(90) as pool:
        for number in range(1, 91):
            pool.submit(guess, number)
        try:
            with httpx.Client(base_url=address, timeout=60, transport=httpx.HTTPTransport(local_address="127.0.2.1")) as stranger:
                end = time.monotonic() + 30
                while stranger.post("/login", json={"name": "nobody", "password": "wrong password"}).status_code != 503:
                    assert time.monotonic() < end, "the flood never filled the line"
            yield
        finally:
            ended.set()


def test_a_flood_of_sign_ins_does_not_lock_the_owner_out(world: World, address: str, ana: str) -> None:
    """Device cookie, network or key let the right password in at once during a flood."""
    key = world.store.users.add_key(ana, "mine", [Scope.PREDICT], at=datetime.now(UTC))
    world.context.authenticator.access = world.store.users.access_snapshot()
    known = {"authorization": f"Bearer {key}"}
    with signed_in(address, "ana") as mine:
        kept = mine.cookies["relevo_known"]
    right: dict[str, Any] = {"json": {"name": "ana", "password": PASSWORD}}
    elsewhere = partial(httpx.HTTPTransport, local_address="127.0.3.1")
    with flooded(address, ["ana", "bob", "x"]), httpx.Client(base_url=address, timeout=60) as home:
        assert home.post("/login", **right).status_code == 200, "her own network"
        with httpx.Client(base_url=address, timeout=60, transport=elsewhere()) as away:
            assert away.post("/login", headers={"cookie": f"relevo_known={kept}"}, **right).status_code == 200, "her own browser"
            assert away.post("/login", headers=known, **right).status_code == 200, "a key of hers"
            assert away.get("/me", headers=known).status_code == 200


def test_who_tried_is_told_without_what_was_typed(world: World, address: str, ana: str) -> None:
    """Admins see user, address, reason and count of rejected logins, never a password typed as a name."""
    add(world, "bob", Role.OPERATOR)
    secret = "my secret password"  # noqa: S105 - what somebody types in the wrong field
    with httpx.Client(base_url=address) as guesser:
        for name in ("ana", "ANA", secret, secret):
            guesser.post("/login", json={"name": name, "password": "wrong guess"})
        mistyped(world, "ana")
        guesser.post("/login", json={"name": "ana", "password": PASSWORD})
    with signed_in(address, "bob") as caller:
        assert caller.get("/audit/sign-ins").status_code == 403
    world.store.users.sessions.reset_attempts("ana", GUESSED_FROM)
    with signed_in(address, "ana") as caller:
        told = caller.get("/audit/sign-ins").json()["items"]
    assert [(one["user"], one["name"], one["reason"], one["tries"], one["address"]) for one in told] == [
        (ana, "ana", "waiting", 1, "127.0.0.1"),
        (None, None, "unknown_name", 2, "127.0.0.1"),
        (ana, "ana", "wrong_password", 2, "127.0.0.1"),
    ]
    assert "secret" not in str(told)


@pytest.mark.usefixtures("ana")
def test_no_password_is_hashed_to_predict(world: World, address: str, ana: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither sessions nor keys run argon2 after the login."""
    key = world.store.users.add_key(ana, "test", [Scope.PREDICT], at=NOW)
    world.context.authenticator.access = world.store.users.access_snapshot()
    with signed_in(address, "ana") as caller:
        monkeypatch.setattr(password_hash, "_hasher", lambda: pytest.fail("a password was hashed"))
        record = {"tenure": 3, "monthlycharges": 20.0, "contract": "one_year", "paperless": True}
        assert caller.post("/models/churn/predict", json=record).status_code == 200
        response = httpx.post(f"{address}/models/churn/predict", json=record, headers={"authorization": f"Bearer {key}"})
        assert response.status_code == 200


# --- database unavailable -------------------------------------------------------------------------------------------------


def test_a_session_just_seen_outlives_the_store(world: World, ana: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the database is unavailable, cached sessions work and unknown ones are rejected."""
    people = world.store.users
    token = people.sessions.open(ana, at=NOW, by=LOCAL_ACTOR)
    door = Authenticator(people.access_snapshot(), sessions=SessionCache(people.sessions, lambda: NOW))

    def who(cookie: str) -> str:
        scope = {"scheme": "http", "headers": [(b"cookie", f"relevo_session={cookie}".encode())], "method": "GET"}
        return asyncio.run(door.authenticate(scope)).name

    assert who(token) == "ana"
    monkeypatch.setattr(type(people.sessions), "find", _away)
    monkeypatch.setattr("relevo.web.auth.sessions._CACHE_TTL_S", 0.0)
    assert who(token) == "ana"
    with pytest.raises(DatabaseUnavailableError):
        who("another")
    monkeypatch.setattr("relevo.web.auth.sessions._OFFLINE_CACHE_TTL_S", 0.0)
    with pytest.raises(DatabaseUnavailableError):
        who(token)


def _away(*_: object, **__: object) -> None:
    raise DatabaseUnavailableError
