"""Keeps child processes alive: forks them, restarts those that die, ends them when told.

    Role(name, act) ─ fork ─► act() ─┐
        ▲                            ├─ dies ─► again, later each time it dies young
        └────────────────────────────┘
    stop ─► SIGTERM ─ grace ─► SIGKILL                those that are last, when the others have ended

A fork, not a new interpreter: what the parent has loaded is there at once and shared, so a killed child is replaced in a
fraction of a second. Therefore the parent forks from its only thread and holds no database, session or journal open.
A child whose parent is gone ends too, within a second: it holds the reading end of a pipe that only the parent can write to.
The supervisor knows nothing of what its children do.
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

#: A child that lived shorter than this is restarted more slowly each time.
_YOUNG_S = 5.0
_LONGEST_PAUSE_S = 2.0
_LOOK_EVERY_S = 0.05
#: What a child may still do once its parent is gone; then the system ends it. Whoever starts anew waits no longer than this.
ORPHAN_S = 0.8
#: prctl(2): the name that ps and top show, at most 15 bytes.
_PR_SET_NAME = 15
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSpec:
    """What a child does; many may be forked from it."""

    name: str  # shown by ps as "relevo:<name>"
    #: Runs in the child. Its argument is a descriptor that reads its end when the parent is gone.
    act: Callable[[int], None]
    nice: int = 0  # added to the scheduling priority: a nicer process gives way
    last: bool = False  # told to end only when those that are not have ended


@dataclass(slots=True, kw_only=True)
class _Child:
    """One place and the process that fills it now."""

    role: ProcessSpec
    pid: int | None = None
    born: float = 0.0
    early_deaths: int = 0
    not_before: float = 0.0


class Supervisor:
    """Runs a set of children until stopped; lives as long as the server. One thread only may be alive when it runs."""

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
        """grace_s: seconds between SIGTERM and SIGKILL. died: told the pid of a child that ended by itself.

        each_look: called some twenty times a second. ending: called once, before the first child is told to end.
        """
        self._children = [_Child(role=role) for role in roles]
        self._grace_s = grace_s
        self._died = died
        self._each_look = each_look
        self._ending = ending
        self._monotonic = monotonic
        self._life = os.pipe()

    def run(self, stop: StopFlag) -> None:
        """Keep all children alive until `stop`, then end them."""
        # What is loaded now lives for ever: the collector need not touch it, so its pages stay shared.
        gc.collect()
        gc.freeze()
        try:
            while not stop.is_set():
                for child in self._children:
                    self._tend(child)
                self._each_look()
                stop.wait(_LOOK_EVERY_S)
        finally:
            self._end()

    def _tend(self, child: _Child) -> None:
        now = self._monotonic()
        if child.pid is not None:
            ended, status = os.waitpid(child.pid, os.WNOHANG)
            if ended:
                self._bury(child, status, now)
        if child.pid is None and now >= child.not_before:
            child.pid = self._fork(child.role)
            child.born = now

    def _bury(self, child: _Child, status: int, now: float) -> None:
        assert child.pid is not None  # noqa: S101 - narrows: the caller has looked
        code = os.waitstatus_to_exitcode(status)
        facts = {"action": "child_died", "child": child.role.name, "child_pid": child.pid}
        log.warning("%s ended with %s; starting another", child.role.name, code, extra=facts)
        child.early_deaths = child.early_deaths + 1 if now - child.born < _YOUNG_S else 0
        # The first early death may be chance and costs no time; a child that cannot live must not eat the machine.
        pause = 0.25 * 2 ** (child.early_deaths - 2) if child.early_deaths > 1 else 0.0
        child.not_before = now + min(pause, _LONGEST_PAUSE_S)
        self._died(child.pid)
        child.pid = None

    def _fork(self, role: ProcessSpec) -> int:
        # Race: a signal between fork and the child's own handlers would run the parent's handler in the child; so it waits.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        pid = os.fork()
        if pid == 0:
            self._become(role)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        return pid

    def _become(self, role: ProcessSpec) -> NoReturn:
        code = 1
        try:
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            # Ctrl-C reaches the supervisor alone, which then ends its children in order.
            os.setsid()
            os.close(self._life[1])
            _show_name(f"relevo:{role.name}")
            with contextlib.suppress(OSError):
                os.nice(role.nice)
            role.act(self._life[0])
            code = 0
        except BaseException:
            log.exception("%s failed", role.name, extra={"action": "child_failed", "child": role.name})
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _end(self) -> None:
        self._ending()
        living = [child for child in self._children if child.pid is not None]
        self._end_these([child for child in living if not child.role.last])
        self._end_these([child for child in living if child.role.last])
        for end in self._life:
            os.close(end)

    def _end_these(self, living: list[_Child]) -> None:
        for child in living:
            _send(child.pid, signal.SIGTERM)
        deadline = self._monotonic() + self._grace_s
        while living:
            living = [child for child in living if not os.waitpid(child.pid or 0, os.WNOHANG)[0]]
            if living and self._monotonic() > deadline:
                for child in living:
                    _send(child.pid, signal.SIGKILL)
            if living:
                time.sleep(0.01)


def _send(pid: int | None, number: signal.Signals) -> None:
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _show_name(name: str) -> None:
    """Name the process for ps and top, where the system can."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def when_orphaned(life: int, act: Callable[[], None]) -> None:
    """In a child: call `act` on a thread once the parent is gone, and be ended soon after. life: the descriptor its role was given.

    What a killed child leaves undone, the next one does; so an orphan need not finish, and must not be in its way.
    """

    def wait() -> None:
        with contextlib.suppress(OSError):
            while os.read(life, 1):
                pass
        # The system's own timer: it ends a process that is deep in a model or a database as well.
        signal.setitimer(signal.ITIMER_REAL, ORPHAN_S)
        act()

    threading.Thread(target=wait, name="orphan-watch", daemon=True).start()
