"""The audit log: a hash chain of all changes, each entry written in the transaction of its change.

    entry n: sequence, time, event, key, MAC of entry n-1 ─ canonical JSON ─ HMAC-SHA-256 ─► MAC of entry n
    after the commit ─► the witness, which writes a checkpoint outside the database

Changing, moving or deleting an entry breaks the MACs that follow it. Entries are appended one after the other: SQLite has one
writer, PostgreSQL an advisory lock until the end of the transaction. So `append` comes last in a transaction.

`hand_over` rotates the key: the old key signs its retirement, the new one its start. A process that still has the old key finds
the new id in the last entry and loads that key from the key ring.
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

#: Arbitrary number, equal in every process that appends to one PostgreSQL database.
_CHAIN_LOCK = 7_305_517_339
_LOCK = text("SELECT pg_advisory_xact_lock(:lock)")
#: The action that retires a key; `after` is the id of the next one.
RETIRE = "audit.retire_key"
_BEGIN = "audit.begin_key"
_OBJECT = "audit"


class AuditLog:
    """Writes the chain. Lifetime: the process; safe for several threads."""

    def __init__(self, key: bytes, *, ring: AuditKeyRing | None = None) -> None:
        """key: stored outside the database, so that write access to the database does not suffice to forge a chain.

        ring: former and next keys.
        """
        self._key = AuditKey(key)
        self._ring = ring
        self._witnesses: tuple[Callable[[], object], ...] = ()
        #: Keyed digests in rows cannot be recomputed, because the values are not stored, so their key is never rotated.
        self._digest_key = AuditKey(ring.pseudonym_key(key)) if ring else self._key

    @property
    def key(self) -> AuditKey:
        """The key that signs new entries."""
        return self._key

    @property
    def key_id(self) -> str:
        """The public id of the current key."""
        return self._key.id

    def on_commit(self, *witnesses: Callable[[], object]) -> None:
        """Sets the functions called after each commit that adds entries."""
        self._witnesses = witnesses

    def keys(self) -> Mapping[str, AuditKey]:
        """Returns every key that may have signed an entry, by its id. Raises ConfigError."""
        return {key.id: key for key in (*map(AuditKey, self._ring.all() if self._ring else ()), self._key)}

    def append(self, connection: Connection, event: AuditEvent, *, at: datetime) -> None:
        """Adds an entry, in the transaction of the change it records."""
        self.append_all(connection, [(event, at)])

    def append_all(self, connection: Connection, events: Sequence[tuple[AuditEvent, datetime]]) -> None:
        """Adds an entry for each event with its time, in the transaction of the changes they record."""
        if connection.dialect.name == "postgresql":
            connection.execute(_LOCK, {"lock": _CHAIN_LOCK})
        last_entry = _last_entry(connection)
        key = self._next_key(connection, last_entry)
        _insert(connection, _chain(last_entry, [(event, at, key) for event, at in events]))
        for witness in self._witnesses:
            after_commit(connection, witness)

    def rotate_key(self, connection: Connection, new: bytes, *, by: Actor, at: datetime, reason: str = "") -> KeyRotation:
        """Retires the current key and starts a new one, which must be in the ring already, with two entries."""
        self.append_all(connection, [])
        old_key, new_key = self._key, AuditKey(new)
        retire = AuditEvent(by=by, action=RETIRE, object=_OBJECT, before=old_key.id, after=new_key.id, reason=reason)
        begin = AuditEvent(by=by, action=_BEGIN, object=_OBJECT, before=old_key.id, after=new_key.id, reason=reason)
        rows = _chain(_last_entry(connection), [(retire, at, old_key), (begin, at, new_key)])
        _insert(connection, rows)
        return KeyRotation(before=old_key.id, after=new_key.id, entry=rows[-1]["sequence"])

    def pseudonymize(self, value: object) -> str:
        """Returns the keyed digest of a value: equal values have equal digests, and guessing values requires the key."""
        return self._digest_key.pseudonymize(value)

    def _next_key(self, connection: Connection, last_entry: Row[Any] | None) -> AuditKey:
        """Returns the key for the next entry; another process may have rotated it."""
        if last_entry is None or self._ring is None or last_entry.key == self._key.id:
            return self._key
        current = AuditKey(self._ring.current())
        if current.id == self._key.id:
            # Race: the process that rotated it may have been killed after the commit and before it renamed the file.
            secret = self._ring.find(last_entry.key)
            if secret is not None and self._was_retired_for(connection, last_entry.key):
                self._ring.activate(secret)
                current = AuditKey(secret)
        self._key = current
        return current

    def _was_retired_for(self, connection: Connection, next_id: str) -> bool:
        """Whether an entry with a valid MAC of the current key says that the other key follows it."""
        query = select(audit).where(audit.c.action == RETIRE, audit.c.before == self._key.id, audit.c.after == next_id)
        rows = [dict(row._mapping) for row in connection.execute(query)]  # noqa: SLF001 - SQLAlchemy's public name for a row as a mapping
        return any(row.pop("mac") == self._key.mac(row) for row in rows)


def _last_entry(connection: Connection) -> Row[Any] | None:
    return connection.execute(select(audit).order_by(audit.c.sequence.desc()).limit(1)).first()


def _chain(last_entry: Row[Any] | None, events: Sequence[tuple[AuditEvent, datetime, AuditKey]]) -> list[dict[str, Any]]:
    sequence, previous = (last_entry.sequence, last_entry.mac) if last_entry else (0, "")
    rows = []
    for event, at, key in events:
        sequence += 1
        row = _row(event, at) | {"sequence": sequence, "key": key.id, "previous": previous}
        previous = key.mac(row)
        rows.append(row | {"mac": previous})
    return rows


def _insert(connection: Connection, rows: list[dict[str, Any]]) -> None:
    if rows:
        connection.execute(audit.insert(), rows)


def _row(event: AuditEvent, at: datetime) -> dict[str, Any]:
    return {
        "at_us": to_us(at),
        "actor": strip_unstorable(event.by.actor),
        "action": event.action,
        "object": strip_unstorable(event.object),
        "before": strip_unstorable(event.before),
        "after": strip_unstorable(event.after),
        "reason": strip_unstorable(event.reason),
        "address": strip_unstorable(event.by.address),
    }
