"""Host and Origin checks against DNS rebinding and cross-site requests."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from tests.support.server import running

from relevo.config import Settings
from relevo.errors import HostNotAllowedError, OriginError
from relevo.web.middleware.trusted_host import HostChecker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relevo.package.package import Package
    from relevo.server import RunningServer

_PNG = {"content-type": "image/png"}
_OPEN = "0.0.0.0"  # noqa: S104 - not listened on


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, digits_package: Package) -> Iterator[RunningServer]:
    with running(tmp_path_factory.mktemp("callers"), digits_package, allowed_hosts="models.example, other.example") as it:
        yield it


def checked(*headers: tuple[str, str], method: str = "POST", **settings: Any) -> None:
    lines = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    HostChecker(Settings(**settings)).check_request({"type": "http", "method": method, "headers": lines})


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:5000", "localhost.", "127.0.0.1", "127.8.9.1:80", "[::1]:8000", "[::1]", "192.168.7.7:8000"]
)
def test_its_own_names_are_let_in(host: str) -> None:
    """Loopback in any notation and with any port, and the setting `host`, are accepted."""
    checked(("host", host), host="192.168.7.7")


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "127.0.0.1@evil.example",
        "relevo",
        "8.8.8.8",
        "0",
        "",
        "[::2]",
        "localhost:8000:9",
        "a b",
        "\xff",
    ],
)
def test_every_other_name_is_refused(host: str) -> None:
    """A foreign name that resolves to this server is rejected."""
    with pytest.raises(HostNotAllowedError):
        checked(("host", host), method="GET")


def test_one_strange_name_of_two_is_enough() -> None:
    """A second Host header does not bypass the check."""
    with pytest.raises(HostNotAllowedError):
        checked(("host", "localhost"), ("host", "evil.example"))


@pytest.mark.parametrize("host", ["10.1.2.3:8000", "relevo:8000", "localhost:5000", socket.gethostname(), "[fd00::1]:80"])
def test_a_server_for_others_goes_by_addresses_and_plain_names(host: str) -> None:
    """In a container: published ports, IP addresses and names without a dot are accepted."""
    checked(("host", host), host=_OPEN)


def test_a_server_for_others_has_no_names_of_the_internet() -> None:
    """A name with a dot must be listed in allowed_hosts; * accepts all."""
    with pytest.raises(HostNotAllowedError):
        checked(("host", "evil.example"), host=_OPEN)
    checked(("host", "models.example"), host=_OPEN, allowed_hosts="Models.Example.")
    checked(("host", "any.example"), allowed_hosts="*")


@pytest.mark.parametrize(
    "origin", ["http://localhost:5000", "https://localhost:5000", "HTTP://LOCALHOST:5000", "https://models.example:8443"]
)
def test_its_own_pages_may_change_things(origin: str) -> None:
    """Same-origin requests are accepted, whatever scheme a proxy uses, as are listed names."""
    checked(("host", "localhost:5000"), ("origin", origin), ("sec-fetch-site", "same-origin"), allowed_hosts="models.example")


@pytest.mark.parametrize(
    "line",
    [
        ("origin", "http://evil.example"),
        ("origin", "http://localhost:3000"),
        ("origin", "http://localhost"),
        ("origin", "null"),
        ("origin", ""),
        ("origin", "file://"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ],
)
def test_a_page_elsewhere_may_change_nothing(line: tuple[str, str]) -> None:
    """Unsafe methods from another host, port or opaque origin are rejected; reads are left to the browser."""
    with pytest.raises(OriginError):
        checked(("host", "localhost:5000"), line)
    checked(("host", "localhost:5000"), line, method="GET")


def test_programs_are_asked_for_nothing() -> None:
    """Origin, Sec-Fetch-Site and, in HTTP/1.0, Host are optional."""
    checked()
    checked(("host", "127.0.0.1:8000"))


def test_what_is_remembered_is_bounded() -> None:
    """The cache of accepted Host values is bounded."""
    callers = HostChecker(Settings())
    assert all(callers.is_known_host(b"localhost:%d" % port) for port in range(3000))
    assert len(callers._accepted) <= 1000


@pytest.mark.parametrize("path", ["/predict", "/models/digits/predict", "/predict/", "/submit", "/feedback"])
def test_nothing_is_recorded_for_a_page_elsewhere(server: RunningServer, digit_pngs: list[bytes], path: str) -> None:
    """A simple cross-site POST is rejected, as is one with a foreign Host."""
    for headers, code in (
        ({"Origin": "http://evil.example"}, "forbidden"),
        ({"Sec-Fetch-Site": "cross-site"}, "forbidden"),
        ({"Host": "evil.example"}, "host_not_allowed"),
    ):
        response = httpx.post(f"{server.url}{path}", content=digit_pngs[0], headers={"content-type": "text/plain", **headers})
        assert (response.status_code, response.json()["code"]) == (403, code)
    assert httpx.get(f"{server.url}/predictions").json()["items"] == []


@pytest.mark.parametrize("path", ["/predictions", "/models", "/metrics", "/", "/health/live"])
def test_nothing_is_told_under_a_strange_name(server: RunningServer, path: str) -> None:
    """Reads with a foreign Host are rejected."""
    assert httpx.get(f"{server.url}{path}", headers={"Host": "evil.example"}).json()["code"] == "host_not_allowed"


def test_a_listed_name_is_let_in(server: RunningServer, digit_pngs: list[bytes]) -> None:
    """Names in allowed_hosts are accepted on both paths, and their pages are same-origin."""
    for name in ("models.example", "OTHER.example:8443"):
        for more in ({}, {"Origin": f"https://{name}"}):
            response = httpx.post(f"{server.url}/predict", content=digit_pngs[0], headers={**_PNG, "Host": name, **more})
            assert response.status_code == 200
