"""The audit: every change as a link of a chain, written in the transaction of the change itself.

    link n: sequence, moment, act, key, seal of link n-1 ─ canonical JSON ─ HMAC-SHA-256 ─► seal of link n

A link that is changed, moved or taken out of the middle breaks every seal after it. Links are appended one after the other: SQLite
has one writer, PostgreSQL is asked for a lock that lasts as long as the transaction. So `append` comes last in a transaction.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import select, text

from relevo.store._words import storable
from relevo.store.moments import microseconds
from relevo.store.tables import audit

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from relevo.domain.audit import Act

#: Any number will do; it must be the same in every process that appends to one PostgreSQL database.
_CHAIN_LOCK = 7_305_517_339
_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(:lock)")
_MARK_LETTERS = 32
_ID_LETTERS = 16


class Audit:
    """Writes the chain; lives as long as the process, safe for several threads."""

    def __init__(self, key: bytes) -> None:
        """key: kept outside the database, so that who may write there cannot forge a chain."""
        self._key = key
        #: How links name the key that sealed them, without giving it away.
        self.key_id = self.mark("audit key")[:_ID_LETTERS]

    def append(self, connection: Connection, act: Act, *, at: datetime) -> None:
        """Add a link, in the transaction of the change that it tells of."""
        if connection.dialect.name == "postgresql":
            connection.execute(_ONE_AT_A_TIME, {"lock": _CHAIN_LOCK})
        last = connection.execute(select(audit.c.sequence, audit.c.seal).order_by(audit.c.sequence.desc()).limit(1)).first()
        row = {
            "sequence": last.sequence + 1 if last else 1,
            "at_us": microseconds(at),
            "actor": storable(act.by.actor),
            "action": act.action,
            "object": storable(act.object),
            "before": storable(act.before),
            "after": storable(act.after),
            "reason": storable(act.reason),
            "address": storable(act.by.address),
            "key": self.key_id,
            "previous": last.seal if last else "",
        }
        connection.execute(audit.insert().values(**row, seal=self.seal(row)))

    def seal(self, row: dict[str, Any]) -> str:
        """What a link's seal must be."""
        return hmac.new(self._key, msgspec.json.encode(row, order="sorted"), hashlib.sha256).hexdigest()

    def mark(self, thing: object) -> str:
        """What stands for something in the chain: equal things have equal marks, and without the key nobody can try them out."""
        data = b"mark " + msgspec.json.encode(thing, order="sorted")
        return hmac.new(self._key, data, hashlib.sha256).hexdigest()[:_MARK_LETTERS]
