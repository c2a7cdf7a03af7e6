"""Rate limits by client: rows, bytes and pixels, per second and concurrent, independent of other clients."""

from __future__ import annotations

import io
import re
import socket
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from PIL import Image
from tests.support.server import running

from relevo.config import Settings
from relevo.domain.access import ANONYMOUS_ADMIN, AuthMethod, Principal, Role
from relevo.errors import ConcurrencyLimitError, RateLimitError
from relevo.web.middleware.rate_limit import _MAX_BUCKETS, RateLimiter, allowance_of, client_id, request_cost

if TYPE_CHECKING:
    from relevo.package.package import Package

PNG = {"content-type": "image/png"}


class Clock:
    """A manual clock."""

    now = 1000.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


def allowed(clock: Clock | None = None, **changes: Any) -> RateLimiter:
    return RateLimiter(**{"rate": 10.0, "burst": 20.0, "max_concurrent": 0, "monotonic": clock or Clock(), **changes})


def test_what_is_over_the_burst_is_waited_for() -> None:
    """Tokens go below zero once; Retry-After is the time until they are positive."""
    clock = Clock()
    allowance = allowed(clock)
    allowance.charge_or_refuse("ana", 45)
    with pytest.raises(RateLimitError) as refused:
        allowance.check("ana")
    wait = refused.value.facts["retry_after"]
    assert wait == 3
    allowance.check("ben")
    clock.now += 2.4
    with pytest.raises(RateLimitError):
        allowance.charge_or_refuse("ana", 1)
    clock.now += 0.2
    allowance.check("ana")


def test_units_come_back_up_to_the_burst() -> None:
    """Tokens never exceed the burst."""
    clock = Clock()
    allowance = allowed(clock)
    allowance.charge_or_refuse("ana", 1)
    clock.now += 36_000
    allowance.charge_or_refuse("ana", 20)
    with pytest.raises(RateLimitError):
        allowance.check("ana")


def test_so_many_at_once() -> None:
    """A finished request, whatever its result, makes room for the next."""
    allowance = allowed(rate=0.0, max_concurrent=2)
    with allowance.limit("ana"), allowance.limit("ben"):
        with pytest.raises(ZeroDivisionError), allowance.limit("ana"):
            1 / 0  # noqa: B018 - what went wrong is of no matter
        with allowance.limit("ana"), pytest.raises(ConcurrencyLimitError) as refused, allowance.limit("ana"):
            pass
        assert refused.value.facts["limit"] == 2
        with allowance.limit("ana"):
            pass


def test_callers_that_are_gone_are_forgotten() -> None:
    """The number of buckets is bounded; clients in debt or with running requests are kept."""
    clock = Clock()
    allowance = allowed(clock)
    allowance.charge_or_refuse("ana", 1000)
    allowance.check("ben")
    allowance.start("ben")
    for number in range(3 * _MAX_BUCKETS):
        allowance.charge_or_refuse(f"caller {number}", 1)
        clock.now += 0.001
    assert len(allowance._buckets) <= _MAX_BUCKETS
    with pytest.raises(RateLimitError):
        allowance.check("ana")
    allowance.finish("ben")
    for number in range(3 * _MAX_BUCKETS):
        allowance.charge_or_refuse(f"flood {number}", 1000)
    assert len(allowance._buckets) <= _MAX_BUCKETS


@pytest.mark.parametrize(
    ("address", "same", "other"),
    [
        ("203.0.113.9", "203.0.113.9", "203.0.113.10"),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:3::1"),
        ("::ffff:203.0.113.9", "203.0.113.9", "203.0.113.10"),
    ],
)
def test_an_address_is_one_caller(address: str, same: str, other: str) -> None:
    """All addresses of an IPv6 /64 network are one client."""
    named = {told: client_id(ANONYMOUS_ADMIN, (told, 1)) for told in (address, same, other)}
    assert named[address] == named[same] != named[other]
    assert client_id(None, None) == ""


def test_a_key_is_a_caller_wherever_it_asks_from() -> None:
    """The key identifies a client, else the user, else the address."""
    key = Principal(id="u1", name="ana", auth_method=AuthMethod.KEY, role=Role.VIEWER, key="rlv_1")
    session = Principal(id="u1", name="ana", auth_method=AuthMethod.SESSION, role=Role.VIEWER)
    assert client_id(key, ("10.0.0.1", 1)) == client_id(key, ("10.0.0.2", 1)) != client_id(session, ("10.0.0.1", 1))


def test_rows_bytes_and_pixels_weigh() -> None:
    """A row costs one token, as do 256 KiB or a million pixels; invalid images cost their bytes."""
    held = io.BytesIO()
    Image.new("L", (3000, 1000)).save(held, "PNG")
    assert request_cost(0, rows=7) == 7
    assert request_cost(2**19) == 3
    assert request_cost(0, image=held.getvalue()) == 4
    assert request_cost(0, image=b"no picture") == 1


def test_the_settings_are_shared_out_among_workers() -> None:
    """rate_limit and rate_burst are divided among workers; the default burst is ten seconds; 0 is no limit."""
    assert allowance_of(Settings()) is None
    halves = allowance_of(Settings(rate_limit=10, workers=2))
    assert halves is not None
    assert (halves._rate, halves._burst) == (5.0, 50.0)
    named = allowance_of(Settings(rate_limit=10, rate_burst=12, workers=2))
    assert named is not None
    assert (named._rate, named._burst) == (5.0, 6.0)


