"""kill -9 of the supervisor alone: its children end, nothing is lost, and the next server takes over."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import pytest
from tests.support.chaos import children, kill, until
from tests.support.server import put, settings_of, started

import relevo.server
from relevo.server import open_store
from relevo.server.supervisor import ORPHAN_S

if TYPE_CHECKING:
    from relevo.package.package import Package

pytestmark = pytest.mark.chaos

_BATCHES, _ROWS = 30, 1000
#: Beside the time that orphans have: what a busy machine needs to end two processes.
_BUSY_S = 0.7


def listening(pid: int) -> int:
    """How many listening sockets a process holds."""
    of_system = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    inodes = {words[9] for words in of_system if words[3] == "0A"}
    held = 0
    for one in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(one.readlink())
        except FileNotFoundError:
            continue
        held += target.startswith("socket:[") and target[8:-1] in inodes
    return held


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists() and ") Z " not in Path(f"/proc/{pid}/stat").read_text()


def test_each_worker_holds_its_own_listening_socket_and_nobody_else_holds_any(tmp_path: Path, churn_package: Package) -> None:
    """A child that holds a worker's socket keeps callers waiting when that worker is gone; so none does."""
    settings = settings_of(tmp_path, workers=2)
    put(settings, churn_package)
    with started(settings) as server:
        assert [listening(pid) for pid in children(server.pid, "worker")] == [1, 1]
        assert [listening(pid) for pid in children(server.pid, "loop")] == [0]


def test_orphans_end_within_a_second_and_the_next_start_has_every_row(
    tmp_path: Path, churn_package: Package, churn_records: list[dict[str, Any]]
) -> None:
    """With a backlog in the journals the children of a killed supervisor end at once, and the next start ships what they left."""
    settings = settings_of(tmp_path, workers=2, flush_interval_ms=60_000)
    put(settings, churn_package)
    server = relevo.server.start_server(settings)
    server.wait_ready(60)
    port = urlsplit(server.url).port
    assert port is not None
    batch = (churn_records * (_ROWS // len(churn_records) + 1))[:_ROWS]
    with httpx.Client(base_url=server.url, timeout=60) as http:
        for _ in range(_BATCHES):
            assert len(http.post("/models/churn/predict", json=batch).json()) == _ROWS
    orphans = children(server.pid)
    assert len(orphans) == 3
    kill(server.pid)
    assert until(lambda: not any(map(is_alive, orphans)), within_s=ORPHAN_S + _BUSY_S), "an orphan lives on"
    server.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 1)
    assert list(settings.spool_folder.rglob("*.journal"))
    with started(settings_of(tmp_path, port=port, workers=2)):
        store = open_store(settings)
        assert until(lambda: store.predictions.count() == _BATCHES * _ROWS, within_s=60)
        store.engine.dispose()


def test_the_next_start_does_not_wait_for_a_person_to_try_again(
    tmp_path: Path, churn_package: Package, churn_records: list[dict[str, Any]]
) -> None:
    """A server started on the same port right after the kill serves, though the orphans have not ended yet."""
    settings = settings_of(tmp_path)
    put(settings, churn_package)
    first = relevo.server.start_server(settings)
    first.wait_ready(60)
    port = urlsplit(first.url).port
    kill(first.pid)
    begin = time.monotonic()
    with started(settings_of(tmp_path, port=port)) as second:
        took = time.monotonic() - begin
        assert httpx.post(f"{second.url}/models/churn/predict", json=churn_records[0]).status_code == 200
    first.stop()
    assert took < 30
