"""Attacks: missing or weak credentials, path traversal, oversized and slow bodies, request smuggling."""

from __future__ import annotations

import json
import re
import socket
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import httpx
import pytest
from tests.support.server import running, settings_of

import relevo.server
from relevo.domain.access import Role, Scope

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from relevo.package.package import Package
    from relevo.server import RunningServer

_CLIMBING = [
    "/static/../../relevo.db",
    "/static/..%2f..%2frelevo.db",
    "/static/%2e%2e%2f%2e%2e%2fserver.lock",
    "/static/..%5c..%5crelevo.db",
    "/static/%00",
    "/static//etc/passwd",
    "/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "//etc/passwd",
    "/..;/models",
    "/models/..%2f..%2fkeys",
    "/models/%2e%2e/versions/1",
    "/models/digits/versions/..%2f1",
    "/models/digits/versions/1/figures/..%2fmanifest.json",
    "/models/digits/versions/1/figures/%2fetc%2fpasswd",
    "/models/digits/versions/1/figures/..%252f..%252fmodel.onnx",
    "/predictions/..%2f..%2frelevo.db/input",
    "/predictions/%2e%2e/input",
    "http://127.0.0.1/../../etc/passwd",
]
_SECRETS = (b"SQLite format", b"root:", b'"machine"', b"BEGIN", b"ir_version", b"Traceback")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("attacked")


@pytest.fixture(scope="module")
def keys(home: Path) -> dict[str, str]:
    """A predict key and a read key, in a home with an admin."""
    store = relevo.server.open_store(settings_of(home))
    boss = store.users.add_user("boss", Role.ADMIN, at=relevo.server.utc_now())
    made = {
        scope.value: store.users.add_key(boss, scope.value, [scope], at=relevo.server.utc_now())
        for scope in (Scope.PREDICT, Scope.READ)
    }
    store.engine.dispose()
    return made


@pytest.fixture(scope="module")
def server(home: Path, keys: dict[str, str], digits_package: Package) -> Iterator[RunningServer]:
    assert keys
    with running(home, digits_package, max_body_mb=1) as it:
        yield it


def connected(server: RunningServer) -> socket.socket:
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=10)


def head(method: str, path: str, *lines: str, key: str = "") -> bytes:
    lines_sent = [f"{method} {path} HTTP/1.1", "Host: localhost", *([f"Authorization: Bearer {key}"] if key else []), *lines]
    return "\r\n".join(lines_sent).encode() + b"\r\n\r\n"


def answer(connection: socket.socket) -> tuple[int, bytes]:
    """Status and body of the next response."""
    held = bytearray()
    while b"\r\n\r\n" not in held:
        more = connection.recv(65536)
        assert more, "the server hung up"
        held += more
    start, _, body = bytes(held).partition(b"\r\n\r\n")
    length = int(re.search(rb"content-length: (\d+)", start.lower())[1])  # type: ignore[index]  # every answer has one
    while len(body) < length:
        body += connection.recv(65536)
    return int(start.split()[1]), body


def exchange(server: RunningServer, raw: bytes) -> tuple[int, bytes]:
    with connected(server) as connection:
        connection.sendall(raw)
        return answer(connection)


# --- paths --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", _CLIMBING)
def test_no_path_climbs(server: RunningServer, keys: dict[str, str], path: str) -> None:
    """Path traversal returns no file, no traceback and no content, with any credentials."""
    for key in ("", keys["predict"], keys["read"]):
        status, body = exchange(server, head("GET", path, key=key))
        assert status in {400, 401, 403, 404, 422}, body
        assert not any(secret in body for secret in _SECRETS)


def test_without_a_token_what_is_there_looks_like_what_is_not(server: RunningServer) -> None:
    """Without credentials, existing and missing objects are indistinguishable."""
    responses = [
        httpx.get(f"{server.url}{path}") for path in ("/models/digits", "/models/nobody", "/models/digits/versions/1", "/nothing")
    ]
    assert {one.status_code for one in responses} == {401}
    assert len({one.json()["error"] for one in responses}) == 1


def test_a_climbing_model_name_is_no_model(server: RunningServer, keys: dict[str, str], digit_pngs: list[bytes]) -> None:
    """Path traversal in model names, on both predict paths."""
    for path in ("/models/..%2fdigits/predict", "/models/%2e%2e/predict", "/models/digits%2f../predict"):
        lines = ["Content-Type: image/png", f"Content-Length: {len(digit_pngs[0])}"]
        for more in ([], ["Connection: close"]):
            status, body = exchange(server, head("POST", path, *lines, *more, key=keys["predict"]) + digit_pngs[0])
            assert status in {401, 403, 404}, body


