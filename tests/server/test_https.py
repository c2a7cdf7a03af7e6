"""A TLS server behaves like a plain one: both request paths, health, links in pages, shutdown."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING

import httpx
import pytest

pytest.importorskip("cryptography", reason="the library that makes certificates is not installed")

from tests.server.test_main import eventually
from tests.support.server import running, settings_of, started
from tests.support.tls import pair

import relevo.server
from relevo.client import Client
from relevo.errors import ConfigError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from relevo.package.package import Package
    from relevo.server import RunningServer

PNG = {"content-type": "image/png"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def cert(home: Path) -> Path:
    """The path of the self-signed certificate."""
    return home / "home" / "tls" / "cert.pem"


@pytest.fixture(scope="module")
def server(home: Path, digits_package: Package) -> Iterator[RunningServer]:
    with running(home, digits_package, tls="auto", workers=2) as it:
        yield it


def trusting(cert: Path) -> httpx.Client:
    """A client that trusts only the certificate file and checks the host name."""
    return httpx.Client(verify=ssl.create_default_context(cafile=cert), trust_env=False)


def test_tls_auto_serves_https(server: RunningServer, cert: Path, digits_package: Package, digit_pngs: list[bytes]) -> None:
    """tls=auto: the URL is https, clients that trust the file get predictions on both paths, and the history records them."""
    assert server.url.startswith("https://127.0.0.1:")
    with trusting(cert) as http:
        short = http.post(f"{server.url}/predict", content=digit_pngs[0], headers=PNG).json()
        chunks = http.post(f"{server.url}/predict", content=iter([digit_pngs[0]]), headers=PNG).json()
        assert short["prediction"] == chunks["prediction"] == digits_package.predict(digit_pngs[0]).predicted_label
        assert http.get(f"{server.url}/health/ready").status_code == 200
        for told in (short, chunks):
            eventually(lambda told=told: http.get(f"{server.url}/predictions/{told['query_id']}").status_code == 200)


def test_a_large_body_arrives_whole(server: RunningServer, cert: Path) -> None:
    """Bodies of many TLS records arrive whole; errors have their codes, as over plain connections."""
    with trusting(cert) as http:
        refused = http.post(f"{server.url}/predict", content=b"x" * (3 << 20), headers=PNG)
        assert (refused.status_code, refused.json()["code"]) == (415, "unsupported_image")


def test_the_page_names_the_address_as_it_was_asked(server: RunningServer, cert: Path, digit_pngs: list[bytes]) -> None:
    """The example command in a page uses https."""
    with trusting(cert) as http:
        page = http.post(f"{server.url}/submit", files={"file": ("digit.png", digit_pngs[0], "image/png")}).text
        assert f"curl -F file=@image.png {server.url}/models/digits/predict" in page


def test_pipelined_requests_are_answered_in_order(server: RunningServer, cert: Path, digit_pngs: list[bytes]) -> None:
    """Twenty requests in one write give twenty responses in order."""
    host, port = server.url.removeprefix("https://").split(":")
    raw = b"".join(
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: n%02d\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n"
        % (number, len(digit_pngs[0]))
        + digit_pngs[0]
        for number in range(20)
    )
    context = ssl.create_default_context(cafile=cert)
    with socket.create_connection((host, int(port)), timeout=10) as plain, context.wrap_socket(plain, server_hostname=host) as one:
        one.sendall(raw)
        held = b""
        while held.count(b"query_id") < 20:
            more = one.recv(65536)
            assert more
            held += more
    assert [held.index(b"x-request-id: n%02d" % number) for number in range(20)] == sorted(
        held.index(b"x-request-id: n%02d" % number) for number in range(20)
    )


def test_bytes_that_are_no_http_are_refused(server: RunningServer, cert: Path) -> None:
    """Invalid HTTP gives the same 400 with a code as over plain connections, complete before the close."""
    host, port = server.url.removeprefix("https://").split(":")
    context = ssl.create_default_context(cafile=cert)
    with socket.create_connection((host, int(port)), timeout=10) as plain, context.wrap_socket(plain, server_hostname=host) as one:
        one.sendall(b"hello\r\n\r\n")
        held = b""
        while more := one.recv(65536):
            held += more
    assert held.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b'"code":"http_malformed"' in held


def test_nothing_is_said_in_the_clear(server: RunningServer) -> None:
    """A plain http client gets no response, and the server goes on."""
    with pytest.raises(httpx.TransportError):
        httpx.get(server.url.replace("https", "http"), trust_env=False)


def test_old_protocols_get_no_answer(server: RunningServer, cert: Path) -> None:
    """A client limited to TLS 1.1 is rejected."""
    context = ssl.create_default_context(cafile=cert)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    host, port = server.url.removeprefix("https://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as plain, pytest.raises((ssl.SSLError, ConnectionError)):
        context.wrap_socket(plain, server_hostname=host)


def test_the_client_trusts_what_it_is_told_to(
    server: RunningServer, cert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digit_pngs: list[bytes]
) -> None:
    """The client verifies with verify= or SSL_CERT_FILE; otherwise, or with another certificate, it fails at once with a hint."""
    with Client(server.url, verify=cert) as client:
        assert client.predict("digits", digit_pngs[0]).model == "digits"
        assert client.ready()
        assert client.live()
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    with Client(server.url) as client:
        assert client.models()
    monkeypatch.delenv("SSL_CERT_FILE")
    foreign, _ = pair(tmp_path)
    for verify in (None, foreign):
        start = time.monotonic()
        with Client(server.url, verify=verify) as client, pytest.raises(UnavailableError, match=r"not trusted here: .*--ca"):
            client.predict("digits", digit_pngs[0])
        assert time.monotonic() - start < 3.0
        with Client(server.url, verify=verify) as client:
            assert not client.live()
    with pytest.raises(ConfigError, match="holds no certificates to trust"):
        Client(server.url, verify=tmp_path / "nowhere")


def test_a_given_pair_is_shown_to_callers(tmp_path: Path, digits_package: Package) -> None:
    """tls_cert and tls_key: clients see the configured certificate; without the key the server does not start."""
    given, key = pair(tmp_path / "given", "127.0.0.1", "models.example")
    with running(tmp_path, digits_package, tls_cert=str(given), tls_key=str(key)) as server:
        host, port = server.url.removeprefix("https://").split(":")
        assert ssl.get_server_certificate((host, int(port))).split() == given.read_text().split()
    refused = relevo.server.start_server(settings_of(tmp_path, tls_cert=str(given)))
    with pytest.raises(ConfigError, match="given without tls_key"):
        refused.wait_ready(30)
    refused.stop()


def test_a_renewed_certificate_is_shown_without_a_restart(tmp_path: Path) -> None:
    """Every worker loads renewed files within seconds."""
    given, key = pair(tmp_path / "given")
    renewed, renewed_key = pair(tmp_path / "renewed")
    with started(settings_of(tmp_path, tls_cert=str(given), tls_key=str(key), workers=2)) as server:
        host, port = server.url.removeprefix("https://").split(":")
        key.write_bytes(renewed_key.read_bytes())
        given.write_bytes(renewed.read_bytes())
        shown = given.read_text().split()

        def everywhere() -> bool:
            return all(ssl.get_server_certificate((host, int(port))).split() == shown for _ in range(10))

        eventually(everywhere)


def test_callers_who_say_nothing_do_not_hold_a_stopping_server_up(tmp_path: Path) -> None:
    """Idle connections, one without a handshake, are closed at shutdown well before the drain timeout."""
    with started(settings_of(tmp_path, tls="auto", shutdown_timeout_s=20)) as server:
        host, port = server.url.removeprefix("https://").split(":")
        with trusting(tmp_path / "home" / "tls" / "cert.pem") as http, socket.create_connection((host, int(port))):
            assert http.get(f"{server.url}/health/live").status_code == 200
            start = time.monotonic()
            assert server.stop() == 0
            assert time.monotonic() - start < 10


def test_an_answer_under_way_is_given_while_the_server_stops(tmp_path: Path) -> None:
    """A request whose body arrives after SIGTERM is answered completely."""
    with started(settings_of(tmp_path, tls="auto", shutdown_timeout_s=10)) as server:
        host, port = server.url.removeprefix("https://").split(":")
        context = ssl.create_default_context(cafile=tmp_path / "home" / "tls" / "cert.pem")
        with socket.create_connection((host, int(port))) as plain, context.wrap_socket(plain, server_hostname=host) as one:
            one.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 4\r\n\r\nab")
            time.sleep(0.2)
            ending = threading.Thread(target=server.stop)
            ending.start()
            time.sleep(1.5)
            one.sendall(b"cd")
            answer = b""
            while more := one.recv(65536):
                answer += more
            ending.join()
    assert answer.startswith(b"HTTP/1.1 503")
    assert answer.endswith(b"}")


def test_the_certificates_end_is_a_metric(server: RunningServer, cert: Path) -> None:
    """The expiry of the certificate is exported as a metric for alerting rules."""
    from cryptography import x509

    ends = x509.load_pem_x509_certificate(cert.read_bytes()).not_valid_after_utc.timestamp()

    def told() -> bool:
        with trusting(cert) as http:
            text = http.get(f"{server.url}/metrics").text
        lines = [line for line in text.splitlines() if line.startswith("relevo_certificate_expires_timestamp_seconds ")]
        return [float(line.split()[1]) for line in lines] == [ends]

    eventually(told)
