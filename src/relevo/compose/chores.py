"""What the loop does now and then beside shipping.

settings, store ─► heads of the audit written down
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from relevo.compose.stores import utc_now
from relevo.errors import ConfigRefused
from relevo.loop.tick import Chore

if TYPE_CHECKING:
    from collections.abc import Callable

    from relevo.compose.stores import Store
    from relevo.config import Settings

log = logging.getLogger(__name__)

_LOOK_AT_AUDIT_S = 5.0


def chores_of(settings: Settings, store: Store) -> list[Chore]:
    """Every chore of this home."""
    from relevo.store.heads import Heads  # noqa: PLC0415 - the loop alone writes them

    heads = Heads(settings.audit_folder, store.trail, store.audit)
    # A head more when the server stops costs a line, and covers what was changed since the last one.
    return [
        Chore(every_s=_LOOK_AT_AUDIT_S, run=_careful("audit.heads", lambda: heads.keep(utc_now()))),
        Chore(every_s=float("inf"), run=_careful("audit.heads", lambda: heads.keep(utc_now(), at_once=True)), at_the_end=True),
    ]


def _careful(action: str, work: Callable[[], object]) -> Callable[[], None]:
    """What fails for want of a file or its rights is logged; shipping must go on."""

    def run() -> None:
        try:
            work()
        except (OSError, ConfigRefused) as cause:
            log.warning("%s: %s", action, cause, extra={"action": action})

    return run
