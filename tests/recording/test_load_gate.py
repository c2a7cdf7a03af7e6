"""The background process leaves the processors to the workers, but always ships before the backlog reaches its limit."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from relevo.recording.load_gate import LoadGate, cpu_times

_MIB = 2**20


class _Machine:
    """The measurements of a machine as the gate reads them. Lifetime: a test."""

    def __init__(self) -> None:
        self.now = 0.0
        self.backlog = 0
        self.has_cpu_times = True
        self.idle = self.total = 0
        self.gate = LoadGate(
            waiting=lambda: self.backlog,
            may_wait=2048 * _MIB,
            monotonic=lambda: self.now,
            use=lambda: (self.idle, self.total) if self.has_cpu_times else (0, 0),
        )

    def rests(self, *, grew_mib: float, busy: bool = True) -> bool:
        """Advance the clock by a quarter of a second, then poll."""
        self.now += 0.25
        self.backlog += int(grew_mib * _MIB)
        self.total += 50
        self.idle += 1 if busy else 20
        return self.gate.should_wait()


def test_shipping_pauses_during_a_load_peak() -> None:
    """It continues with the first poll after the peak."""
    machine = _Machine()
    assert [machine.rests(grew_mib=2) for _ in range(8)] == [True] * 8
    assert not machine.rests(grew_mib=0.1)


def test_shipping_continues_on_idle_processors() -> None:
    """On a large machine, fast growth alone does not pause shipping."""
    machine = _Machine()
    assert not machine.rests(grew_mib=10, busy=False)


def test_shipping_continues_without_cpu_times() -> None:
    """A system that reports no CPU times never pauses shipping."""
    machine = _Machine()
    machine.has_cpu_times = False
    assert not machine.rests(grew_mib=10)


def test_a_long_peak_is_shipped_while_it_lasts() -> None:
    """A pause ends after ten seconds, and the next one begins ten seconds later at the earliest, so that the backlog is shipped."""
    machine = _Machine()
    paused = [machine.rests(grew_mib=1.5) for _ in range(80)]
    assert paused == [True] * 39 + [False] * 40 + [True]


def test_a_large_backlog_is_shipped_during_a_peak() -> None:
    """The journals never come near the size at which predictions are rejected."""
    machine = _Machine()
    machine.backlog = 200 * _MIB
    assert not machine.rests(grew_mib=10)


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="this system does not report CPU times")
def test_the_cpu_times_of_the_system_are_read() -> None:
    """Idle time never grows by more than the total time."""
    idle, total = cpu_times()
    time.sleep(0.1)
    later_idle, later_total = cpu_times()
    assert later_total > total > idle > 0
    assert 0 <= later_idle - idle <= later_total - total
