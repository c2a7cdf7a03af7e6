"""One tick of the loop, and the loop around it.

look ─ the store is the home's own, and whole? ─► ship ─ store away? ─► wait a little longer each time, the journals keep everything
checkpoint now and then: the loop is the only process that moves SQLite's log into its database
chores when they are due: heads of the audit, what is too old to keep
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relevo.errors import DatabaseUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from relevo.recording.shipper import Shipper
    from relevo.util.stop_flag import StopFlag

log = logging.getLogger(__name__)

_LONGEST_WAIT_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals:
    """How often the loop does what; seconds."""

    ship_every_s: float = 0.25
    checkpoint_every_s: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodicTask:
    """What is done now and then beside shipping; may raise DatabaseUnavailableError and is then tried again with the next tick."""

    every_s: float
    run: Callable[[], None]
    at_the_end: bool = False  # whether it is done once more by the last tick


class BackgroundLoop:
    """Ticks until told to stop; lives as long as its process."""

    def __init__(
        self,
        shipper: Shipper,
        *,
        checkpoint: Callable[[], None],
        pace: Intervals,
        monotonic: Callable[[], float],
        migrate: Callable[[], None] = lambda: None,
        chores: Sequence[PeriodicTask] = (),
        look: Callable[[], bool] = lambda: False,
        note: Callable[[DatabaseUnavailableError | None], None] = lambda _: None,
    ) -> None:
        """migrate: done before anything is shipped, and after the store was away: it may not be the same, or a backup.

        look: tells whether the store is another one, or an older state of it, than before; raises DatabaseUnavailableError while it must
        not be written to. note: is told after each tick why the store cannot be used, or None.
        """
        self._look = look
        self._note = note
        self._chores = {chore: monotonic() for chore in chores}
        self._shipper = shipper
        self._migrate = migrate
        self._migrated = False
        self._checkpoint = checkpoint
        self._pace = pace
        self._monotonic = monotonic
        self._checkpointed = monotonic()
        self._wait_s = pace.ship_every_s

    def run(self, stop: StopFlag) -> None:
        """Tick until `stop`; a last tick ships what the stopping workers left."""
        while not stop.wait(self._wait_s):
            self.tick()
        self.tick(last=True)

    def tick(self, *, last: bool = False) -> None:
        """Ship once; checkpoint and do the chores that are due. last: no further tick follows."""
        try:
            if self._look():
                self._shipper.begin_again()
                self._migrated = False
            if not self._migrated:
                self._migrate()
                self._migrated = True
            self._shipper.ship(to_the_end=last)
            if self._monotonic() - self._checkpointed >= self._pace.checkpoint_every_s:
                self._checkpoint()
                self._checkpointed = self._monotonic()
            for chore in [one for one in self._chores if self._is_due(one) or (last and one.at_the_end)]:
                chore.run()
                self._chores[chore] = self._monotonic()
        except DatabaseUnavailableError as cause:
            self._migrated = False
            self._note(cause)
            self._wait_s = min(self._wait_s * 2, _LONGEST_WAIT_S)
            log.warning("journals wait: %s", cause, extra={"action": "ship_waits", "code": cause.code, "wait_s": self._wait_s})
        else:
            self._note(None)
            self._wait_s = self._pace.ship_every_s

    def _is_due(self, chore: PeriodicTask) -> bool:
        return self._monotonic() - self._chores[chore] >= chore.every_s
