"""Runs the background process: ships journals, checkpoints the database and runs periodic tasks.

check the database file ─ valid? ─► ship ─ database unavailable? ─► back off exponentially, the journals keep everything
checkpoint regularly: only the background process checkpoints SQLite's WAL
periodic tasks when they are due: audit checkpoints, retention
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

_MAX_WAIT_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals:
    """Intervals of the background process, in seconds."""

    ship_every_s: float = 0.25
    checkpoint_every_s: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodicTask:
    """A task that runs regularly in addition to shipping. On DatabaseUnavailableError it is retried with the next tick."""

    every_s: float
    run: Callable[[], None]
    run_at_shutdown: bool = False  # whether it also runs in the last tick


class BackgroundLoop:
    """Ticks until it is stopped. Lifetime: the process."""

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
        """migrate: runs before anything is shipped, and again after the database was unavailable: it may be another one.

        look: returns whether the database was replaced by another one or an older copy; raises DatabaseUnavailableError while it
        must not be written to. note: called after each tick with the error that makes the database unusable, or None.
        """
        self._is_replaced = look
        self._on_tick = note
        self._tasks = {task: monotonic() for task in chores}
        self._shipper = shipper
        self._migrate = migrate
        self._migrated = False
        self._checkpoint = checkpoint
        self._intervals = pace
        self._monotonic = monotonic
        self._checkpointed_at = monotonic()
        self._wait_s = pace.ship_every_s

    def run(self, stop: StopFlag) -> None:
        """Tick until `stop` is set; a last tick ships what the stopping workers left."""
        while not stop.wait(self._wait_s):
            self.tick()
        self.tick(last=True)

    def tick(self, *, last: bool = False) -> None:
        """Ship once; checkpoint and run the tasks that are due. last: no further tick follows."""
        try:
            if self._is_replaced():
                self._shipper.reload_positions()
                self._migrated = False
            if not self._migrated:
                self._migrate()
                self._migrated = True
            self._shipper.ship(to_the_end=last)
            if self._monotonic() - self._checkpointed_at >= self._intervals.checkpoint_every_s:
                self._checkpoint()
                self._checkpointed_at = self._monotonic()
            for task in [task for task in self._tasks if self._is_due(task) or (last and task.run_at_shutdown)]:
                task.run()
                self._tasks[task] = self._monotonic()
        except DatabaseUnavailableError as cause:
            self._migrated = False
            self._on_tick(cause)
            self._wait_s = min(self._wait_s * 2, _MAX_WAIT_S)
            log.warning("journals wait: %s", cause, extra={"action": "ship_waits", "code": cause.code, "wait_s": self._wait_s})
        else:
            self._on_tick(None)
            self._wait_s = self._intervals.ship_every_s

    def _is_due(self, task: PeriodicTask) -> bool:
        return self._monotonic() - self._tasks[task] >= task.every_s
