"""A slow model does not block health checks, and does not run for disconnected clients."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from tests.support.chaos import Clients, Probes, children, image_questions, memory_mb, say, scaled, talking, total, until
from tests.support.server import put, settings_of, started
from tests.support.slow_model import FIELDS, slow_package

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import relevo.server
    from relevo.package.package import Package

pytestmark = pytest.mark.chaos

_RECORD = dict.fromkeys(FIELDS, 0.25)
_PROBED_S = scaled(6.0, 60.0)
#: Share of health checks within 50 ms that is asked of a machine which does other things besides.
_SOON_SHARE = 0.95
_HANG_UPS = 1000
_A_WAVE = 200
_WAVES = scaled(2, 5)


@pytest.fixture(scope="module")
def slow() -> Package:
    """The slow model, packed once."""
    return slow_package()


@pytest.fixture
def server(tmp_path: Path, slow: Package) -> Iterator[relevo.server.RunningServer]:
    """One worker with the slow model."""
    settings = settings_of(tmp_path, workers=1, max_batch_size=4, max_queue_seconds=600)
    put(settings, slow)
    with started(settings) as running:
        yield running


def test_health_answers_while_a_slow_model_runs(server: relevo.server.RunningServer) -> None:
    """Live and ready answer at once, probed every 50 ms, while the only worker's model is never idle."""
    stop = threading.Event()
    took: list[float] = []

    def ask() -> None:
        with talking(server.url) as client:
            while not stop.is_set():
                begin = time.monotonic()
                assert client.post("/predict", json=_RECORD).status_code == 200
                took.append(time.monotonic() - begin)

    askers = [threading.Thread(target=ask) for _ in range(3)]
    for asker in askers:
        asker.start()
    with Probes(server.url) as probes:
        time.sleep(_PROBED_S)
    stop.set()
    for asker in askers:
        asker.join()
    say(
        f"model of {min(took) * 1000:.0f} ms a batch, never idle for {_PROBED_S:.0f} s: {probes.figures()}; "
        f"{probes.share_within(0.05):.1%} of probes within 50 ms"
    )
    assert min(took) > 0.15, "the model is not slow here"
    assert probes.failed == []
    assert probes.share_within(0.05) >= _SOON_SHARE


def test_rows_of_callers_who_left_never_reach_the_model(
    server: relevo.server.RunningServer, capfd: pytest.CaptureFixture[str]
) -> None:
    """Hundreds of clients disconnect while they wait: the model runs for the others only."""
    with talking(server.url) as client:
        before = total(client, "relevo_batch_rows_sum")
        stayed = 0
        for _ in range(_WAVES):
            stayed += _wave(server.url)
        assert client.post("/predict", json=_RECORD).status_code == 200
        seen = total(client, "relevo_batch_rows_sum") - before
        waiting = total(client, "relevo_queue_rows")
    assert "ERROR" not in capfd.readouterr().err, "somebody's leaving is nobody's error"
    with capfd.disabled():
        say(f"{_WAVES * _A_WAVE} callers hung up before the cut, {stayed + 1} rows asked by who stayed: the model saw {seen:.0f}")
    assert seen == stayed + 1
    assert waiting == 0


def _wave(url: str) -> int:
    """One long batch occupies the model, many queue behind it and leave, one of them stays; rows that had to be answered."""
    rows = 6
    answers: list[int] = []

    def ask(some: object) -> None:
        with talking(url) as client:
            answers.append(client.post("/predict", json=some).status_code)

    first = threading.Thread(target=ask, args=([_RECORD] * rows,))
    first.start()
    time.sleep(0.15)
    body = json.dumps(_RECORD).encode()
    leaving = [_sent(url, body) for _ in range(_A_WAVE)]
    staying = threading.Thread(target=ask, args=(_RECORD,))
    staying.start()
    time.sleep(0.1)
    assert answers == [], "the batch in front was too short: nobody has waited"
    for one in leaving:
        one.close()
    first.join()
    staying.join()
    assert answers == [200, 200]
    return rows + 1


def _sent(url: str, body: bytes) -> socket.socket:
    """A connection with a whole request on it."""
    host = urlsplit(url)
    connection = socket.create_connection((host.hostname, host.port), timeout=10)
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)
    return connection


