"""Keeps child processes alive: starts them, restarts those that die, ends them when told.

    Child(command) ─ spawn ─► settings on its standard input ─┐
        ▲                                                     ├─ dies ─► again, later each time it dies young
        └─────────────────────────────────────────────────────┘
    stop ─► SIGTERM ─ grace ─► SIGKILL

The child's standard input stays open as long as the supervisor lives: a child that reads its end knows that it is alone and
ends too. The supervisor knows nothing of what its children do.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

#: A child that lived shorter than this is restarted more slowly each time.
_YOUNG_S = 5.0
_LONGEST_PAUSE_S = 5.0
_LOOK_EVERY_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What to run; a child may be started from it many times."""

    name: str
    module: str
    greeting: bytes  # one line, written to the child's standard input
    pass_fds: tuple[int, ...] = ()
    nice: int = 0  # added to the scheduling priority: a nicer process gives way


@dataclass(slots=True, kw_only=True)
class _Child:
    """One slot and the process that fills it now."""

    command: Command
    process: subprocess.Popen[bytes] | None = None
    born: float = 0.0
    early_deaths: int = 0
    not_before: float = 0.0
    pids: list[int] = field(default_factory=list)


class Supervisor:
    """Runs a set of children until stopped; lives as long as the server."""

    def __init__(
        self,
        commands: list[Command],
        *,
        grace_s: float,
        died: Callable[[int], None] = lambda _pid: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """grace_s: seconds between SIGTERM and SIGKILL. died: told the pid of a child that ended by itself."""
        self._children = [_Child(command=command) for command in commands]
        self._grace_s = grace_s
        self._died = died
        self._monotonic = monotonic

    def run(self, stop: threading.Event) -> None:
        """Keep all children alive until `stop`, then end them."""
        try:
            while not stop.is_set():
                for child in self._children:
                    self._tend(child)
                stop.wait(_LOOK_EVERY_S)
        finally:
            self._end()

    def pids(self, name: str) -> list[int]:
        """Pids of the living children of that name."""
        return [
            child.process.pid
            for child in self._children
            if child.command.name == name and child.process is not None and child.process.poll() is None
        ]

    def _tend(self, child: _Child) -> None:
        now = self._monotonic()
        if child.process is not None and child.process.poll() is not None:
            self._bury(child, now)
        if child.process is None and now >= child.not_before:
            child.process = _spawn(child.command)
            child.born = now

    def _bury(self, child: _Child, now: float) -> None:
        assert child.process is not None  # noqa: S101 - narrows: the caller has looked
        log.warning(
            "%s ended with %s; starting another",
            child.command.name,
            child.process.returncode,
            extra={"action": "child_died", "child": child.command.name, "pid": child.process.pid},
        )
        if child.process.stdin is not None:
            child.process.stdin.close()
        child.early_deaths = child.early_deaths + 1 if now - child.born < _YOUNG_S else 0
        # The first early death may be chance and costs no time; a child that cannot live must not eat the machine.
        child.not_before = now + min(0.25 * 2 ** (child.early_deaths - 1) if child.early_deaths > 1 else 0.0, _LONGEST_PAUSE_S)
        self._died(child.process.pid)
        child.process = None

    def _end(self) -> None:
        living = [child.process for child in self._children if child.process is not None]
        for process in living:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        deadline = self._monotonic() + self._grace_s
        for process in living:
            try:
                process.wait(max(deadline - self._monotonic(), 0.01))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdin is not None:
                process.stdin.close()


def _spawn(command: Command) -> subprocess.Popen[bytes]:
    environ = {**os.environ, "ORT_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-m", command.module],
        stdin=subprocess.PIPE,
        pass_fds=command.pass_fds,
        env=environ,
        # Ctrl-C reaches the supervisor alone, which then ends its children in order.
        start_new_session=True,
    )
    assert process.stdin is not None  # noqa: S101 - narrows: it was asked for
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(command.greeting)
        process.stdin.flush()
    if command.nice:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, process.pid, command.nice)
    return process


def when_orphaned(act: Callable[[], None]) -> None:
    """In a child: call `act` on a thread once the supervisor is gone."""

    def wait() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        act()

    threading.Thread(target=wait, name="orphan-watch", daemon=True).start()


def read_greeting() -> bytes:
    """In a child: the line the supervisor wrote. Reads byte by byte, so that nothing beyond it is swallowed by a buffer."""
    line = bytearray()
    while (byte := os.read(0, 1)) not in (b"", b"\n"):
        line += byte
    return bytes(line)
