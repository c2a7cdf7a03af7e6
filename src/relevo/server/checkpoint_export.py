"""The end of the audit, told to where whoever takes this machine does not reach: a file on another disk, or another server.

look ─ a new head? ─┬ audit_checkpoint_to names a file ─► a line more in it, as in heads.jsonl: `relevo audit verify --heads FILE`
                    └ an address ─ Webhook ───────► POST {"head": "12:3fa9…", "sequence": 12, "seal": "3fa9…", …}

What was not taken is told in the log, and sent again a while later: the newest head stands for all before it.
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from relevo.errors import RelevoError
from relevo.server.webhook import Webhook
from relevo.store.audit.checkpoints import add_head, head_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from relevo.config import Settings
    from relevo.store.audit.checkpoints import Checkpoint
    from relevo.store.audit.log import AuditLog
    from relevo.store.audit.reader import AuditReader

log = logging.getLogger(__name__)

_AGAIN_S = 30.0


def sender_of(settings: Settings) -> Callable[[Checkpoint], None] | None:
    """What tells a head to where the settings say; None where they say nothing. Raises ConfigError."""
    place = settings.audit_checkpoint_to
    if not place:
        return None
    if "://" not in place:
        return lambda head: add_head(Path(place), head)
    webhook = Webhook(place, settings.audit_head_allowed)

    def post(head: Checkpoint) -> None:
        words = {"head": f"{head.sequence}:{head.seal}", **msgspec.to_builtins(head)}
        webhook.post(msgspec.json.encode(words))

    return post


class HeadsElsewhere:
    """Tells each new head; lives as long as the process. Nothing is raised: the change itself is made by then."""

    def __init__(
        self,
        send: Callable[[Checkpoint], None],
        trail: AuditReader,
        audit: AuditLog,
        *,
        now: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._send = send
        self._trail = trail
        self._audit = audit
        self._now = now
        self._monotonic = monotonic
        self._told = ""
        self._not_before = float("-inf")

    def look(self) -> None:
        """Tell the head if there is a new one."""
        if self._monotonic() < self._not_before:
            return
        try:
            link = self._trail.head()
            if link is not None and link.seal != self._told:
                self._send(head_of(self._audit, link, self._now()))
                self._told = link.seal
        except (OSError, RelevoError) as cause:
            self._not_before = self._monotonic() + _AGAIN_S
            why = os.strerror(cause.errno) if isinstance(cause, OSError) and cause.errno else str(cause)
            log.warning("the head of the audit was not sent elsewhere: %s", why, extra={"action": "audit.head_to"})