def test_everybody_is_answered_or_refused_in_time(tmp_path: Path, slow: Package, capfd: pytest.CaptureFixture[str]) -> None:
    """max_queue_seconds: of more callers than a slow model can serve each is answered or refused within twice that time and a run.

    One caller's batch holds nobody else up, and who comes again when Retry-After says is answered.
    """
    bound = 4.0
    settings = settings_of(tmp_path, workers=1, max_queue_seconds=bound)
    put(settings, slow)
    seen: list[tuple[int, float, float]] = []  # status, seconds, Retry-After

    def ask(some: object) -> None:
        with talking(url) as client:
            begin = time.monotonic()
            answer = client.post("/predict", json=some)
            seen.append((answer.status_code, time.monotonic() - begin, float(answer.headers.get("retry-after", 0))))

    with started(settings) as server:
        url = server.url
        ask(_RECORD)
        row_s = seen.pop()[1]
        batch = threading.Thread(target=ask, args=([_RECORD] * max(2, int(bound / row_s / 2)),))
        batch.start()
        time.sleep(0.05)
        callers = [threading.Thread(target=ask, args=(_RECORD,)) for _ in range(60)]
        for one in callers:
            one.start()
        for one in [batch, *callers]:
            one.join()
        answered = [took for status, took, _ in seen if status == 200]
        refused = [told for status, _, told in seen if status == 503]
        with capfd.disabled():
            say(
                f"model of {row_s:.2f} s a row, {len(seen)} callers: {len(answered)} answered within {max(answered):.1f} s, "
                f"{len(refused)} refused, to come again in {min(refused, default=0):.0f} to {max(refused, default=0):.0f} s"
            )
        assert len(answered) + len(refused) == len(seen) == 61
        assert max(took for _, took, _ in seen) < 2 * bound + 5 * row_s + 1
        assert refused
        assert all(1 <= told <= 2 * bound + 1 for told in refused)
        time.sleep(max(refused))
        ask(_RECORD)
        assert seen[-1][0] == 200


def test_a_thousand_hang_ups_disturb_nobody(
    tmp_path: Path, digits_package: Package, digit_pngs: list[bytes], capfd: pytest.CaptureFixture[str]
) -> None:
    """Clients that leave in the midst of head, body, answer or with a reset: neighbours get right answers, the worker lives on."""
    settings = settings_of(tmp_path, workers=1)
    put(settings, digits_package)
    draw = random.Random(11)  # noqa: S311 - where a request breaks off, no secret
    with started(settings) as server:
        workers = children(server.pid, "worker")
        assert len(workers) == settings.workers
        questions = image_questions(digit_pngs, {1: digits_package})
        with Clients(server.url, questions, tmp_path / "ledgers", threads=2) as clients:
            assert until(lambda: clients.answered() > 20, within_s=20)
            before = memory_mb(workers[0], "VmRSS")
            for _ in range(_HANG_UPS):
                _hang_up(server.url, draw.choice(digit_pngs), draw)
            grown = memory_mb(workers[0], "VmRSS") - before
            answered = clients.answered()
            assert until(lambda: clients.answered() > answered + 20, within_s=10)
        assert children(server.pid, "worker") == workers
        with talking(server.url) as client:
            assert until(lambda: total(client, "relevo_queue_rows") == 0, within_s=5)
    seen = clients.seen
    assert "ERROR" not in capfd.readouterr().err, "somebody's leaving is nobody's error"
    with capfd.disabled():
        say(
            f"{_HANG_UPS} hang-ups: neighbours got {seen.requests} answers, p50 {seen.p50_s * 1000:.1f} "
            f"p99 {seen.p99_s * 1000:.1f} max {seen.slowest_s * 1000:.0f} ms; worker grew by {grown:.1f} MiB"
        )
    assert (seen.refused, seen.broken, seen.wrong, seen.stuck) == ({}, 0, 0, 0)
    assert grown < 20


def _hang_up(url: str, picture: bytes, draw: random.Random) -> None:
    """Send some part of a request and leave, in order or with a reset."""
    host = urlsplit(url)
    head = (
        f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: {len(picture)}\r\n\r\n".encode()
    )
    whole = head + picture
    with (
        contextlib.suppress(OSError, http.client.HTTPException),
        socket.create_connection((host.hostname, host.port), 10) as connection,
    ):
        connection.sendall(whole[: draw.choice([0, 1, 20, len(head), len(whole) // 2, len(whole) - 1, len(whole), len(whole)])])
        if draw.random() < 0.3:
            connection.settimeout(0.005)
            with contextlib.suppress(TimeoutError):
                connection.recv(draw.choice([1, 100]))
        if draw.random() < 0.5:
            # Closing with unread data, or with SO_LINGER 0, resets the connection.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
