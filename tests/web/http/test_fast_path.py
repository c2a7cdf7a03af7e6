"""The fast path responds like the ASGI path, in order, and falls back for requests that it does not support."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from typing import TYPE_CHECKING

import httpx
import pytest
from tests.support.server import running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from relevo.package.package import Package
    from relevo.server import RunningServer

#: Parts that differ between two responses to the same request.
_OWN = re.compile(rb'"query_id":"[^"]+"|"execution_time":"[^"]+"|(?<=x-request-id: )[^\r]+|(?<=date: )[^\r]+')


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, digits_package: Package, churn_package: Package) -> Iterator[RunningServer]:
    with running(tmp_path_factory.mktemp("express"), digits_package, churn_package, default_model="digits") as it:
        yield it


def connect(server: RunningServer) -> socket.socket:
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=10)


def request(body: bytes, *headers: str, path: str = "/predict", kind: str = "image/png", version: str = "1.1") -> bytes:
    lines = [f"POST {path} HTTP/{version}", "Host: localhost", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def answer_from(connection: socket.socket, held: bytearray) -> tuple[bytes, bytes]:
    """Head and body of the next response; later bytes stay in `held`."""
    while b"\r\n\r\n" not in held:
        more = connection.recv(65536)
        assert more, "the server hung up"
        held += more
    head, _, _ = bytes(held).partition(b"\r\n\r\n")
    length = int(re.search(rb"content-length: (\d+)", head.lower())[1])  # type: ignore[index]  # every answer has one
    end = len(head) + 4 + length
    while len(held) < end:
        held += connection.recv(65536)
    body = bytes(held[len(head) + 4 : end])
    del held[:end]
    return head, body


def exchange(server: RunningServer, raw: bytes) -> tuple[bytes, bytes]:
    with connect(server) as connection:
        connection.sendall(raw)
        return answer_from(connection, bytearray())


def sorted_lines(head: bytes) -> list[bytes]:
    first, *rest = _OWN.sub(b"#", head).split(b"\r\n")
    return [first, *sorted(rest)]


#: `TE` changes nothing; HTTP/1.0 with keep-alive, or a chunked body, selects the ASGI path.
def long_way(body: bytes, path: str, kind: str) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    chunk = b"%x\r\n" % len(body) + body + b"\r\n" if body else b""
    return head + chunk + b"0\r\n\r\n"


def test_both_ways_answer_the_same(server: RunningServer, digit_pngs: list[bytes]) -> None:
    """Head and body of both paths are equal, except for id, time and date."""
    short, long = exchange(server, request(digit_pngs[0])), exchange(server, long_way(digit_pngs[0], "/predict", "image/png"))
    assert sorted_lines(short[0]) == sorted_lines(long[0])
    assert _OWN.sub(b"#", short[1]) == _OWN.sub(b"#", long[1])


@pytest.mark.parametrize(
    ("body", "kind", "path", "status"),
    [
        (b"no picture", "image/png", "/predict", 415),
        (b"", "image/png", "/predict", 422),
        (b"{", "application/json", "/models/churn/predict", 400),
        (b'{"tenure": "old"}', "application/json", "/models/churn/predict", 422),
        (b"\x89PNG\r\n\x1a\n", "image/png", "/models/nobody/predict", 404),
        (b"\x89PNG\r\n\x1a\n", "image/png", "/models/%6eobody/predict", 404),
        (b"x", "video/mp4", "/predict", 415),
    ],
)
def test_refusals_are_the_long_ways(server: RunningServer, body: bytes, kind: str, path: str, status: int) -> None:
    """Errors have the same status, code and message on both paths."""
    ways = [exchange(server, request(body, path=path, kind=kind)), exchange(server, long_way(body, path, kind))]
    facts = [json.loads(body) for _, body in ways]
    assert [int(head.split()[1]) for head, _ in ways] == [status, status]
    assert facts[0]["code"] == facts[1]["code"]
    assert facts[0]["error"] == facts[1]["error"]


def test_a_body_in_pieces_is_answered(server: RunningServer, digit_pngs: list[bytes]) -> None:
    """A body that arrives byte by byte falls back and is answered."""
    whole = request(digit_pngs[1])
    with connect(server) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(whole), 40):
            connection.sendall(whole[start : start + 40])
            time.sleep(0.001)
        head, body = answer_from(connection, bytearray())
    assert head.startswith(b"HTTP/1.1 200")
    assert json.loads(body)["model"] == "digits"


def test_pipelined_requests_are_answered_in_order(
    server: RunningServer, digit_pngs: list[bytes], churn_records: list[dict[str, object]]
) -> None:
    """Pipelined requests of both paths and of other routes are answered in order."""
    record = json.dumps(churn_records[0]).encode()
    pieces = [
        request(digit_pngs[0], "X-Request-Id: one"),
        request(record, "X-Request-Id: two", path="/models/churn/predict", kind="application/json"),
        request(b"bad", "X-Request-Id: three"),
        b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: four\r\n\r\n",
        request(digit_pngs[2], "X-Request-Id: five"),
    ]
    with connect(server) as connection:
        connection.sendall(b"".join(pieces * 20))
        held = bytearray()
        answers = [answer_from(connection, held) for _ in range(100)]
    names = [re.search(rb"x-request-id: (\w+)", head)[1].decode() for head, _ in answers]  # type: ignore[index]  # always there
    assert names == ["one", "two", "three", "four", "five"] * 20
    assert [int(head.split()[1]) for head, _ in answers[:5]] == [200, 200, 415, 200, 200]


def test_a_connection_asked_to_close_is_closed(server: RunningServer, digit_pngs: list[bytes]) -> None:
    """`Connection: close` and HTTP/1.0 requests are answered, then the connection closes."""
    for raw in (request(digit_pngs[0], "Connection: close"), request(digit_pngs[0], version="1.0")):
        with connect(server) as connection:
            connection.sendall(raw)
            head, _ = answer_from(connection, bytearray())
            assert head.split()[1] == b"200"
            assert connection.recv(10) == b""


def test_keep_alive_serves_many(server: RunningServer, digit_pngs: list[bytes]) -> None:
    """One connection serves many requests, each with its own id."""
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        ids = {client.post("/predict", content=png, headers={"content-type": "image/png"}).json()["query_id"] for png in digit_pngs}
    assert len(ids) == len(digit_pngs)


def test_hang_ups_disturb_nobody(server: RunningServer, digit_pngs: list[bytes]) -> None:
    """Clients that disconnect at any moment do not affect the responses to others."""
    whole = request(digit_pngs[3])
    good: list[int] = []

    def ask() -> None:
        with httpx.Client(base_url=server.url, trust_env=False) as client:
            good.extend(
                client.post("/predict", content=digit_pngs[4], headers={"content-type": "image/png"}).status_code for _ in range(60)
            )

    asker = threading.Thread(target=ask)
    asker.start()
    for cut in [*range(1, len(whole), 5), len(whole)]:
        with connect(server) as connection:
            connection.sendall(whole[:cut])
    asker.join()
    assert good == [200] * 60


def test_a_stopping_server_answers_what_it_took(tmp_path: Path, digits_package: Package, digit_pngs: list[bytes]) -> None:
    """Running requests are completed at shutdown; later ones are rejected, none hangs."""
    outcomes: list[int | str] = []
    stop = threading.Event()

    def ask(url: str) -> None:
        while not stop.is_set():
            try:
                outcomes.append(
                    httpx.post(f"{url}/predict", content=digit_pngs[0], headers={"content-type": "image/png"}).status_code
                )
            except (httpx.ConnectError, httpx.ReadError, httpx.RemoteProtocolError):
                # A connection that is reset or closed before the first byte of the response is rejected, too: the request had no effect.
                outcomes.append("refused")
                return

    with running(tmp_path, digits_package) as server:
        askers = [threading.Thread(target=ask, args=(server.url,)) for _ in range(4)]
        for asker in askers:
            asker.start()
        deadline = time.monotonic() + 30
        while outcomes.count(200) < 4 and time.monotonic() < deadline:
            time.sleep(0.05)
    stop.set()
    for asker in askers:
        asker.join()
    assert outcomes.count(200) >= 4
    assert set(outcomes) <= {200, "refused"}


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS on a plain HTTP port
        b"hello\r\n\r\n",
        b"\0" * 64,
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: many\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
    ],
)
def test_bytes_that_are_no_http_are_refused_as_all_else(server: RunningServer, raw: bytes) -> None:
    """Invalid HTTP gets a 400 with JSON body and security headers, then the connection closes."""
    with connect(server) as connection:
        connection.sendall(raw)
        head, body = answer_from(connection, bytearray())
        assert connection.recv(10) == b""
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"content-type: application/json" in head
    assert b"x-content-type-options: nosniff" in head
    assert b"connection: close" in head
    error = json.loads(body)
    assert (error["code"], error["error"][:12]) == ("http_malformed", "What arrived")
    assert b"x-request-id: " + error["request_id"].encode() in head
