"""Malicious images, generated and from public test corpora: each is answered or rejected, and other clients are not affected."""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from tests.support.chaos import Clients, Probes, children, image_questions, memory_mb, percentile, say
from tests.support.image_bombs import bombs
from tests.support.server import put, settings_of, started

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from relevo.package.package import Package

pytestmark = pytest.mark.chaos

_PROMISED_S = 5.0
#: Highest resident memory of a worker: the largest allowed picture (40 million pixels) once, decoded by the greediest decoder.
_CAP_MB = 1024.0
#: The p99 of other clients while malicious images are decoded, on a fully loaded machine.
_NEIGHBOURS_P99_S = 0.5


@dataclass(slots=True, kw_only=True)
class Siege:
    """What came of sending them all; lives as long as one test."""

    answered: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def test_every_nasty_file_is_answered_or_refused(
    tmp_path: Path, real_data: Path, digits_package: Package, digit_pngs: list[bytes]
) -> None:
    """Broken and odd files of Pillow, PngSuite and libjpeg-turbo: an answer or a 4xx with a code, soon, and no worker dies."""
    files = [path for path in sorted((real_data / "nasty_images").rglob("*")) if path.suffix not in {".md", ".csv", ""}]
    named = [(path.name, path.read_bytes()) for path in files if path.name != "SHA256SUMS"]
    siege = _besiege(tmp_path, named, digits_package, digit_pngs, what="nasty files")
    assert siege.answered > 100


def test_bombs_cost_little(tmp_path: Path, digits_package: Package, digit_pngs: list[bytes]) -> None:
    """Decompression bombs, endless chunks, segments and scans, and files cut at any place: bounded time and memory."""
    _besiege(tmp_path, bombs(), digits_package, digit_pngs, what="bombs")


def _besiege(tmp_path: Path, named: Iterable[tuple[str, bytes]], package: Package, pictures: list[bytes], *, what: str) -> Siege:
    settings = settings_of(tmp_path, workers=2)
    put(settings, package)
    siege = Siege()
    with started(settings) as server:
        workers = children(server.pid, "worker")
        assert len(workers) == settings.workers
        questions = image_questions(pictures, {1: package})
        with Probes(server.url) as probes, Clients(server.url, questions, tmp_path / "ledgers", threads=1, pause_s=0.02) as clients:
            for name, data in named:
                _send(server.url, name, data, siege)
        memory = max(memory_mb(pid) for pid in workers)
        same = children(server.pid, "worker") == workers
    say(
        f"{len(siege.seconds)} {what}: {siege.answered} answered, refused {siege.refused}; slowest {max(siege.seconds):.2f} s, "
        f"p50 {percentile(siege.seconds, 0.5) * 1000:.0f} ms; worker's memory at most {memory:.0f} MiB; "
        f"neighbours p50 {clients.seen.p50_s * 1000:.1f} p99 {clients.seen.p99_s * 1000:.1f} "
        f"max {clients.seen.slowest_s * 1000:.0f} ms; {probes.figures()}; {probes.share_within(0.05):.1%} of probes within 50 ms"
    )
    assert siege.wrong == []
    assert same, "a worker died"
    assert memory < _CAP_MB
    assert probes.failed == []
    assert (clients.seen.refused, clients.seen.broken, clients.seen.wrong, clients.seen.stuck) == ({}, 0, 0, 0)
    assert clients.seen.p99_s < _NEIGHBOURS_P99_S
    return siege


def _send(url: str, name: str, data: bytes, siege: Siege) -> None:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    begin = time.monotonic()
    try:
        connection.request("POST", "/predict", body=data, headers={"Content-Type": "application/octet-stream"})
        response = connection.getresponse()
        status, kind, body = response.status, response.headers.get("content-type"), json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError) as cause:
        siege.wrong.append(f"{name}: {type(cause).__name__}")
        return
    finally:
        connection.close()
    seconds = time.monotonic() - begin
    siege.seconds.append(seconds)
    if status == 200:
        siege.answered += 1
    else:
        siege.refused[f"{status} {body.get('code')}"] = siege.refused.get(f"{status} {body.get('code')}", 0) + 1
    said = status == 200 or (isinstance(body.get("error"), str) and isinstance(body.get("code"), str))
    if status != 200 and not 400 <= status < 500:
        siege.wrong.append(f"{name}: {status}")
    if not said or kind != "application/json":
        siege.wrong.append(f"{name}: {kind} {sorted(body)}")
    if seconds > _PROMISED_S:
        siege.wrong.append(f"{name}: took {seconds:.1f} s")
