"""A full disk: refused with a reason, nothing half-written, and all is well again when there is room."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from tests.support.chaos import Clients, Question, children, compare, say, scaled, talking, until
from tests.support.server import put, settings_of, started

from relevo.errors import DatabaseFullError
from relevo.server import start_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

    from relevo.package.package import Package

pytestmark = pytest.mark.chaos

#: Smaller than the reserve of a usual disk, which must not make a small one useless.
_DISK_MB = 48
_FULL_S = scaled(3.0, 20.0)
_BACK_S = 15.0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system in memory, of a size; it needs the right to mount."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={_DISK_MB}m", "relevo-test", str(place)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_full_disk_refuses_and_recovers(
    small_disk: Path, tmp_path: Path, digits_package: Package, churn_package: Package, questions: list[Question]
) -> None:
    """503 with code and reason while it is full, no process dies, and predictions flow again by themselves."""
    settings = settings_of(tmp_path, home=small_disk / "home", workers=2)
    put(settings, digits_package)
    put(settings, churn_package)
    with started(settings) as server, talking(server.url) as client:
        with Clients(server.url, questions, tmp_path / "ledgers", threads=2, pause_s=0.005) as clients:
            assert until(lambda: clients.answered() > 100, within_s=20)
            processes = set(children(server.pid))
            assert len(processes) == settings.workers + 1
            for _ in range(scaled(1, 5)):
                _fill_and_free(client, small_disk / "ballast", questions[0], clients)
            assert set(children(server.pid)) == processes, "a process died of a full disk"
        comparison = compare(settings, clients.seen, questions)
    seen = clients.seen
    say(
        f"disk full for {_FULL_S:.0f} s: refused {seen.refused}, broken {seen.broken}; {comparison.acknowledged} rows "
        f"acknowledged, {comparison.missing} missing, {comparison.beyond} beyond"
    )
    assert seen.refused.keys() == {"503 storage_unavailable"}
    assert (seen.broken, seen.wrong, seen.stuck) == (0, 0, 0)
    assert (comparison.missing, comparison.doubled, comparison.different) == (0, 0, 0)
    assert comparison.beyond == 0, "a refused prediction is in the history"
    assert list(settings.spool_folder.rglob("*.damaged*")) == []


def _fill_and_free(client: httpx.Client, ballast: Path, question: Question, clients: Clients) -> None:
    _fill(ballast)
    refused = client.post(question.path, content=question.body, headers={"Content-Type": question.kind})
    assert refused.status_code == 503, refused.text
    assert refused.json()["code"] == "storage_unavailable"
    assert int(refused.headers["retry-after"]) >= 1
    assert str(ballast.parent) not in refused.text
    _check_readiness_tells_why(client)
    assert client.get("/health/live").status_code == 200
    # What another program frees in small pieces is used up again at once: the disk is full for a while, not for an instant.
    end = time.monotonic() + _FULL_S
    while time.monotonic() < end:
        _fill(ballast)
        time.sleep(0.05)
    ballast.unlink()
    assert until(lambda: client.get("/health/ready").status_code == 200, within_s=_BACK_S)
    before = clients.answered()
    assert until(lambda: clients.answered() > before + 50, within_s=_BACK_S), "predictions did not flow again"


def _check_readiness_tells_why(client: httpx.Client) -> None:
    """Every worker sees the trouble at its own next write; then each of them says so."""

    def told() -> bool:
        answer = client.get("/health/ready")
        return answer.status_code == 503 and "full" in answer.json()["reason"]

    assert until(lambda: all(told() for _ in range(5)), within_s=5)


def _fill(ballast: Path) -> None:
    """Write until nothing more fits, down to single bytes."""
    descriptor = os.open(ballast, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for size in (2**20, 2**16, 2**12, 2**8, 1):
        with contextlib.suppress(OSError):
            while True:
                os.write(descriptor, b"\0" * size)
    os.close(descriptor)


def test_a_disk_that_is_small_from_the_start_serves(small_disk: Path, tmp_path: Path, digits_package: Package) -> None:
    """The room kept free is a share of a small disk, never the whole of it."""
    settings = settings_of(tmp_path, home=small_disk / "home")
    put(settings, digits_package)
    with started(settings) as server, talking(server.url) as client:
        assert client.get("/health/ready").json()["reason"] == ""


def test_a_full_disk_at_the_start_is_told(
    small_disk: Path, tmp_path: Path, digits_package: Package, digit_pngs: list[bytes]
) -> None:
    """A server that starts on a full disk answers health checks, says why it refuses, and serves once there is room."""
    settings = settings_of(tmp_path, home=small_disk / "home")
    put(settings, digits_package)
    with started(settings):
        pass
    ballast = small_disk / "ballast"
    _fill(ballast)
    with started(settings) as server, talking(server.url) as client:
        answer = client.post("/predict", content=digit_pngs[0], headers={"Content-Type": "image/png"})
        assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
        assert client.get("/health/ready").status_code == 503
        ballast.unlink()
        assert until(lambda: client.get("/health/ready").status_code == 200, within_s=_BACK_S)
        assert client.post("/predict", content=digit_pngs[0], headers={"Content-Type": "image/png"}).status_code == 200


#: Moves an alias and ends like a killed process: what it wrote lies in the write-ahead log alone.
_KILLED = """
import os, sys
from pathlib import Path
import relevo.server
from relevo.config import Settings
store = relevo.server.open_store(Settings(home=Path(sys.argv[1])))
store.registry.move_alias("digits", "challenger", 1, author="ana", reason="only in the log", at=relevo.server.utc_now())
os._exit(0)
"""
_READING = {
    ("models",): "challenger",
    ("models", "history", "digits"): "only in the log",
    ("history",): "",
    ("label", "export", "labels.csv"): "",
    ("user", "list"): "",
    ("audit", "list"): "alias.move",
    ("audit", "verify"): "",
}


def test_who_starts_on_a_full_disk_is_told_and_who_reads_is_answered(
    small_disk: Path, tmp_path: Path, digits_package: Package
) -> None:
    """A home that no server ran in says `store_full` to both starts; commands that only look answer, the last commits included."""
    settings = settings_of(tmp_path, home=small_disk / "home")
    put(settings, digits_package)
    subprocess.run([sys.executable, "-c", _KILLED, str(settings.home)], check=True, env=os.environ | {"LC_ALL": "C.UTF-8"})
    assert (settings.home / "relevo.db-wal").read_bytes(), "the log holds nothing: this test shows less than it says"
    (settings.home / "relevo.db-shm").unlink()
    ballast = small_disk / "ballast"
    _fill(ballast)
    for command, told in _READING.items():
        _fill(ballast)
        done = _relevo(settings.home, *command)
        assert done.returncode == 0, (command, done.stderr)
        assert told in done.stdout, command
    doctor = _relevo(settings.home, "doctor", "--port", "0", "--json").stdout
    assert {one["subject"]: one["verdict"] for one in json.loads(doctor)}["database"] == "ok"
    _fill(ballast)
    refused = _relevo(settings.home, "models", "alias", "digits", "again", "1", "--reason", "no room")
    assert (refused.returncode, "(store_full)" in refused.stderr) == (1, True), refused.stderr
    served = _relevo(settings.home, "serve", "--port", "0", "--workers", "1")
    assert (served.returncode, "(store_full)" in served.stderr) == (1, True), served.stderr
    server = start_server(settings)
    with pytest.raises(DatabaseFullError):
        server.wait_ready(60)
    server.stop()
    ballast.unlink()
    with started(settings) as server, talking(server.url) as client:
        assert client.get("/models/digits").json()["aliases"]["challenger"] == 1


def _relevo(home: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environ = os.environ | {"RELEVO_HOME": str(home)}
    call = [sys.executable, "-m", "relevo", *command]
    return subprocess.run(call, capture_output=True, text=True, check=False, cwd=home.parent.parent, env=environ, timeout=120)
