"""The loop gives way while little waits, and takes its share before journals reach their bound."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from relevo.loop.courtesy import Courtesy, set_session_niceness


def test_it_gives_way_until_much_waits_and_again_once_little_does() -> None:
    """The niceness changes at a sixteenth and back at a thirty-second, and is set only when it changes."""
    told: list[int] = []
    waits = iter([0, 60, 63, 64, 80, 40, 32, 31, 40, 63])
    courtesy = Courtesy(waiting=lambda: next(waits), may_wait=1024, set_niceness=told.append)
    for _ in range(10):
        courtesy.look()
    assert told == [10, 0, 10]


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="this system gives sessions no niceness")
def test_a_session_s_niceness_is_the_system_s() -> None:
    """What was set is what the system tells, and it can be taken back."""
    child = os.fork()
    if child == 0:
        os.setsid()
        set_session_niceness(10)
        gave_way = Path("/proc/self/autogroup").read_text().split()[-1]
        set_session_niceness(0)
        os._exit(0 if (gave_way, Path("/proc/self/autogroup").read_text().split()[-1]) == ("10", "0") else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
