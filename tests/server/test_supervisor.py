"""The supervisor replaces dead children, delays repeated early deaths, and leaves no orphans."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT = Path(__file__).parents[2]
_PROGRAM = _ROOT / "tests" / "support" / "supervisor_child.py"


class Family:
    """A supervisor process with its children. Lifetime: one test."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def line(self) -> tuple[str, int, str]:
        """The next report of a process: name, pid, event."""
        assert self.process.stdout is not None
        kind, pid, event = self.process.stdout.readline().split()
        return kind, int(pid), event

    def rest(self) -> list[str]:
        """All reports until every process has exited."""
        assert self.process.stdout is not None
        return self.process.stdout.read().splitlines()


@contextmanager
def family(kinds: str, grace: float = 5) -> Iterator[Family]:
    process = subprocess.Popen(
        [sys.executable, _PROGRAM, kinds, str(grace)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": str(_ROOT / "src")},
    )
    try:
        yield Family(process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        if process.stdout is not None:
            process.stdout.close()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_killed_child_is_replaced_at_once() -> None:
    """After kill -9 a child is replaced at once, and `died` receives its pid."""
    with family("steady") as one:
        _, first, _ = one.line()
        begin = time.monotonic()
        os.kill(first, signal.SIGKILL)
        assert one.line()[::2] == ("died", str(first))
        kind, second, _ = one.line()
        assert kind == "steady"
        assert second != first
        assert time.monotonic() - begin < 3.0


def test_all_end_in_order_when_told() -> None:
    """On SIGTERM every child finishes its work, and then the supervisor exits with code 0."""
    with family("steady,steady") as one:
        born = {one.line()[1] for _ in range(2)}
        one.process.send_signal(signal.SIGTERM)
        lines = one.rest()
        assert {int(line.split()[1]) for line in lines[:-1]} == born
        assert all(line.endswith(" ended") for line in lines)
        assert lines[-1].startswith("supervisor")
        assert one.process.wait(10) == 0


def test_the_last_is_told_when_the_others_have_ended() -> None:
    """A process with last=True is stopped after all others have exited."""
    with family("final,slow") as one:
        for _ in range(2):
            one.line()
        one.process.send_signal(signal.SIGTERM)
        assert [line.split()[::2] for line in one.rest()[:2]] == [["slow", "ended"], ["final", "ended"]]
        assert one.process.wait(10) == 0


def test_a_child_that_does_not_listen_is_killed_after_the_grace() -> None:
    """A child that ignores SIGTERM gets SIGKILL after the grace period, not before."""
    with family("stubborn", grace=0.7) as one:
        _, pid, _ = one.line()
        begin = time.monotonic()
        one.process.send_signal(signal.SIGTERM)
        assert one.process.wait(10) == 0
        assert 0.6 < time.monotonic() - begin < 5
        assert not alive(pid)


def test_a_child_that_cannot_live_is_started_more_slowly_each_time() -> None:
    """The first early death causes no delay; the delay doubles with each further one."""
    with family("dying") as one:
        births: list[float] = []
        while len(births) < 6:
            kind, _, event = one.line()
            if kind == "dying":
                births.append(float(event))
    pauses = [later - earlier for earlier, later in pairwise(births)]
    assert pauses[0] < 0.5
    for pause, expected in zip(pauses[1:], (0.25, 0.5, 1.0, 2.0), strict=True):
        assert expected - 0.05 < pause < expected + 1.5


def test_a_childs_exception_stays_in_the_child() -> None:
    """An exception ends the child, not the supervisor, which starts another one."""
    with family("raising,steady") as one:
        events = [one.line() for _ in range(6)]
        assert sum(kind == "raising" for kind, _, _ in events) >= 2
        assert sum(kind == "steady" for kind, _, _ in events) == 1
        assert one.process.poll() is None


def test_children_whose_parent_is_gone_end_by_themselves() -> None:
    """After kill -9 of the supervisor, its children exit by themselves."""
    with family("orphan,orphan") as one:
        born = {one.line()[1] for _ in range(2)}
        one.process.kill()
        one.process.wait()
        # Reading ends when the last of them has closed its output.
        assert {int(line.split()[1]) for line in one.rest() if line.endswith("alone")} == born


def test_a_nicer_child_gives_way() -> None:
    """The nice value of a ProcessSpec applies only to its children."""
    with family("steady") as one:
        assert one.line()[2] == f"nice={min(os.nice(0) + 7, 19)}"


def test_ctrl_c_reaches_the_supervisor_alone() -> None:
    """Each child has its own session, so Ctrl-C in the terminal does not reach it."""
    with family("steady") as one:
        _, pid, _ = one.line()
        assert os.getsid(pid) == pid
        assert os.getsid(one.process.pid) != pid
