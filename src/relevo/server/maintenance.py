"""Periodic tasks of the background process besides shipping.

settings, store ─► audit checkpoints saved · WAL truncated after an erasure · retention by age and by size
function ─ checkpoint_thread ─► called each second in its own thread, however long shipping takes
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

_CHECKPOINT_POLL_S = 1.0
_CHECKPOINT_SAVE_S = 5.0
_WAL_TRUNCATION_S = 1.0
_NEVER = float("inf")
_AGE_RETENTION_S = 60.0
_SIZE_RETENTION_S = 600.0
_TRAFFIC_RETENTION_S = 600.0


def periodic_tasks(settings: Settings, store: Store, trust: DatabaseTrust) -> list[PeriodicTask]:
    """All periodic tasks of this home."""
    from relevo.store.audit.checkpoints import Checkpoints
    from relevo.store.retention import Retention

    checkpoints = Checkpoints(settings.audit_folder, store.audit_reader, store.audit)

    def truncate() -> bool:
        with trust.trusted_change():
            return truncate_wal(store.engine)

    wal_truncation = _WalTruncation(settings.spool_folder, truncate)
    retention = Retention(
        store.engine, store.blobs, store.audit, days=settings.retention_days, megabytes=settings.max_input_storage_mb
    )

    def enforce(apply: Callable[[datetime], Removed]) -> None:
        if apply(utc_now()).any:
            request_rotation(settings.spool_folder)

    return [
        PeriodicTask(every_s=_CHECKPOINT_SAVE_S, run=_log_errors("audit.heads", lambda: checkpoints.append(utc_now()))),
        # One more checkpoint at the end costs one line, and covers the changes since the last one.
        PeriodicTask(
            every_s=_NEVER,
            run=_log_errors("audit.heads", lambda: checkpoints.append(utc_now(), at_once=True)),
            run_at_shutdown=True,
        ),
        PeriodicTask(every_s=_WAL_TRUNCATION_S, run=wal_truncation.poll, run_at_shutdown=True),
        PeriodicTask(every_s=_TRAFFIC_RETENTION_S, run=lambda: _delete_old_traffic(store)),
        *([PeriodicTask(every_s=_AGE_RETENTION_S, run=lambda: enforce(retention.apply_age))] if settings.retention_days else []),
        *(
            [PeriodicTask(every_s=_SIZE_RETENTION_S, run=lambda: enforce(retention.apply_size))]
            if settings.max_input_storage_mb
            else []
        ),
    ]


def _delete_old_traffic(store: Store) -> None:
    store.traffic.drop_old_minutes(utc_now())


@contextlib.contextmanager
def checkpoint_thread(function: Callable[[], None], *, every_s: float = _CHECKPOINT_POLL_S) -> Iterator[None]:
    """Calls `function` periodically in a thread of its own, first and last of all inside the block: busy shipping must not delay it."""
    stop = threading.Event()

    def run() -> None:
        _log_exceptions(function)
        while not stop.wait(every_s):
            _log_exceptions(function)
        _log_exceptions(function)

    thread = threading.Thread(target=run, name="witness", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _log_exceptions(function: Callable[[], None]) -> None:
    # An unexpected error must not end the thread: later changes would have no checkpoint.
    try:
        function()
    except Exception:
        log.exception("a look failed and is tried again", extra={"action": "witness_failed"})


class _WalTruncation:
    """Truncates the database's WAL once after each erasure. Lifetime: the background process."""

    def __init__(self, spool: Path, truncate: Callable[[], bool]) -> None:
        self._spool = spool
        self._truncate = truncate
        self._truncated_at = 0

    def poll(self) -> None:
        """Truncates it if an erasure happened since; an active reader postpones it. Raises DatabaseUnavailableError."""
        requested_at = rotation_requested_at(self._spool)
        if requested_at != self._truncated_at and self._truncate():
            self._truncated_at = requested_at


def _log_errors(action: str, work: Callable[[], object]) -> Callable[[], None]:
    """Wraps `work`: errors of files, permissions or settings are logged, so that shipping goes on."""

    def run() -> None:
        try:
            work()
        except (OSError, ConfigError) as cause:
            log.warning("%s: %s", action, cause, extra={"action": action})

    return run
