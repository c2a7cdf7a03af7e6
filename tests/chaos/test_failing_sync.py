"""A disk that fails to sync: nothing is acknowledged that did not reach it, and the next file is a clean one.

clients ─► worker | loop ─ fsync, fdatasync ─✗ the n-th fails (strace injects EIO) ─► 503 | shipped later ─► history = ledger
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
from functools import partial
from typing import TYPE_CHECKING

import pytest
from tests.support.chaos import ROUNDS, Clients, children, compare, image_questions, say, until
from tests.support.server import put, settings_of, started

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from relevo.package.package import Package

pytestmark = pytest.mark.chaos

_SYNCS: tuple[int, ...] = tuple(range(1, 30)) if ROUNDS else (1, 4)


@pytest.fixture
def strace() -> str:
    """The tracing program, which can also make a system call fail."""
    found = shutil.which("strace")
    if found is None:
        pytest.skip("strace is not installed: no sync can be made to fail")
    return found


@contextlib.contextmanager
def failing(strace: str, pid: int, number: int, log: Path) -> Iterator[None]:
    """While the block lasts, the n-th sync of each kind of that process fails, on whatever thread."""
    calls = "fsync,fdatasync"
    command = [
        strace,
        "-f",
        "-qq",
        "-y",
        "-o",
        str(log),
        "-p",
        str(pid),
        "-e",
        f"trace={calls}",
        "-e",
        f"inject={calls}:error=EIO:when={number}",
    ]
    tracer = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(10)


def _failed(log: Path) -> list[str]:
    """The calls that failed, each with the path of what it was to sync."""
    return [line for line in log.read_text().splitlines() if "INJECTED" in line]


def _has_failed(log: Path) -> bool:
    return bool(_failed(log))


def _of_a_file(call: str) -> bool:
    """SQLite ignores a failing sync of a folder, and reports that of a file."""
    return ".journal" in call


def _has_answered(clients: Clients, rows: int) -> bool:
    return clients.answered() > rows


@pytest.mark.parametrize("victim", ["worker", "loop"])
def test_what_was_not_synced_is_not_acknowledged(
    strace: str, tmp_path: Path, digits_package: Package, digit_pngs: list[bytes], victim: str
) -> None:
    """At durability full a failed sync costs a refusal or a delay: acknowledged rows are in the history once, no process dies."""
    questions = image_questions(digit_pngs, {1: digits_package})
    settings = settings_of(tmp_path, durability="full")
    put(settings, digits_package)
    failed: list[str] = []
    with started(settings) as server:
        assert until(lambda: len(children(server.pid)) == settings.workers + 1, within_s=10)
        before = children(server.pid)
        with Clients(server.url, questions, tmp_path / "ledgers", threads=2) as clients:
            for number in _SYNCS:
                log = tmp_path / f"{number}.trace"
                log.touch()
                with failing(strace, children(server.pid, victim)[0], number, log):
                    assert until(partial(_has_failed, log), within_s=20), "no sync failed"
                failed += _failed(log)
                enough = clients.answered() + 20
                assert until(partial(_has_answered, clients, enough), within_s=20), "answers did not flow again"
        assert children(server.pid) == before
        comparison = compare(settings, clients.seen, questions)
    seen = clients.seen
    say(
        f"{len(failed)} syncs of the {victim} failed: refused {seen.refused}; {comparison.acknowledged} rows acknowledged, "
        f"{comparison.missing} missing, {comparison.doubled} doubled, {comparison.beyond} beyond"
    )
    refusing = victim == "worker" and any(map(_of_a_file, failed))
    assert set(seen.refused) == ({"503 storage_unavailable"} if refusing else set())
    assert (seen.broken, seen.wrong, seen.stuck) == (0, 0, 0)
    assert (comparison.missing, comparison.doubled, comparison.different) == (0, 0, 0)
    assert list(settings.spool_folder.rglob("*.damaged*")) == []
