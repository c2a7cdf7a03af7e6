"""Limits of one connection: header size and time, number of connections, and ignored protocol upgrades."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import socket
import struct
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn
import uvloop
from tests.support.server import running, settings_of, started

from relevo.web.http.protocol import MAX_HEAD_BYTES, Connection, ConnectionLimit, limit_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.types import Receive, Scope, Send

    from relevo.package.package import Package
    from relevo.server import RunningServer

_HEAD_S = 0.4
_UNREAD_S = 0.6
#: More than the socket buffers hold.
_LONG = 2**25
_LINES = (b"Host: localhost", b"Content-Type: image/png")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, digits_package: Package) -> Iterator[RunningServer]:
    with running(tmp_path_factory.mktemp("connection"), digits_package) as it:
        yield it


def connect(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=10)


def read_response(connection: socket.socket, held: bytearray) -> tuple[int, bytes]:
    """Status and body of the next response; later bytes stay in `held`."""
    while b"\r\n\r\n" not in held:
        more = connection.recv(65536)
        assert more, "the server hung up"
        held += more
    head, _, _ = bytes(held).partition(b"\r\n\r\n")
    end = len(head) + 4 + int(re.search(rb"content-length: (\d+)", head.lower())[1])  # type: ignore[index]  # every answer has one
    while len(held) < end:
        held += connection.recv(65536)
    body = bytes(held[len(head) + 4 : end])
    del held[:end]
    return int(head.split()[1]), body


def error_of(server: RunningServer, raw: bytes) -> tuple[int, dict[str, Any]]:
    with connect(server.url) as connection:
        connection.sendall(raw)
        status, body = read_response(connection, bytearray())
    return status, json.loads(body)


def request(body: bytes, *lines: bytes, path: bytes = b"/predict") -> bytes:
    return b"\r\n".join([b"POST %s HTTP/1.1" % path, *_LINES, b"Content-Length: %d" % len(body), *lines]) + b"\r\n\r\n" + body


# --- size ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"a" * 2 * MAX_HEAD_BYTES,
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X-Many: a\r\n" * (MAX_HEAD_BYTES // 8) + b"\r\n",
        b"GET /" + b"a" * 2 * MAX_HEAD_BYTES,
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Late: "
        + b"a" * 16 * MAX_HEAD_BYTES,
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5;" + b"a" * 16 * MAX_HEAD_BYTES,
    ],
    ids=["one header", "many headers", "address", "after the body", "beside a chunk"],
)
def test_a_head_beyond_its_bound_is_refused(server: RunningServer, raw: bytes) -> None:
    """431 with the error code, whether the head ends or not."""
    status, body = error_of(server, raw)
    assert (status, body["code"]) == (431, "head_too_large")
    assert str(MAX_HEAD_BYTES) in body["error"]


def test_endless_headers_are_cut_off(server: RunningServer) -> None:
    """Reading stops soon after the header limit."""
    sent = 0
    with connect(server.url) as connection, pytest.raises(OSError, match=r"(?i)reset|pipe|abort"):  # noqa: PT012 - a loop that must break
        connection.sendall(b"GET / HTTP/1.1\r\n")
        for _ in range(400):
            connection.sendall(b"X-Filler: " + b"b" * 65000 + b"\r\n")
            sent += 1
            time.sleep(0.01)
    assert sent < 400


def test_a_head_within_its_bound_is_answered(server: RunningServer, digit_pngs: list[bytes]) -> None:
    """60 kB of headers, a larger body, and another request on the same connection are accepted."""
    with connect(server.url) as connection:
        held = bytearray()
        for raw in (
            request(digit_pngs[0], b"X-Long: " + b"a" * 60_000),
            request(bytes(3 * MAX_HEAD_BYTES)) + request(digit_pngs[1]),
        ):
            connection.sendall(raw)
            assert read_response(connection, held)[0] in {200, 415}
        assert read_response(connection, held)[0] == 200


def test_what_follows_a_chunked_body_says_nothing(server: RunningServer, digit_pngs: list[bytes]) -> None:
    """Trailers are ignored."""
    chunk = b"%x\r\n" % len(digit_pngs[0]) + digit_pngs[0] + b"\r\n0\r\nX-Request-Id: late\r\n\r\n"
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
    status, body = error_of(server, head + chunk)
    assert status == 200
    assert body["prediction"]


def test_bytes_that_are_no_http_wait_for_the_answer_before_them(server: RunningServer, digit_pngs: list[bytes]) -> None:
    """A valid request followed by garbage is answered, then the connection closes."""
    with connect(server.url) as connection:
        connection.sendall(request(digit_pngs[0]) + b"rubbish\r\n\r\n")
        held = bytearray()
        assert read_response(connection, held)[0] == 200
        assert connection.recv(10) == b""


# --- other protocols ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wish",
    [
        (
            b"Connection: Upgrade, HTTP2-Settings",
            b"Upgrade: h2c",
            b"HTTP2-Settings: AAEAAEAAAAIAAAAAAAMAAAAAAAQBAAAAAAUAAEAAAAYABgAA",
        ),
        (
            b"Connection: Upgrade",
            b"Upgrade: websocket",
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            b"Sec-WebSocket-Version: 13",
        ),
        (b"Connection: keep-alive, upgrade", b"Upgrade: foo/2"),
    ],
    ids=["h2c", "websocket", "another"],
)
def test_a_wish_for_another_protocol_changes_nothing(
    server: RunningServer, digit_pngs: list[bytes], wish: tuple[bytes, ...]
) -> None:
    """An Upgrade header is ignored, with the body in one piece or several, and for the next request."""
    raw = request(digit_pngs[0], *wish)
    with connect(server.url) as connection:
        held = bytearray()
        for pieces in ([raw + raw], [raw[:-50], raw[-50:]]):
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(0.05)
            assert read_response(connection, held)[0] == 200
        assert read_response(connection, held)[0] == 200
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n" + b"\r\n".join(wish) + b"\r\n\r\n")
        assert read_response(connection, held) == (200, b'{"live":true}')


def test_nothing_is_said_of_it_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """An Upgrade header writes no log line."""
    with caplog.at_level(logging.DEBUG), serving() as url, connect(url) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        assert read_response(connection, bytearray())[0] == 200
        connection.sendall(b"rubbish\r\n\r\n")
        assert read_response(connection, bytearray())[0] == 400
    assert not [record for record in caplog.records if "install" in record.getMessage() or "Invalid HTTP" in record.getMessage()]


# --- time and number ----------------------------------------------------------------------------------------------------


class _Counting:
    """Handlers that count errors."""

    language = "en"

    def __init__(self) -> None:
        self.codes: list[str] = []

    def count_error(self, error: Any) -> None:
        self.codes.append(error.code)


async def _app(scope: Scope, __: Receive, send: Send) -> None:
    body = b"ok" if scope["path"] == "/" else bytes(_LONG)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@contextmanager
def serving(most: int = 100) -> Iterator[str]:
    """A plain app behind connections with short timeouts."""
    own = {"handlers": _Counting(), "crowd": ConnectionLimit(most), "head_seconds": _HEAD_S, "unread_seconds": _UNREAD_S}
    kind = type("Impatient", (Connection,), own)
    server = uvicorn.Server(uvicorn.Config(_app, http=kind, ws="none", lifespan="off", log_config=None, timeout_keep_alive=2))
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=lambda: uvloop.run(server.serve(sockets=[listener])))
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def seconds_until_closed(connection: socket.socket) -> float:
    begin = time.monotonic()
    try:
        while connection.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return time.monotonic() - begin


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HT",
        b"GET / HTTP/1.1\r\nHost: a\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" + b"GET / HTTP/1.1\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf",
    ],
    ids=["nothing", "half a line", "half a head", "half a second head", "half a body that nobody waits for"],
)
def test_what_does_not_come_is_not_waited_for(sent: bytes) -> None:
    """Silence, half a head, or half a body after its response close the connection after the timeout."""
    with serving() as url, connect(url) as connection:
        connection.sendall(sent)
        assert _HEAD_S * 0.5 < seconds_until_closed(connection) < 6


def test_a_head_that_drips_has_the_same_time() -> None:
    """The head timeout does not restart with every byte."""
    with serving() as url, connect(url) as connection:
        begin = time.monotonic()
        with pytest.raises(OSError, match=r"(?i)reset|pipe|abort"):  # noqa: PT012 - a loop that must break
            for _ in range(200):
                connection.sendall(b"X")
                time.sleep(0.05)
        assert time.monotonic() - begin < 5


def test_a_patient_caller_between_requests_is_kept() -> None:
    """An idle keep-alive connection outlives the head timeout."""
    with serving() as url, connect(url) as connection:
        for _ in range(2):
            connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert read_response(connection, bytearray())[0] == 200
            time.sleep(2 * _HEAD_S)


def test_an_answer_that_nobody_reads_ends_its_connection() -> None:
    """A client that never reads is disconnected; one that reads slowly is not."""
    with serving() as url, connect(url) as silent, connect(url) as slow:
        for one in (silent, slow):
            one.sendall(b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n")
        read, end = 0, time.monotonic() + 4 * _UNREAD_S
        while time.monotonic() < end:
            read += len(slow.recv(2**20))
            time.sleep(0.1)
        while read < _LONG and (more := slow.recv(2**20)):
            read += len(more)
        assert read >= _LONG
        seen = 0
        with contextlib.suppress(ConnectionResetError):
            while more := silent.recv(2**20):
                seen += len(more)
        assert seen < _LONG


def test_nothing_is_wrong_with_the_server_when_it_closes_them(caplog: pytest.LogCaptureFixture) -> None:
    """Disconnecting a client that does not read logs no error."""
    with caplog.at_level(logging.INFO), serving() as url, contextlib.ExitStack() as held:
        silent = [held.enter_context(connect(url)) for _ in range(5)]
        for one in silent:
            one.sendall(b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n" * 3)
        time.sleep(3 * _UNREAD_S)
        for one in silent:
            with contextlib.suppress(ConnectionResetError):
                while one.recv(2**20):
                    pass
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_who_goes_away_with_answers_to_come_is_no_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A real server logs no error for clients that disconnect early, and serves the next one."""
    asked = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 400
    with started(settings_of(tmp_path, log_level="info")) as server:
        for _ in range(5):
            with connect(server.url) as gone:
                gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                gone.sendall(asked)
                time.sleep(0.3)
        with connect(server.url) as connection:
            connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert read_response(connection, bytearray()) == (200, b'{"live":true}')
    log = capfd.readouterr().err
    assert " ERROR " not in log, log


