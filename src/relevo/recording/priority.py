"""How much the loop gives way to the workers: a lot while little waits to be shipped, not at all once much does.

    bytes waiting ─ above 1/16 of what may wait ─► equals ─ below 1/32 ─► gives way ─┐
         ▲                                                                          │
         └──────────────────────────────────────────────────────────────────────────┘

A peak is answered first and shipped after; a peak that does not end is shipped while it lasts, before journals reach their bound.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_MUCH = 1 / 16
_LITTLE = 1 / 32
_GIVES_WAY = 10
_EQUALS = 0
#: On Linux a session's own niceness (sched(7), "The autogroup feature"): where it is on, that of a process counts within its
#: session only, and each child of the supervisor is a session. Unlike a process's, it may be taken back without privilege.
_AUTOGROUP = Path("/proc/self/autogroup")


class PriorityController:
    """The loop's manners; lives as long as its process."""

    def __init__(self, *, waiting: Callable[[], int], may_wait: int, set_niceness: Callable[[int], bool] | None = None) -> None:
        """waiting: bytes of journals not shipped yet. may_wait: bytes at which predictions are refused.

        set_niceness: as `set_session_niceness`.
        """
        self._waiting = waiting
        self._may_wait = may_wait
        self._set = set_niceness or set_session_niceness
        self._niceness: int | None = None

    def look(self) -> None:
        """Judge what waits, and change the niceness when it calls for another."""
        share = self._waiting() / self._may_wait
        gives_way = share < (_LITTLE if self._niceness == _EQUALS else _MUCH)
        wanted = _GIVES_WAY if gives_way else _EQUALS
        if wanted != self._niceness and self._set(wanted):
            self._niceness = wanted


def set_session_niceness(niceness: int) -> bool:
    """Set the niceness, 0 to 19, of this process's session; where the system knows none, nothing happens.

    False when it must be asked again: of ordinary users, all together, the system takes one such wish in a tenth of a second.
    """
    try:
        _AUTOGROUP.write_text(str(niceness))
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
