"""Another key for the audit, whether servers run in the home or not.

drawn, on the disk ─► one transaction: the old key seals that it ends, the new one that it begins ─► the new one is audit.key

Servers that run take the new key with their next entry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relevo.domain.audit import LOCAL_ACTOR
from relevo.server.stores import open_store, utc_now
from relevo.store.audit.keys import AuditKeyRing
from relevo.store.db.engine import write_transaction

if TYPE_CHECKING:
    from relevo.config import Settings
    from relevo.store.audit.keys import KeyRotation


def rotate_audit_key(settings: Settings, *, why: str = "") -> KeyRotation:
    """Replace the key that seals the audit. Raises DatabaseUnavailableError, ConfigError."""
    store = open_store(settings, begins=False)
    ring = AuditKeyRing(settings.keys_folder)
    new = ring.draw()
    with write_transaction(store.engine) as connection:
        done = store.audit.hand_over(connection, new, by=LOCAL_ACTOR, at=utc_now(), reason=why)
    ring.choose(new)
    store.engine.dispose()
    return done
