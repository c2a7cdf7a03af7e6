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
    from collections.abc import Sequence
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
        self.append_all(connection, [(act, at)])

    def append_all(self, connection: Connection, acts: Sequence[tuple[Act, datetime]]) -> None:
        """Add a link for each act with its moment, in the transaction of the changes that they tell of."""
        if connection.dialect.name == "postgresql":
            connection.execute(_ONE_AT_A_TIME, {"lock": _CHAIN_LOCK})
        last = connection.execute(select(audit.c.sequence, audit.c.seal).order_by(audit.c.sequence.desc()).limit(1)).first()
        sequence, previous = (last.sequence, last.seal) if last else (0, "")
        rows = []
        for act, at in acts:
            sequence += 1
            row = _row(act, at) | {"sequence": sequence, "key": self.key_id, "previous": previous}
            previous = self.seal(row)
            rows.append(row | {"seal": previous})
        if rows:
            connection.execute(audit.insert(), rows)

    def seal(self, row: dict[str, Any]) -> str:
        """What a link's seal must be."""
        return hmac.new(self._key, msgspec.json.encode(row, order="sorted"), hashlib.sha256).hexdigest()

    def mark(self, thing: object) -> str:
        """What stands for something in the chain: equal things have equal marks, and without the key nobody can try them out."""
        data = b"mark " + msgspec.json.encode(thing, order="sorted")
        return hmac.new(self._key, data, hashlib.sha256).hexdigest()[:_MARK_LETTERS]


def _row(act: Act, at: datetime) -> dict[str, Any]:
    return {
        "at_us": microseconds(at),
        "actor": storable(act.by.actor),
        "action": act.action,
        "object": storable(act.object),
        "before": storable(act.before),
        "after": storable(act.after),
        "reason": storable(act.reason),
        "address": storable(act.by.address),
    }
