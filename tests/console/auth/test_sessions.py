"""Who is signed in to a console, against a server that answers what the test says."""

from __future__ import annotations

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar

import httpx
import pytest
from starlette.applications import Starlette

from relevo.console.auth.login import LoginRoutes
from relevo.console.auth.sessions import ConsoleConfig, ConsoleSessions
from relevo.errors import InvalidCredentialsError

if TYPE_CHECKING:
    from collections.abc import Iterator

_TWELVE_HOURS = 12 * 3600


#: Status and body by password; every other one is right.
_ANSWERS: dict[str | None, tuple[int, dict[str, Any]]] = {
    "wrong": (401, {"error": "No.", "code": "sign_in_refused"}),
    "again": (429, {"error": "Wait.", "code": "too_many_failures"}),
}


class _Server(BaseHTTPRequestHandler):
    """Lets in whoever says "right", tells whoever says "again" to wait, and remembers the headers of what was asked."""

    asked: ClassVar[list[tuple[str, dict[str, str]]]]

    def do_POST(self) -> None:
        """Both addresses."""
        body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")
        self.asked.append((self.path, dict(self.headers)))
        status, answer = _ANSWERS.get(body.get("password"), (200, {"user": {"name": body.get("name")}, "csrf": "token"}))
        self.send_response(status)
        self.send_header("Set-Cookie", "relevo_session=theirs; Path=/; HttpOnly")
        self.send_header("Retry-After", "0")
        content = json.dumps(answer).encode()
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def server() -> Iterator[type[_Server]]:
    class Answers(_Server):
        asked: ClassVar = []

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        Answers.url = f"http://127.0.0.1:{http.server_port}"  # type: ignore[attr-defined]  # carried to the test
        yield Answers
        http.shutdown()


def _visitors(server: type[_Server], clock: list[float]) -> ConsoleSessions:
    return ConsoleSessions(ConsoleConfig(server=server.url), monotonic=lambda: clock[0])  # type: ignore[attr-defined]  # put there above


def test_a_token_leads_to_a_client_with_the_servers_session(server: type[_Server]) -> None:
    """Whoever signed in is found by their token alone; leaving ends the session on the server, with its cookie and its token."""
    here = _visitors(server, [0.0])
    token = here.sign_in("ana", "right", language="es", address="10.0.0.9")
    assert len(token) >= 43
    visitor = here.of(token)
    assert visitor is not None
    assert visitor.name == "ana"
    assert here.of(token + "x") is here.of("") is here.of(None) is None
    leaving = here.sign_out(token)
    assert leaving is visitor
    leaving.leave()
    assert here.of(token) is None
    (_, first), (path, last) = server.asked
    assert (first["Accept-Language"], first["X-Forwarded-For"]) == ("es", "10.0.0.9")
    assert path == "/logout"
    assert (last["Cookie"], last["X-CSRF-Token"]) == ("relevo_session=theirs", "token")


def test_a_refusal_leaves_nobody_behind(server: type[_Server]) -> None:
    """A wrong password is the server's refusal, and no token."""
    here = _visitors(server, [0.0])
    with pytest.raises(InvalidCredentialsError):
        here.sign_in("ana", "wrong", language="en", address="")
    assert here._known == {}


@pytest.mark.parametrize(("password", "status"), [("wrong", 401), ("again", 429), ("right", 303)])
def test_the_door_answers_as_the_server_did(server: type[_Server], password: str, status: int) -> None:
    """A wrong password, and one too many, are told with their own status: that nobody is there would be untrue."""
    desk = Starlette(routes=LoginRoutes(_visitors(server, [0.0])).routes())
    form, own = {"name": "ana", "password": password}, {"Origin": "http://console"}

    async def answered() -> int:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(desk), base_url="http://console") as browser:
            return (await browser.post("/sign-in", data=form, headers=own)).status_code

    assert asyncio.run(answered()) == status


def test_nobody_stays_longer_than_the_server_lets_them(server: type[_Server]) -> None:
    """After twelve hours a token counts no more, and the next sign-in forgets it and closes its connections."""
    clock = [0.0]
    here = _visitors(server, clock)
    token = here.sign_in("ana", "right", language="en", address="")
    clock[0] = _TWELVE_HOURS - 1.0
    ana = here.of(token)
    assert ana is not None
    clock[0] = float(_TWELVE_HOURS)
    assert here.of(token) is None
    here.sign_in("bob", "right", language="en", address="")
    assert [one.name for one in here._known.values()] == ["bob"]
    with pytest.raises(RuntimeError, match="closed"):
        ana.client.ask("GET", "/me")


def test_a_server_that_is_away_is_asked_again_soon_and_not_at_every_page() -> None:
    """The name of the provider is remembered for a minute; that nobody answered, for some seconds."""
    asked: list[str] = []

    class Told200(BaseHTTPRequestHandler):
        """Names a provider, and counts how often."""

        def do_GET(self) -> None:
            """The one address."""
            asked.append(self.path)
            body = b'{"provider": "login.example"}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    clock = [0.0]
    with ThreadingHTTPServer(("127.0.0.1", 0), Told200) as http:
        here = ConsoleSessions(ConsoleConfig(server="http://127.0.0.1:9", key=lambda: b"key"), monotonic=lambda: clock[0])
        assert here.provider() == ""
        here.told = ConsoleConfig(server=f"http://127.0.0.1:{http.server_port}", key=lambda: b"key")
        threading.Thread(target=http.serve_forever, daemon=True).start()
        assert (here.provider(), asked) == ("", [])
        clock[0] = 5.0
        assert [here.provider() for _ in range(3)] == ["login.example"] * 3
        assert asked == ["/login/elsewhere"]
        clock[0] = 66.0
        assert here.provider() == "login.example"
        assert len(asked) == 2
        http.shutdown()
