"""Whether the loop lets a peak pass before it ships: the processors are short, and they are wanted for answers.

    a look ─ much came in since the last one, the processors are short, little waits ─► rests, for ten seconds at most
           └ otherwise, and for ten seconds after the longest rest ─► ships

Journals keep what was answered, so a peak costs the history some seconds of delay and no caller his time. On two busy cores a tick
of shipping keeps a worker waiting for as long as the system's scheduler lets it run, some milliseconds, which is what one request
in a hundred would wait.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: Shorter, and the system's counts are too coarse.
_LOOK_EVERY_S = 0.2
#: Journals grow by so much in a second when some thousand small requests are answered in it.
_MUCH_CAME_A_SECOND = 4 * 2**20
#: Share of what may wait above which nothing is put off; `courtesy` takes its full share from there.
_MUCH_WAITS = 1 / 16
_LONGEST_S = 10.0
#: Share of all processors' time that is left over.
_SHORT = 0.1
#: Time by use, in hundredths of a second since the start (proc_stat(5)); PSI's totals move every two seconds only.
_USE = Path("/proc/stat")
_IDLE, _IOWAIT, _COUNTED = 3, 4, 8


class LoadGate:
    """What the loop has seen come in; lives as long as its process."""

    def __init__(
        self,
        *,
        waiting: Callable[[], int],
        may_wait: int,
        monotonic: Callable[[], float],
        use: Callable[[], tuple[int, int]] | None = None,
    ) -> None:
        """waiting: bytes of journals. may_wait: bytes at which predictions are refused. use: as `use_of_processors` tells it."""
        self._waiting = waiting
        self._may_wait = may_wait
        self._monotonic = monotonic
        self._use = use or cpu_times
        self._bytes = waiting()
        self._used = self._use()
        self._at = self._rested_from = self._may_rest_from = monotonic()
        self._rests = False

    def rests(self) -> bool:
        """Whether shipping should wait; asked as often as one likes."""
        now = self._monotonic()
        if now - self._at >= _LOOK_EVERY_S:
            self._rests = self._look(now)
        return self._rests

    def _look(self, now: float) -> bool:
        waiting = self._waiting()
        much_came = (waiting - self._bytes) / (now - self._at) >= _MUCH_CAME_A_SECOND
        short = self._processors_are_short()
        self._at, self._bytes = now, waiting
        if self._rests and now - self._rested_from >= _LONGEST_S:
            # Rested again at once, what has waited would wait for as long once more, and so on without an end.
            self._may_rest_from = now + _LONGEST_S
        if much_came and short and waiting < self._may_wait * _MUCH_WAITS and now >= self._may_rest_from:
            return True
        self._rested_from = now
        return False

    def _processors_are_short(self) -> bool:
        before, self._used = self._used, self._use()
        left, passed = (now - then for now, then in zip(self._used, before, strict=True))
        return passed > 0 and left / passed < _SHORT


def cpu_times() -> tuple[int, int]:
    """Time that all processors had nothing to do, and all their time, since the system started; zeros where it does not tell."""
    try:
        counts = [int(count) for count in _USE.read_text().split("\n", 1)[0].split()[1 : 1 + _COUNTED]]
        return counts[_IDLE] + counts[_IOWAIT], sum(counts)
    except (OSError, ValueError, IndexError):
        return 0, 0
