"""Prefork process supervisor: forks child processes, restarts those that die, and stops them in order.

    ProcessSpec(name, act) ─ fork ─► act() ─┐
        ▲                                   ├─ dies ─► restarted, with growing delay after early deaths
        └───────────────────────────────────┘
    stop ─► SIGTERM ─ grace ─► SIGKILL                processes with last=True after all others

It forks instead of starting a new interpreter: loaded modules are shared, so a killed child is replaced in a fraction of a second.
Therefore the parent forks from its only thread, and has no database, session or journal open.
A child exits within a second after its parent: it holds the read end of a pipe whose write end only the parent has.
The supervisor does not depend on what its children do.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import logging
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

    from relevo.util.stop_flag import StopFlag

log = logging.getLogger(__name__)

#: A child that lived shorter than this died early; each further early death lengthens the delay.
_EARLY_DEATH_S = 5.0
_MAX_RESTART_DELAY_S = 2.0
_POLL_INTERVAL_S = 0.05
#: Time that an orphaned child has to exit before the kernel ends it; a new server waits no longer than this.
ORPHAN_S = 0.8
#: prctl(2): the name that ps and top show, at most 15 bytes.
_PR_SET_NAME = 15
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSpec:
    """Describes a child process; several children may use the same one. Lifetime: the server."""

    name: str  # shown by ps as "relevo:<name>"
    #: Runs in the child. Its argument is a pipe descriptor that reaches end of file when the parent is gone.
    target: Callable[[int], None]
    nice: int = 0  # added to the nice value: a higher value lowers the priority
    stop_last: bool = False  # stopped only after all others have exited


@dataclass(slots=True, kw_only=True)
class _Child:
    """One child slot and its current process. Lifetime: the server."""

    role: ProcessSpec
    pid: int | None = None
    started_at: float = 0.0
    early_deaths: int = 0
    not_before: float = 0.0


class Supervisor:
    """Runs a set of children until stopped. Lifetime: the server. Must run while the process has a single thread."""

    def __init__(
        self,
        roles: list[ProcessSpec],
        *,
        grace_s: float,
        died: Callable[[int], None] = lambda _pid: None,
        each_look: Callable[[], None] = lambda: None,
        ending: Callable[[], None] = lambda: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """grace_s: seconds between SIGTERM and SIGKILL. died: called with the pid of a child that exited by itself.

        each_look: called about twenty times a second. ending: called once, before the first SIGTERM.
        """
        self._children = [_Child(role=role) for role in roles]
        self._grace_s = grace_s
        self._died = died
        self._each_look = each_look
        self._ending = ending
        self._monotonic = monotonic
        self._parent_pipe = os.pipe()

    def run(self, stop: StopFlag) -> None:
        """Keeps all children alive until `stop` is set, then stops them."""
        # Freezes the loaded objects: the garbage collector does not touch them, so their pages stay shared.
        gc.collect()
        gc.freeze()
        try:
            while not stop.is_set():
                for child in self._children:
                    self._check_child(child)
                self._each_look()
                stop.wait(_POLL_INTERVAL_S)
        finally:
            self._stop_all()

    def _check_child(self, child: _Child) -> None:
        now = self._monotonic()
        if child.pid is not None:
            exited_pid, status = os.waitpid(child.pid, os.WNOHANG)
            if exited_pid:
                self._reap(child, status, now)
        if child.pid is None and now >= child.not_before:
            child.pid = self._fork(child.role)
            child.started_at = now

    def _reap(self, child: _Child, status: int, now: float) -> None:
        assert child.pid is not None  # noqa: S101 - narrows: checked by the caller
        code = os.waitstatus_to_exitcode(status)
        fields = {"action": "child_died", "child": child.role.name, "child_pid": child.pid}
        log.warning("%s ended with %s; starting another", child.role.name, code, extra=fields)
        child.early_deaths = child.early_deaths + 1 if now - child.started_at < _EARLY_DEATH_S else 0
        # The first early death causes no delay; a child that always dies must not use up the CPU.
        delay = 0.25 * 2 ** (child.early_deaths - 2) if child.early_deaths > 1 else 0.0
        child.not_before = now + min(delay, _MAX_RESTART_DELAY_S)
        self._died(child.pid)
        child.pid = None

    def _fork(self, role: ProcessSpec) -> int:
        # Race: a signal between fork and the child's own handlers would run the parent's handler in the child; so it is blocked.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        pid = os.fork()
        if pid == 0:
            self._run_child(role)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        return pid

    def _run_child(self, role: ProcessSpec) -> NoReturn:
        code = 1
        try:
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            # Ctrl-C reaches only the supervisor, which then stops its children in order.
            os.setsid()
            os.close(self._parent_pipe[1])
            _set_process_name(f"relevo:{role.name}")
            with contextlib.suppress(OSError):
                os.nice(role.nice)
            role.target(self._parent_pipe[0])
            code = 0
        except BaseException:
            log.exception("%s failed", role.name, extra={"action": "child_failed", "child": role.name})
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _stop_all(self) -> None:
        self._ending()
        running = [child for child in self._children if child.pid is not None]
        self._stop([child for child in running if not child.role.stop_last])
        self._stop([child for child in running if child.role.stop_last])
        for descriptor in self._parent_pipe:
            os.close(descriptor)

    def _stop(self, running: list[_Child]) -> None:
        for child in running:
            _send(child.pid, signal.SIGTERM)
        deadline = self._monotonic() + self._grace_s
        while running:
            running = [child for child in running if not os.waitpid(child.pid or 0, os.WNOHANG)[0]]
            if running and self._monotonic() > deadline:
                for child in running:
                    _send(child.pid, signal.SIGKILL)
            if running:
                time.sleep(0.01)


def _send(pid: int | None, number: signal.Signals) -> None:
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _set_process_name(name: str) -> None:
    """Sets the process name for ps and top, if the system supports it."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def when_orphaned(parent_pipe: int, act: Callable[[], None]) -> None:
    """In a child: calls `act` in a thread when the parent is gone; the kernel ends the child soon after.

    parent_pipe: the descriptor that `ProcessSpec.act` received. The next server completes the work of an orphan, so the orphan need
    not finish, and must not block that server.
    """

    def wait() -> None:
        with contextlib.suppress(OSError):
            while os.read(parent_pipe, 1):
                pass
        # A kernel timer also ends a process that is busy in a model or a database.
        signal.setitimer(signal.ITIMER_REAL, ORPHAN_S)
        act()

    threading.Thread(target=wait, name="orphan-watch", daemon=True).start()