# --- oversized -----------------------------------------------------------------------------------------------------------


def test_a_stranger_s_large_body_is_not_read(server: RunningServer) -> None:
    """Unauthenticated requests are rejected before their body is read."""
    for length in (100, 10 * 2**20, 2**40):
        status, body = exchange(server, head("POST", "/predict", "Content-Type: image/png", f"Content-Length: {length}") + b"abc")
        assert (status, json.loads(body)["code"]) == (401, "not_known")


def test_a_large_body_with_a_token_is_refused_by_its_size(server: RunningServer, keys: dict[str, str]) -> None:
    """Oversized bodies, with Content-Length or chunked, are rejected on every path."""
    length = 2 * 2**20
    for path in ("/predict", "/models/digits/predict", "/submit", "/predict/"):
        lines = ["Content-Type: image/png", f"Content-Length: {length}"]
        assert exchange(server, head("POST", path, *lines, key=keys["predict"]) + b"abc")[0] == 413
    with connected(server) as connection:
        connection.sendall(head("POST", "/predict", "Content-Type: image/png", "Transfer-Encoding: chunked", key=keys["predict"]))
        piece = b"%x\r\n" % 2**18 + bytes(2**18) + b"\r\n"
        for _ in range(5):
            connection.sendall(piece)
        assert answer(connection)[0] == 413
    assert exchange(server, head("POST", "/login", "Content-Type: application/json", f"Content-Length: {length}") + b"{")[0] == 413


def test_two_lengths_are_none(server: RunningServer, keys: dict[str, str]) -> None:
    """Ambiguous lengths (request smuggling) are rejected."""
    for lines in (
        ("Content-Length: 3", "Transfer-Encoding: chunked"),
        ("Content-Length: 3", "Content-Length: 4"),
        ("Transfer-Encoding: chunked, identity",),
        ("Content-Length: +3",),
    ):
        status, body = exchange(
            server, head("POST", "/predict", *lines, key=keys["predict"]) + b"0\r\n\r\nGET /keys HTTP/1.1\r\n\r\n"
        )
        assert (status, json.loads(body)["code"]) == (400, "http_malformed"), lines


def test_a_token_is_looked_for_in_one_place(server: RunningServer, keys: dict[str, str]) -> None:
    """Keys in the URL, in cookies or among several are ignored."""
    key = keys["read"]
    for raw in (
        head("GET", f"/models?key={key}&access_token={key}"),
        head("GET", "/models", f"Cookie: relevo_session={key}; key={key}"),
        head("GET", "/models", f"X-Api-Key: {key}"),
        head("GET", "/models", f"Authorization: Basic {key}"),
        head("GET", "/models", f"Authorization: Bearer {key}, Bearer {key}"),
        head("GET", "/models", f"Authorization: Bearer {key[:-1]}"),
        head("GET", "/models", f"Authorization: Bearer {key}x"),
        head("GET", "/models", "Authorization: Bearer " + "x" * 50_000),
        head("GET", "/models", "Authorization: Bearer wrong", f"Authorization: Bearer {key}"),
    ):
        assert exchange(server, raw)[0] == 401
    assert exchange(server, head("GET", "/models", key=key))[0] == 200


# --- slow ---------------------------------------------------------------------------------------------------------------


def test_slow_strangers_hold_nobody_up(server: RunningServer, keys: dict[str, str], digit_pngs: list[bytes]) -> None:
    """A hundred unfinished bodies on the public login path, and unfinished heads, do not block the server."""
    with ExitStack() as held:
        for number in range(100):
            connection = held.enter_context(connected(server))
            announced = head("POST", "/login", "Content-Type: application/json", "Content-Length: 1000000")
            connection.sendall(announced + b"{" if number % 2 else announced[: len(announced) // 2])
        begun = time.monotonic()
        for _ in range(5):
            headers = {"authorization": f"Bearer {keys['predict']}", "content-type": "image/png"}
            response = httpx.post(f"{server.url}/predict", content=digit_pngs[0], headers=headers)
            assert response.status_code == 200
        assert time.monotonic() - begun < 5
