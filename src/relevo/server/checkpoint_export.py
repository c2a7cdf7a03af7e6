"""Exports audit checkpoints out of reach of an attacker on this machine: to a file on another disk, or to another server.

poll ─ new checkpoint? ─┬ audit_checkpoint_to is a file ─► appended, as in heads.jsonl: `relevo audit verify --heads FILE`
                        └ a URL ─ Webhook ────► POST {"head": "12:3fa9…", "sequence": 12, "seal": "3fa9…", …}

A failed export is logged and retried later. Only the newest checkpoint is sent, because it covers all entries before it.
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

_RETRY_DELAY_S = 30.0


def checkpoint_sender(settings: Settings) -> Callable[[Checkpoint], None] | None:
    """Returns a function that exports a checkpoint; None when audit_checkpoint_to is empty. Raises ConfigError."""
    target = settings.audit_checkpoint_to
    if not target:
        return None
    if "://" not in target:
        return lambda checkpoint: add_head(Path(target), checkpoint)
    webhook = Webhook(target, settings.audit_head_allowed)

    def post(checkpoint: Checkpoint) -> None:
        body = {"head": f"{checkpoint.sequence}:{checkpoint.mac}", **msgspec.to_builtins(checkpoint)}
        webhook.post(msgspec.json.encode(body))

    return post


class CheckpointExporter:
    """Exports each new checkpoint. Lifetime: the process. Never raises, because the change itself is already committed."""

    def __init__(
        self,
        send: Callable[[Checkpoint], None],
        reader: AuditReader,
        audit: AuditLog,
        *,
        now: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._send = send
        self._trail = reader
        self._audit = audit
        self._now = now
        self._monotonic = monotonic
        self._last_seal = ""
        self._retry_at = float("-inf")

    def poll(self) -> None:
        """Exports the latest checkpoint if it is new."""
        if self._monotonic() < self._retry_at:
            return
        try:
            link = self._trail.last_entry()
            if link is not None and link.mac != self._last_seal:
                self._send(head_of(self._audit, link, self._now()))
                self._last_seal = link.mac
        except (OSError, RelevoError) as cause:
            self._retry_at = self._monotonic() + _RETRY_DELAY_S
            reason = os.strerror(cause.errno) if isinstance(cause, OSError) and cause.errno else str(cause)
            log.warning("the head of the audit was not sent elsewhere: %s", reason, extra={"action": "audit.head_to"})
