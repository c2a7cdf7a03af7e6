"""Body limits on all paths: size, time and shared memory."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx
import pytest
from tests.support.server import running

from relevo.errors import BodyTimeoutError, BodyTooLargeError, OverloadedByBytesError
from relevo.serve.byte_budget import ByteBudget
from relevo.web.middleware.core import MAX_SMALL_BODY, BodyLimitMiddleware
from relevo.web.predict.body import BodyLimits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import Message, Receive, Scope, Send

    from relevo.package.package import Package
    from relevo.server import RunningServer

_ID = "01a1fc97-8df4-7a0d-99a7-820c3f1c4401"
#: Paths other than predict.
_ADDRESSES = [
    ("PUT", f"/predictions/{_ID}/label"),
    ("PUT", "/models/churn/aliases/canary"),
    ("POST", "/feedback"),
    ("GET", "/models"),
]
_LIMITS = BodyLimits(max_bytes=10, max_parts=1, max_fields=1, max_seconds=0.05)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, churn_package: Package) -> Iterator[RunningServer]:
    with running(tmp_path_factory.mktemp("bodies"), churn_package) as it:
        yield it


def connect(server: RunningServer) -> socket.socket:
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=10)


def answer_from(connection: socket.socket) -> tuple[int, dict[str, str]]:
    """Status and JSON of the next response."""
    held = b""
    while b"\r\n\r\n" not in held:
        more = connection.recv(65536)
        assert more, "the server hung up"
        held += more
    head, _, body = held.partition(b"\r\n\r\n")
    length = int(re.search(rb"content-length: (\d+)", head.lower())[1])  # type: ignore[index]  # every answer has one
    while len(body) < length:
        body += connection.recv(65536)
    return int(head.split()[1]), json.loads(body)


@pytest.mark.parametrize(("method", "path"), _ADDRESSES)
def test_a_body_that_says_it_is_too_large_is_refused_unread(server: RunningServer, method: str, path: str) -> None:
    """A Content-Length above the limit gives 413 before the body is read."""
    with connect(server) as connection:
        connection.sendall(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {MAX_SMALL_BODY + 1}\r\n\r\n".encode())
        status, told = answer_from(connection)
    assert (status, told["code"]) == (413, "body_too_large")
    assert str(MAX_SMALL_BODY) in told["error"]


@pytest.mark.parametrize(("method", "path"), _ADDRESSES)
def test_a_body_in_chunks_is_refused_at_the_bound(server: RunningServer, method: str, path: str) -> None:
    """A chunked body is rejected soon after the limit, before its end."""
    with connect(server) as connection:
        connection.sendall(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        for _ in range(17):
            connection.sendall(b"10000\r\n" + bytes(65536) + b"\r\n")
        status, told = answer_from(connection)
    assert (status, told["code"]) == (413, "body_too_large")


async def _never(_: Scope, __: Receive, ___: Send) -> None:
    pytest.fail("a refused body reaches no route")


def _asked(messages: list[Message], room: ByteBudget) -> None:
    async def receive() -> Message:
        if not messages:
            await asyncio.sleep(10)
        return messages.pop(0)

    async def send(_: Message) -> None:
        pytest.fail("nothing is sent here")

    scope = {"type": "http", "method": "PUT", "headers": [(b"transfer-encoding", b"chunked")]}
    asyncio.run(BodyLimitMiddleware(_never, _LIMITS, room)(scope, receive, send))


def test_a_body_that_does_not_come_is_refused_in_time() -> None:
    """Half a body and then silence gives body_too_slow and releases the budget."""
    room = ByteBudget()
    with pytest.raises(BodyTimeoutError):
        _asked([{"type": "http.request", "body": b"half", "more_body": True}], room)
    assert room.used == 0


def test_small_bodies_share_the_room_of_large_ones() -> None:
    """The byte budget covers the bodies of all paths."""
    with pytest.raises(OverloadedByBytesError):
        _asked([{"type": "http.request", "body": b"four", "more_body": True}], ByteBudget(3))


def test_the_bound_holds_for_a_body_in_one_piece_too() -> None:
    """The limit applies to a body that arrives at once."""
    with pytest.raises(BodyTooLargeError):
        _asked([{"type": "http.request", "body": b"eleven byte", "more_body": False}], ByteBudget())


def test_a_caller_that_hangs_up_is_told_nothing() -> None:
    """An aborted request reaches no route."""
    _asked([{"type": "http.request", "body": b"a", "more_body": True}, {"type": "http.disconnect"}], ByteBudget())


_MIB = 2**20
_FORM_TYPE = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"[" + b"{}," * (6 * _MIB) + b"{}]", "application/json", 413),
        (b'{"tenure":[' + b"[]," * (6 * _MIB) + b"[]]}", "application/json", 413),
        (b"tenure=" + b"%" * (_MIB - 8), _FORM_TYPE, 422),
        (json.dumps([{"tenure": 1, "contract": "x" * 15_000}] * 999).encode(), "application/json", 200),
    ],
    ids=["rows", "lists", "percent signs", "a large batch"],
)
def test_no_body_keeps_others_waiting(server: RunningServer, body: bytes, kind: str, status: int) -> None:
    """While a worker parses a heavy body, a health check is answered; the time limit allows for a busy machine."""
    waits: list[float] = []
    with httpx.Client(base_url=server.url, timeout=30) as caller, ThreadPoolExecutor(1) as aside:
        caller.get("/health/live")
        sent = aside.submit(httpx.post, f"{server.url}/predict", content=body, headers={"content-type": kind}, timeout=60)
        while not sent.done():
            begun = time.perf_counter()
            assert caller.get("/health/live").status_code == 200
            waits.append(time.perf_counter() - begun)
            time.sleep(0.005)
    assert sent.result().status_code == status, sent.result().text[:200]
    assert max(waits) < 1.0, f"{max(waits):.2f} s of {len(waits)} checks"


def test_a_small_body_of_a_hundred_thousand_fields_is_refused_unread(server: RunningServer) -> None:
    """Bodies with very many fields are rejected before validation, which would block the worker."""
    body = b"{" + b",".join(b'"%d":1' % key for key in range(100_000)) + b"}"
    assert len(body) < MAX_SMALL_BODY
    response = httpx.put(f"{server.url}/predictions/{_ID}/label", content=body)
    assert (response.status_code, response.json()["code"]) == (413, "too_many_parts")
