"""Pauses shipping during load peaks, because the workers need the processors then.

    rests ─ journals grew fast, the processors are busy, small backlog ─► pause, for ten seconds at most
               └ otherwise, and for ten seconds after the longest pause ─► ship

The backlog is the bytes of journals not shipped yet; its limit is the size at which predictions are rejected. A load peak is served
first and shipped afterwards; a long peak is shipped while it lasts, before the backlog reaches its limit. Delaying the history by
seconds delays no caller: on two busy cores, a tick of shipping keeps a worker waiting for one time slice of the system's scheduler,
some milliseconds, which would be the waiting time of one request in a hundred, whatever the niceness of the background process.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: Share of the backlog limit above which shipping is not paused.
_LARGE_BACKLOG = 1 / 16
#: Minimum seconds between two measurements; below, the system's counters are too coarse.
_POLL_S = 0.2
#: Growth of the journals in bytes per second that some thousand small requests per second cause.
_FAST_GROWTH = 4 * 2**20
_MAX_PAUSE_S = 10.0
#: Share of idle processor time below which the processors are busy.
_BUSY_IDLE_SHARE = 0.1
#: CPU time by use, in hundredths of a second since the start (proc_stat(5)); the totals of PSI only change every two seconds.
_PROC_STAT = Path("/proc/stat")
_IDLE, _IOWAIT, _COLUMNS = 3, 4, 8


class LoadGate:
    """Pauses shipping during load peaks. Lifetime: the process."""

    def __init__(
        self,
        *,
        waiting: Callable[[], int],
        may_wait: int,
        monotonic: Callable[[], float],
        use: Callable[[], tuple[int, int]] | None = None,
    ) -> None:
        """waiting: bytes of journals. may_wait: bytes at which predictions are rejected. use: as `cpu_times`."""
        self._backlog = waiting
        self._limit = may_wait
        self._monotonic = monotonic
        self._cpu_times = use or cpu_times
        self._last_backlog = waiting()
        self._last_times = self._cpu_times()
        self._polled_at = self._paused_at = self._may_pause_at = monotonic()
        self._paused = False

    def should_wait(self) -> bool:
        """Whether shipping should wait; may be called at any rate."""
        now = self._monotonic()
        if now - self._polled_at >= _POLL_S:
            self._paused = self._poll(now)
        return self._paused

    def _poll(self, now: float) -> bool:
        backlog = self._backlog()
        grew_fast = (backlog - self._last_backlog) / (now - self._polled_at) >= _FAST_GROWTH
        busy = self._cpu_busy()
        self._polled_at, self._last_backlog = now, backlog
        if self._paused and now - self._paused_at >= _MAX_PAUSE_S:
            # Without this delay, the next pause would begin at once, and the backlog would wait for another ten seconds, endlessly.
            self._may_pause_at = now + _MAX_PAUSE_S
        if grew_fast and busy and backlog < self._limit * _LARGE_BACKLOG and now >= self._may_pause_at:
            return True
        self._paused_at = now
        return False

    def _cpu_busy(self) -> bool:
        previous, self._last_times = self._last_times, self._cpu_times()
        idle, total = (now - before for now, before in zip(self._last_times, previous, strict=True))
        return total > 0 and idle / total < _BUSY_IDLE_SHARE


def cpu_times() -> tuple[int, int]:
    """Idle time and total time of all processors since the system started; zeros if the system does not report them."""
    try:
        counts = [int(count) for count in _PROC_STAT.read_text().split("\n", 1)[0].split()[1 : 1 + _COLUMNS]]
        return counts[_IDLE] + counts[_IOWAIT], sum(counts)
    except (OSError, ValueError, IndexError):
        return 0, 0
