"""What the loop does now and then beside shipping.

settings, store ─► heads of the audit kept · the log emptied after an erasure · what is too old or too much removed
look ─ witnessed ─► the end of the audit written down each second, however long shipping takes
"""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import TYPE_CHECKING

from relevo.errors import ConfigError
from relevo.recording.journal import request_rotation, rotation_requested_at
from relevo.recording.scheduler import PeriodicTask
from relevo.server.stores import utc_now
from relevo.store.db.engine import truncate_wal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from pathlib import Path

    from relevo.config import Settings
    from relevo.server.stores import Store
    from relevo.store.db.integrity import DatabaseTrust
    from relevo.store.retention import Removed

log = logging.getLogger(__name__)

_WITNESS_EVERY_S = 1.0
_LOOK_AT_AUDIT_S = 5.0
_LOOK_FOR_ERASED_S = 1.0
_NEVER = float("inf")
_AGE_EVERY_S = 60.0
_SIZE_EVERY_S = 600.0
_MINUTES_EVERY_S = 600.0


def periodic_tasks(settings: Settings, store: Store, trust: DatabaseTrust) -> list[PeriodicTask]:
    """Every chore of this home."""
    from relevo.store.audit.checkpoints import Checkpoints
    from relevo.store.retention import Retention

    heads = Checkpoints(settings.audit_folder, store.trail, store.audit)

    def empty() -> bool:
        with trust.own_change():
            return truncate_wal(store.engine)

    emptied = _WalTruncation(settings.spool_folder, empty)
    retention = Retention(
        store.engine, store.blobs, store.audit, days=settings.retention_days, megabytes=settings.max_input_storage_mb
    )

    def keep(apply: Callable[[datetime], Removed]) -> None:
        if apply(utc_now()).anything:
            request_rotation(settings.spool_folder)

    return [
        PeriodicTask(every_s=_LOOK_AT_AUDIT_S, run=_log_errors("audit.heads", lambda: heads.keep(utc_now()))),
        # A head more when the server stops costs a line, and covers what was changed since the last one.
        PeriodicTask(every_s=_NEVER, run=_log_errors("audit.heads", lambda: heads.keep(utc_now(), at_once=True)), at_the_end=True),
        PeriodicTask(every_s=_LOOK_FOR_ERASED_S, run=emptied.look, at_the_end=True),
        PeriodicTask(every_s=_MINUTES_EVERY_S, run=lambda: _forget_minutes(store)),
        *([PeriodicTask(every_s=_AGE_EVERY_S, run=lambda: keep(retention.apply_age))] if settings.retention_days else []),
        *([PeriodicTask(every_s=_SIZE_EVERY_S, run=lambda: keep(retention.apply_size))] if settings.max_input_storage_mb else []),
    ]


def _forget_minutes(store: Store) -> None:
    store.traffic.forget_minutes(utc_now())


@contextlib.contextmanager
def checkpoint_thread(look: Callable[[], None], *, every_s: float = _WITNESS_EVERY_S) -> Iterator[None]:
    """Look now, again and again, and once more at the end. A thread of its own: what keeps shipping busy must not hide a change."""
    ended = threading.Event()

    def watch() -> None:
        _catch_all(look)
        while not ended.wait(every_s):
            _catch_all(look)
        _catch_all(look)

    thread = threading.Thread(target=watch, name="witness", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _catch_all(look: Callable[[], None]) -> None:
    # What nobody foresaw must not end the thread: from then on nobody would look, and nobody would know.
    try:
        look()
    except Exception:
        log.exception("a look failed and is tried again", extra={"action": "witness_failed"})


class _WalTruncation:
    """Empties the database's log once after each erasure; lives as long as the loop."""

    def __init__(self, spool: Path, empty: Callable[[], bool]) -> None:
        self._spool = spool
        self._empty = empty
        self._done = 0

    def look(self) -> None:
        """Empty it where something was erased since; a reader in the way puts it off. Raises DatabaseUnavailableError."""
        asked = rotation_requested_at(self._spool)
        if asked != self._done and self._empty():
            self._done = asked


def _log_errors(action: str, work: Callable[[], object]) -> Callable[[], None]:
    """What fails for want of a file or its rights is logged; shipping must go on."""

    def run() -> None:
        try:
            work()
        except (OSError, ConfigError) as cause:
            log.warning("%s: %s", action, cause, extra={"action": action})

    return run