def test_a_newcomer_takes_the_place_of_who_is_idle() -> None:
    """At the connection limit, an idle keep-alive connection is closed for a new one."""
    with serving(most=3) as url:
        kept = [connect(url) for _ in range(3)]
        for one in kept:
            one.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert read_response(one, bytearray())[0] == 200
        with connect(url) as newcomer:
            newcomer.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert read_response(newcomer, bytearray())[0] == 200
        for one in kept:
            one.close()


def test_callers_have_a_number_and_it_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """Connections beyond the limit are closed at once, with one log line."""
    with caplog.at_level(logging.WARNING), serving(most=3) as url:
        crowd = [connect(url) for _ in range(8)]
        time.sleep(0.2)
        assert sum(seconds_until_closed(one) < _HEAD_S * 0.4 for one in crowd) >= 4
        for one in crowd:
            one.close()
        time.sleep(0.2)
        with connect(url) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert read_response(connection, bytearray())[0] == 200
    assert [record.getMessage() for record in caplog.records if "connections" in record.getMessage()] == [
        "3 connections are open; more are closed at once"
    ]


@pytest.mark.parametrize(("descriptors", "most"), [(1024, 960), (256, 192), (20, 16)])
def test_the_number_follows_what_the_process_may_open(descriptors: int, most: int) -> None:
    """The limit leaves file descriptors for the worker's own files."""
    assert limit_for(descriptors).most == most