@pytest.mark.parametrize("workers", [1, 2, 3, 4, 7, 16])
def test_all_workers_together_allow_what_was_said(workers: int) -> None:
    """The shares of all workers add up to the configured limits, except for a minimum of one each."""
    for bound in (1, 2, 5, 10, 16, 33, 100):
        settings = Settings(rate_limit=bound / 3, rate_burst=bound, max_concurrency_per_client=bound, workers=workers)
        share = allowance_of(settings)
        assert share is not None
        assert share._rate * workers == pytest.approx(bound / 3)
        assert share._burst * workers == pytest.approx(max(bound, workers))
        assert share._max_concurrent * workers <= max(bound, workers)
        assert share._max_concurrent >= 1


def test_unevenly_spread_connections_get_no_more_than_was_said(
    tmp_path: Any, digits_package: Package, digit_pngs: list[bytes]
) -> None:
    """One connection gets one worker's share; many connections get at most the configured rate."""
    with running(tmp_path, digits_package, workers=2, rate_limit=0.2, rate_burst=24) as server:

        def answered(client: httpx.Client, times: int, headers: dict[str, str]) -> int:
            told = [client.post("/predict", content=digit_pngs[0], headers=headers).status_code for _ in range(times)]
            return told.count(200)

        begun = time.monotonic()
        with httpx.Client(base_url=server.url, transport=httpx.HTTPTransport(local_address="127.0.0.2")) as one:
            kept = answered(one, 40, PNG)
        with httpx.Client(base_url=server.url, transport=httpx.HTTPTransport(local_address="127.0.0.3")) as many:
            spread = answered(many, 100, PNG | {"connection": "close"})
        back = (time.monotonic() - begun) * 0.2 + 2
        # An image of a digit costs little more than one token.
        assert 9 <= kept <= 12 + back
        assert 19 <= spread <= 24 + back


def test_a_flood_of_one_leaves_the_others_alone(tmp_path: Any, digits_package: Package, digit_pngs: list[bytes]) -> None:
    """rate_limit on all paths: 429 with Retry-After for a flooding client, normal responses for others."""
    with running(tmp_path, digits_package, rate_limit=2, rate_burst=6) as server:
        flooder = httpx.Client(base_url=server.url, transport=httpx.HTTPTransport(local_address="127.0.0.2"))
        neighbour = httpx.Client(base_url=server.url, transport=httpx.HTTPTransport(local_address="127.0.0.3"))
        with flooder, neighbour:
            told = [flooder.post("/predict", content=digit_pngs[0], headers=PNG) for _ in range(20)]
            answered = [one for one in told if one.status_code == 200]
            assert 5 <= len(answered) <= 12
            refused = flooder.post("/predict", content=iter([digit_pngs[0]]), headers=PNG)
            assert (refused.status_code, refused.json()["code"]) == (429, "rate_exceeded")
            assert refused.headers["retry-after"] in refused.json()["error"]
            assert flooder.get("/models").status_code == 429
            assert flooder.get("/health/live").status_code == 200, "a probe is nobody's share"
            old = flooder.post("/predict/", files={"image": digit_pngs[0]})
            assert (old.json()["status_code"], old.headers["retry-after"].isdigit()) == (429, True)
            for _ in range(4):
                assert neighbour.post("/predict", content=digit_pngs[0], headers=PNG).status_code == 200
            time.sleep(1.2)
            assert flooder.post("/predict", content=digit_pngs[0], headers=PNG).status_code == 200


def test_what_is_no_question_costs_as_well(tmp_path: Any, churn_package: Package, churn_records: list[dict[str, Any]]) -> None:
    """Invalid bodies cost their size, batches their rows; a large batch is answered once."""
    with running(tmp_path, churn_package, rate_limit=1, rate_burst=3) as server:
        for number, (body, status) in enumerate([(b"{" + b" " * 2**20, 413), (b"{}", 429)]):
            assert httpx.post(f"{server.url}/predict", content=body, headers={"content-type": "application/json"}).status_code == (
                status
            ), number
        elsewhere = httpx.Client(base_url=server.url, transport=httpx.HTTPTransport(local_address="127.0.0.7"))
        with elsewhere:
            assert elsewhere.post("/predict", json=churn_records[:40]).status_code == 200
            refused = elsewhere.post("/predict", json=churn_records[:1])
            assert refused.status_code == 429
            assert 30 < int(refused.headers["retry-after"]) <= 38


def test_a_caller_who_hangs_up_gives_its_place_back(tmp_path: Any, digits_package: Package, digit_pngs: list[bytes]) -> None:
    """A client that disconnects early frees its concurrency slot, on the fast path too."""
    with running(tmp_path, digits_package, max_concurrency_per_client=1) as server:
        host, port = server.url.removeprefix("http://").split(":")
        head = (
            f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: {len(digit_pngs[0])}\r\n\r\n"
        )
        for _ in range(20):
            with socket.create_connection((host, int(port)), timeout=10) as connection:
                connection.sendall(head.encode() + digit_pngs[0])
        deadline = time.monotonic() + 5
        while httpx.post(f"{server.url}/predict", content=digit_pngs[0], headers=PNG).status_code != 200:
            assert time.monotonic() < deadline
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(head.encode() + digit_pngs[0])
            told = connection.recv(65536).decode()
        # Only the fast path uses the query_id as request id.
        assert re.search("x-request-id: (.+)\r", told)[1] == re.search('"query_id":"([^"]+)"', told)[1]  # type: ignore[index]  # both are there
