"""A peak is answered first and shipped after, but never put off for long."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from relevo.recording.load_gate import LoadGate, cpu_times

_MIB = 2**20


class _Machine:
    """What a loop can see of its machine; lives as long as a test."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waiting = 0
        self.tells = True
        self.left = self.passed = 0
        self.peak = LoadGate(
            waiting=lambda: self.waiting,
            may_wait=2048 * _MIB,
            monotonic=lambda: self.now,
            use=lambda: (self.left, self.passed) if self.tells else (0, 0),
        )

    def rests(self, *, came_mib: float, short: bool = True) -> bool:
        """A quarter of a second passes."""
        self.now += 0.25
        self.waiting += int(came_mib * _MIB)
        self.passed += 50
        self.left += 1 if short else 20
        return self.peak.rests()


def test_it_rests_while_much_comes_and_the_processors_are_short() -> None:
    """And ships with the first look after the peak."""
    machine = _Machine()
    assert [machine.rests(came_mib=2) for _ in range(8)] == [True] * 8
    assert not machine.rests(came_mib=0.1)


def test_it_ships_where_processors_are_free() -> None:
    """Much may come in on a large machine without anybody having to wait."""
    machine = _Machine()
    assert not machine.rests(came_mib=10, short=False)


def test_it_ships_where_the_system_tells_nothing() -> None:
    """What cannot be seen changes nothing."""
    machine = _Machine()
    machine.tells = False
    assert not machine.rests(came_mib=10)


def test_a_peak_that_does_not_end_is_shipped_while_it_lasts() -> None:
    """After ten seconds, and then for ten more before it may rest again, so that what has waited is behind it."""
    machine = _Machine()
    rested = [machine.rests(came_mib=1.5) for _ in range(80)]
    assert rested == [True] * 39 + [False] * 40 + [True]


def test_nothing_is_put_off_once_much_waits() -> None:
    """Journals never come near the size at which predictions are refused."""
    machine = _Machine()
    machine.waiting = 200 * _MIB
    assert not machine.rests(came_mib=10)


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="this system does not tell what its processors do")
def test_the_system_s_word_is_read() -> None:
    """What is left over grows while nothing is done, and never by more than all the time that passes."""
    left, passed = cpu_times()
    time.sleep(0.1)
    later_left, later_passed = cpu_times()
    assert later_passed > passed > left > 0
    assert 0 <= later_left - left <= later_passed - passed
