"""The audit: every change as a link of a chain, written in the transaction of the change itself.

    link n: sequence, moment, act, key, seal of link n-1 ─ canonical JSON ─ HMAC-SHA-256 ─► seal of link n
    after the commit ─► the witness, which writes the end of the chain down outside the database

A link that is changed, moved or taken out of the middle breaks every seal after it. Links are appended one after the other: SQLite
has one writer, PostgreSQL is asked for a lock that lasts as long as the transaction. So `append` comes last in a transaction.

The key is replaced by `hand_over`: the old one seals that it ends, the new one that it begins. Who still holds the old one sees the
other in the last link, and takes it from the ring.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select, text

from relevo.domain.audit import AuditEvent
from relevo.store.audit.keys import AuditKey, KeyRotation
from relevo.store.db.engine import after_commit
from relevo.store.db.tables import audit
from relevo.store.db.text import strip_unstorable
from relevo.util.timestamps import to_us

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Row

    from relevo.domain.audit import Actor
    from relevo.store.audit.keys import AuditKeyRing

#: Any number will do; it must be the same in every process that appends to one PostgreSQL database.
_CHAIN_LOCK = 7_305_517_339
_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(:lock)")
#: The act that ends a key; `after` names the one that follows.
RETIRE = "audit.retire_key"
_BEGIN = "audit.begin_key"
_ITSELF = "audit"


class AuditLog:
    """Writes the chain; lives as long as the process, safe for several threads."""

    def __init__(self, key: bytes, *, ring: AuditKeyRing | None = None, witness: Callable[[], object] | None = None) -> None:
        """key: kept outside the database, so that who may write there cannot forge a chain.

        ring: where the keys before and after it are. witness: called after each commit of links.
        """
        self._key = AuditKey(key)
        self._ring = ring
        self._witness = witness
        #: Marks stand in rows for things that nobody can be asked for again, so they outlive the key that seals.
        self._marks = AuditKey(ring.marking(key)) if ring else self._key

    @property
    def key(self) -> AuditKey:
        """What seals now."""
        return self._key

    @property
    def key_id(self) -> str:
        """How links name the key that seals now, without giving it away."""
        return self._key.id

    def witnessed_by(self, witness: Callable[[], object]) -> None:
        """Have this called after each commit of links."""
        self._witness = witness

    def keys(self) -> Mapping[str, AuditKey]:
        """Every key that may have sealed a link, by its id. Raises ConfigError."""
        return {key.id: key for key in (*map(AuditKey, self._ring.all() if self._ring else ()), self._key)}

    def append(self, connection: Connection, act: AuditEvent, *, at: datetime) -> None:
        """Add a link, in the transaction of the change that it tells of."""
        self.append_all(connection, [(act, at)])

    def append_all(self, connection: Connection, acts: Sequence[tuple[AuditEvent, datetime]]) -> None:
        """Add a link for each act with its moment, in the transaction of the changes that they tell of."""
        if connection.dialect.name == "postgresql":
            connection.execute(_ONE_AT_A_TIME, {"lock": _CHAIN_LOCK})
        last = _last(connection)
        key = self._following(connection, last)
        _insert(connection, _linked(last, [(act, at, key) for act, at in acts]))
        if self._witness is not None:
            after_commit(connection, self._witness)

    def hand_over(self, connection: Connection, new: bytes, *, by: Actor, at: datetime, reason: str = "") -> KeyRotation:
        """End the key and begin a new one, which the ring must hold already, in two links."""
        self.append_all(connection, [])
        old, following = self._key, AuditKey(new)
        retire = AuditEvent(by=by, action=RETIRE, object=_ITSELF, before=old.id, after=following.id, reason=reason)
        begin = AuditEvent(by=by, action=_BEGIN, object=_ITSELF, before=old.id, after=following.id, reason=reason)
        rows = _linked(_last(connection), [(retire, at, old), (begin, at, following)])
        _insert(connection, rows)
        return KeyRotation(before=old.id, after=following.id, entry=rows[-1]["sequence"])

    def mark(self, thing: object) -> str:
        """What stands for something in the chain: equal things have equal marks, and without the key nobody can try them out."""
        return self._marks.mark(thing)

    def _following(self, connection: Connection, last: Row[Any] | None) -> AuditKey:
        """The key that seals the next link: another process may have replaced ours."""
        if last is None or self._ring is None or last.key == self._key.id:
            return self._key
        current = AuditKey(self._ring.current())
        if current.id == self._key.id:
            # Race: whoever replaced it was killed after the commit and before the file bore its name.
            secret = self._ring.find(last.key)
            if secret is not None and self._ended_for(connection, last.key):
                self._ring.choose(secret)
                current = AuditKey(secret)
        self._key = current
        return current

    def _ended_for(self, connection: Connection, other: str) -> bool:
        """Whether a link, sealed by our key, says that the other follows it."""
        ends = select(audit).where(audit.c.action == RETIRE, audit.c.before == self._key.id, audit.c.after == other)
        rows = [dict(row._mapping) for row in connection.execute(ends)]  # noqa: SLF001 - SQLAlchemy's public name for a row as a mapping
        return any(row.pop("seal") == self._key.seal(row) for row in rows)


def _last(connection: Connection) -> Row[Any] | None:
    return connection.execute(select(audit).order_by(audit.c.sequence.desc()).limit(1)).first()


def _linked(last: Row[Any] | None, acts: Sequence[tuple[AuditEvent, datetime, AuditKey]]) -> list[dict[str, Any]]:
    sequence, previous = (last.sequence, last.seal) if last else (0, "")
    rows = []
    for act, at, key in acts:
        sequence += 1
        row = _row(act, at) | {"sequence": sequence, "key": key.id, "previous": previous}
        previous = key.seal(row)
        rows.append(row | {"seal": previous})
    return rows


def _insert(connection: Connection, rows: list[dict[str, Any]]) -> None:
    if rows:
        connection.execute(audit.insert(), rows)


def _row(act: AuditEvent, at: datetime) -> dict[str, Any]:
    return {
        "at_us": to_us(at),
        "actor": strip_unstorable(act.by.actor),
        "action": act.action,
        "object": strip_unstorable(act.object),
        "before": strip_unstorable(act.before),
        "after": strip_unstorable(act.after),
        "reason": strip_unstorable(act.reason),
        "address": strip_unstorable(act.by.address),
    }
