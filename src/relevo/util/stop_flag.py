"""A request to stop that a signal handler makes and the main thread waits for.

SIGTERM ─► handler ─► StopFlag.set() ─► wait() returns True
"""

from __future__ import annotations

from contextlib import suppress
from queue import Empty, SimpleQueue


class StopFlag:
    """Used as `threading.Event` is, and may be set by a signal handler. Lifetime: the process.

    Race: a handler runs between two instructions of the main thread. `Event.set` takes a lock that the main thread may hold at that
    moment, inside `Event.wait` or another handler, and then waits for ever. `SimpleQueue.put` is reentrant.
    """

    def __init__(self) -> None:
        self._is_set = False
        self._wakeups: SimpleQueue[None] = SimpleQueue()

    def set(self) -> None:
        """Ask to stop. May be called from a signal handler, and more than once."""
        self._is_set = True
        self._wakeups.put(None)

    def is_set(self) -> bool:
        """Whether somebody asked to stop."""
        return self._is_set

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until somebody asks to stop, at most `timeout` seconds. Returns `is_set()`."""
        if not self._is_set:
            with suppress(Empty):
                self._wakeups.get(timeout=None if timeout is None else max(0.0, timeout))
            if self.is_set():
                self._wakeups.put(None)  # for the next thread that waits
        return self._is_set
