"""A signal handler can set the flag at any moment, and waiting threads wake up."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from relevo.util.stop_flag import StopFlag

#: Signals come all the time while the main thread waits: handlers interrupt `wait` and each other.
_STORM = """
import signal, time
from relevo.util.stop_flag import StopFlag
flags = [StopFlag()]
signal.signal(signal.SIGALRM, lambda *_: flags[0].set())
signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
end = time.monotonic() + 2
while time.monotonic() < end:
    flags[0] = StopFlag()
    while not flags[0].wait(0.0001):
        pass
signal.setitimer(signal.ITIMER_REAL, 0)
"""


def test_a_storm_of_signals_never_blocks_the_main_thread() -> None:
    """With `threading.Event` the process hangs or ends in a RecursionError."""
    subprocess.run([sys.executable, "-c", _STORM], check=True, timeout=30)


def test_every_waiting_thread_wakes_up() -> None:
    """One request wakes all threads, and later calls return at once."""
    flag = StopFlag()
    woken: list[bool] = []
    threads = [threading.Thread(target=lambda: woken.append(flag.wait(20))) for _ in range(3)]
    for thread in threads:
        thread.start()
    flag.set()
    for thread in threads:
        thread.join(timeout=10)
    assert woken == [True] * 3
    assert flag.wait(0)


@pytest.mark.parametrize("timeout", [-1, 0, 0.01])
def test_waiting_ends_with_its_time(timeout: float) -> None:
    """Without a request the answer is no; a time that has passed already is no error."""
    assert StopFlag().wait(timeout) is False
