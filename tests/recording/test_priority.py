"""The loop gives way while little waits, and takes its share before journals reach their bound."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from relevo.recording.priority import PriorityController, set_session_niceness


def test_it_gives_way_until_much_waits_and_again_once_little_does() -> None:
    """The niceness changes at a sixteenth and back at a thirty-second, and is set only when it changes."""
    told: list[int] = []

    def take(niceness: int) -> bool:
        told.append(niceness)
        return True

    waits = iter([0, 60, 63, 64, 80, 40, 32, 31, 40, 63])
    courtesy = PriorityController(waiting=lambda: next(waits), may_wait=1024, set_niceness=take)
    for _ in range(10):
        courtesy.look()
    assert told == [10, 0, 10]


def test_a_wish_that_was_not_taken_is_told_again() -> None:
    """A system that is asked too often says so; the loop asks at its next look, and no more once it was heard."""
    heard = iter([False, False, True])
    told: list[int] = []

    def take(niceness: int) -> bool:
        told.append(niceness)
        return next(heard)

    courtesy = PriorityController(waiting=lambda: 0, may_wait=1024, set_niceness=take)
    for _ in range(5):
        courtesy.look()
    assert told == [10, 10, 10]


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="this system gives sessions no niceness")
def test_a_session_s_niceness_is_the_system_s() -> None:
    """What was set is what the system tells, and it can be taken back."""
    child = os.fork()
    if child == 0:
        os.setsid()
        os._exit(0 if [_set(niceness) for niceness in (10, 0)] == ["10", "0"] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _set(niceness: int) -> str:
    """What the system tells after this niceness was taken."""
    while not set_session_niceness(niceness):
        time.sleep(0.02)
    return Path("/proc/self/autogroup").read_text().split()[-1]
