"""The audit: every change as a link of a chain, written in the transaction of the change itself.

    link n: sequence, moment, act, seal of link n-1 ─ canonical JSON ─ HMAC-SHA-256 ─► seal of link n

A link that is changed, moved or taken out of the middle breaks every seal after it.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import select

from relevo.store._words import storable
from relevo.store.moments import microseconds
from relevo.store.tables import audit

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from relevo.domain.audit import Act


class Audit:
    """Writes the chain; lives as long as the process."""

    def __init__(self, key: bytes) -> None:
        """key: kept outside the database, so that who may write there cannot forge a chain."""
        self._key = key

    def append(self, connection: Connection, act: Act, *, at: datetime) -> None:
        """Add a link, in the transaction of the change that it tells of."""
        last = connection.execute(select(audit.c.sequence, audit.c.seal).order_by(audit.c.sequence.desc()).limit(1)).first()
        row = {
            "sequence": last.sequence + 1 if last else 1,
            "at_us": microseconds(at),
            "actor": act.by.actor,
            "action": act.action,
            "object": storable(act.object),
            "before": act.before,
            "after": act.after,
            "reason": storable(act.reason),
            "address": act.by.address,
            "previous": last.seal if last else "",
        }
        connection.execute(audit.insert().values(**row, seal=self.seal(row)))

    def seal(self, row: dict[str, Any]) -> str:
        """What a link's seal must be."""
        return hmac.new(self._key, msgspec.json.encode(row, order="sorted"), hashlib.sha256).hexdigest()
