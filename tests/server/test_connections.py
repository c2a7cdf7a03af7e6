"""Connections of a whole server: shutdown, keep-alive, and the limit of TLS handshakes."""

from __future__ import annotations

import resource
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import pytest
from tests.support.server import put, running, settings_of, started

import relevo.server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from relevo.package.package import Package

_GET = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
_LIVE = b'{"live":true}'
_DESCRIPTORS = 100


def connect(url: str) -> socket.socket:
    address = urlsplit(url)
    return socket.create_connection((address.hostname, address.port), timeout=20)


def all_of(connection: socket.socket) -> bytes:
    """All data until the other end closes the connection."""
    seen = b""
    while more := connection.recv(65536):
        seen += more
    return seen


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, churn_package: Package) -> Iterator[relevo.server.RunningServer]:
    with running(tmp_path_factory.mktemp("connections"), churn_package, keep_alive_seconds=2, max_body_mb=1) as it:
        yield it


def test_an_idle_connection_is_kept_as_long_as_the_setting_says(server: relevo.server.RunningServer) -> None:
    """keep_alive_seconds: an idle connection is kept open that long, then closed."""
    with connect(server.url) as connection:
        for pause in (1.0, 0.0):
            connection.sendall(_GET)
            seen = b""
            while not seen.endswith(_LIVE):
                seen += connection.recv(65536)
            time.sleep(pause)
        begin = time.monotonic()
        assert all_of(connection) == b""
        assert 1.5 < time.monotonic() - begin < 8


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_too_large_reads_as_413_where_the_connection_is_to_close(
    server: relevo.server.RunningServer, *, chunked: bool
) -> None:
    """With `Connection: close`, a client that reads only after its body gets the 413 and no reset."""
    size = 8 * 2**20
    length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % size
    head = (
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n%s\r\n\r\n" % length
    )
    with connect(server.url) as connection:
        connection.sendall(head)
        for _ in range(size // 65536):
            connection.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n" if chunked else b" " * 65536)
            time.sleep(0.001)
        if chunked:
            connection.sendall(b"0\r\n\r\n")
        seen = all_of(connection)
    assert seen.startswith(b"HTTP/1.1 413 ")
    assert b"body_too_large" in seen


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET /health/live HTTP/1.1\r\n\r\n", 400),
        (b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
        (b"POST /models/churn/predict HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", 400),
        (b"GET /health/live HTTP/1.0\r\n\r\n", 200),
    ],
    ids=["none", "two", "none on the short way", "none in HTTP/1.0"],
)
def test_http_1_1_has_one_host(server: relevo.server.RunningServer, raw: bytes, status: int) -> None:
    """HTTP/1.1 without Host, or with several, is 400 host_missing; HTTP/1.0 needs no Host."""
    with connect(server.url) as connection:
        connection.sendall(raw)
        seen = all_of(connection)
    assert int(seen.split()[1]) == status
    assert (b"host_missing" in seen) == (status == 400)


def test_the_api_s_document_is_made_for_many_at_once(server: relevo.server.RunningServer) -> None:
    """Concurrent first requests for /openapi.json all succeed."""
    seen: list[int] = []

    def ask() -> None:
        seen.append(httpx.get(f"{server.url}/openapi.json", timeout=60).status_code)

    askers = [threading.Thread(target=ask) for _ in range(24)]
    for one in askers:
        one.start()
    for one in askers:
        one.join()
    assert seen == [200] * 24


def test_an_ending_server_answers_everybody_it_has_connected(tmp_path: Path, churn_package: Package) -> None:
    """On SIGTERM, connected and queued clients are answered, new ones are refused, and no connection is reset."""
    settings = settings_of(tmp_path, workers=2, shutdown_timeout_s=10)
    put(settings, churn_package)
    ended, answered, broken = threading.Event(), [0], list[str]()

    def ask() -> None:
        while not ended.is_set():
            try:
                connection = connect(url)
            except ConnectionRefusedError:
                return
            except TimeoutError:
                broken.append("no word on connecting")
                return
            with connection:
                try:
                    connection.sendall(_GET)
                    seen = connection.recv(65536)
                except OSError as cause:
                    broken.append(repr(cause))
                    return
                if b" 200 " not in seen:
                    broken.append(repr(seen))
                    return
            answered[0] += 1

    with started(settings) as server:
        url = server.url
        callers = [threading.Thread(target=ask) for _ in range(24)]
        for one in callers:
            one.start()
        time.sleep(1)
        assert answered[0] > 24
        assert server.stop() == 0
        ended.set()
        for one in callers:
            one.join()
    assert broken == []


def test_handshakes_that_never_come_take_no_more_places_than_there_are(tmp_path: Path, churn_package: Package) -> None:
    """Silent TLS clients count towards the connection limit: excess ones are closed, later ones are served."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_DESCRIPTORS, before[1]))
    settings = settings_of(tmp_path, tls="auto")
    try:
        put(settings, churn_package)
        server = relevo.server.start_server(settings)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    try:
        server.wait_ready(60)
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        assert httpx.get(f"{server.url}/health/live", verify=trusting).status_code == 200
        silent = [connect(server.url) for _ in range(_DESCRIPTORS)]
        time.sleep(0.5)
        closed = 0
        for one in silent:
            one.settimeout(0.01)
            try:
                closed += one.recv(1) == b""
            except ConnectionResetError:
                closed += 1
            except TimeoutError:
                pass
        assert 40 < closed < 90
        for one in silent:
            one.close()
        time.sleep(0.5)
        assert httpx.get(f"{server.url}/health/live", verify=trusting).status_code == 200
    finally:
        assert server.stop() == 0
