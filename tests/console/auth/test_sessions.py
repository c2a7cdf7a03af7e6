"""Sessions of the console, against a fake server with fixed responses."""

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


#: Status and body by password; every other password is accepted.
_ANSWERS: dict[str | None, tuple[int, dict[str, Any]]] = {
    "wrong": (401, {"error": "No.", "code": "sign_in_refused"}),
    "again": (429, {"error": "Wait.", "code": "too_many_failures"}),
}


class _Server(BaseHTTPRequestHandler):
    """Accepts any password but those of _ANSWERS, and records path and headers of the requests."""

    requests: ClassVar[list[tuple[str, dict[str, str]]]]

    def do_POST(self) -> None:
        """Answers login and logout."""
        body = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")
        self.requests.append((self.path, dict(self.headers)))
        status, answer = _ANSWERS.get(body.get("password"), (200, {"user": {"name": body.get("name")}, "csrf": "token"}))
        self.send_response(status)
        self.send_header("Set-Cookie", "relevo_session=theirs; Path=/; HttpOnly")
        self.send_header("Retry-After", "0")
        content = json.dumps(answer).encode()
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Silent."""


@pytest.fixture
def server() -> Iterator[type[_Server]]:
    class Answers(_Server):
        requests: ClassVar = []

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        Answers.url = f"http://127.0.0.1:{http.server_port}"  # type: ignore[attr-defined]  # read by the test
        yield Answers
        http.shutdown()


def _sessions(server: type[_Server], clock: list[float]) -> ConsoleSessions:
    return ConsoleSessions(ConsoleConfig(server=server.url), monotonic=lambda: clock[0])  # type: ignore[attr-defined]  # set by the fixture


def test_a_token_finds_a_client_with_the_session_of_the_server(server: type[_Server]) -> None:
    """A session is found only by its token; `leave` ends the session of the server with its cookie and CSRF token."""
    sessions = _sessions(server, [0.0])
    token = sessions.sign_in("ana", "right", language="es", address="10.0.0.9")
    assert len(token) >= 43
    session = sessions.find(token)
    assert session is not None
    assert session.name == "ana"
    assert sessions.find(token + "x") is sessions.find("") is sessions.find(None) is None
    removed = sessions.sign_out(token)
    assert removed is session
    removed.leave()
    assert sessions.find(token) is None
    (_, first), (path, last) = server.requests
    assert (first["Accept-Language"], first["X-Forwarded-For"]) == ("es", "10.0.0.9")
    assert path == "/logout"
    assert (last["Cookie"], last["X-CSRF-Token"]) == ("relevo_session=theirs", "token")


def test_a_rejected_login_creates_no_session(server: type[_Server]) -> None:
    """A wrong password raises the error of the server and stores nothing."""
    sessions = _sessions(server, [0.0])
    with pytest.raises(InvalidCredentialsError):
        sessions.sign_in("ana", "wrong", language="en", address="")
    assert sessions._sessions == {}


@pytest.mark.parametrize(("password", "status"), [("wrong", 401), ("again", 429), ("right", 303)])
def test_the_login_page_has_the_status_of_the_server(server: type[_Server], password: str, status: int) -> None:
    """401 for a wrong password and 429 for too many attempts, not 503."""
    app = Starlette(routes=LoginRoutes(_sessions(server, [0.0])).routes())
    form, own = {"name": "ana", "password": password}, {"Origin": "http://console"}

    async def post() -> int:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://console") as browser:
            return (await browser.post("/sign-in", data=form, headers=own)).status_code

    assert asyncio.run(post()) == status


def test_a_session_expires_with_the_session_of_the_server(server: type[_Server]) -> None:
    """After twelve hours a token is invalid; the next login removes it and closes its connections."""
    clock = [0.0]
    sessions = _sessions(server, clock)
    token = sessions.sign_in("ana", "right", language="en", address="")
    clock[0] = _TWELVE_HOURS - 1.0
    ana = sessions.find(token)
    assert ana is not None
    clock[0] = float(_TWELVE_HOURS)
    assert sessions.find(token) is None
    sessions.sign_in("bob", "right", language="en", address="")
    assert [session.name for session in sessions._sessions.values()] == ["bob"]
    with pytest.raises(RuntimeError, match="closed"):
        ana.client.request_json("GET", "/me")


def test_the_provider_is_cached_and_a_failure_for_a_shorter_time() -> None:
    """The name of the provider is cached for a minute, an unavailable server for a few seconds."""
    paths: list[str] = []

    class ProviderHandler(BaseHTTPRequestHandler):
        """Returns a provider and records the requests."""

        def do_GET(self) -> None:
            """Answers every path."""
            paths.append(self.path)
            body = b'{"provider": "login.example"}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Silent."""

    clock = [0.0]
    with ThreadingHTTPServer(("127.0.0.1", 0), ProviderHandler) as http:
        sessions = ConsoleSessions(ConsoleConfig(server="http://127.0.0.1:9", key=lambda: b"key"), monotonic=lambda: clock[0])
        assert sessions.provider() == ""
        sessions.config = ConsoleConfig(server=f"http://127.0.0.1:{http.server_port}", key=lambda: b"key")
        threading.Thread(target=http.serve_forever, daemon=True).start()
        assert (sessions.provider(), paths) == ("", [])
        clock[0] = 5.0
        assert [sessions.provider() for _ in range(3)] == ["login.example"] * 3
        assert paths == ["/login/elsewhere"]
        clock[0] = 66.0
        assert sessions.provider() == "login.example"
        assert len(paths) == 2
        http.shutdown()
