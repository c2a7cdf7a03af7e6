"""The loop process: journals of this home to its store, until told to stop. Forked by the supervisor, never started by hand.

settings ─► store, spool reader, courtesy ─► shipper, peak ─► loop ─ SIGTERM ─► a last tick
supervisor gone ─► ended at once, as by kill -9: journals stay, and the next start's loop ships them
"""

from __future__ import annotations

import logging
import os
import signal
import time
from functools import partial
from typing import TYPE_CHECKING

from relevo.errors import DatabaseUnavailableError
from relevo.recording.cpu_priority import LoadGate, PriorityController
from relevo.recording.journal import folder_bytes
from relevo.recording.reader import JournalReader
from relevo.recording.scheduler import BackgroundLoop, Intervals
from relevo.recording.shipper import Shipper
from relevo.server.label_aggregation import resolution_of
from relevo.server.maintenance import checkpoint_thread, periodic_tasks
from relevo.server.stores import open_store, told_elsewhere, utc_now, witness_of
from relevo.server.supervisor import when_orphaned
from relevo.server.users_marker import check_users
from relevo.store.db.engine import checkpoint, migrate
from relevo.store.db.integrity import DatabaseTrust
from relevo.telemetry import configure_logging
from relevo.util.stop_flag import StopFlag

if TYPE_CHECKING:
    from relevo.config import Settings
    from relevo.server.stores import Store


log = logging.getLogger(__name__)

_EXCHANGED = "the database's file was exchanged, perhaps for an older state: for a day journals are kept after they were shipped"


def run_loop(settings: Settings, life: int) -> None:
    """Be the loop until told to stop; a last tick ships what was left. life: see `supervisor.Role`."""
    configure_logging(settings.log_level, settings.log_format)
    stop = StopFlag()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    when_orphaned(life, lambda: os._exit(1))
    store = open_store(settings, migrated=True)
    waiting, may_wait = partial(folder_bytes, settings.spool_folder), settings.spool_max_mb * 2**20
    courtesy = PriorityController(waiting=waiting, may_wait=may_wait)
    peak = LoadGate(waiting=waiting, may_wait=may_wait, monotonic=time.monotonic)
    reader = JournalReader(settings.spool_folder)

    def changed(was_trusted: bool) -> None:  # noqa: FBT001 - as DatabaseTrust calls it
        if was_trusted:
            reader.mark_exchange()
            log.warning(_EXCHANGED, extra={"action": "store_exchanged"})
        reader.bring_back()

    trust = DatabaseTrust(store.engine, changed=changed)

    def before_each() -> None:
        courtesy.look()
        if trust.look():
            # An older state of it, perhaps: how far the journals were shipped is asked anew by the next tick.
            raise DatabaseUnavailableError

    def own_checkpoint() -> None:
        with trust.own_change():
            checkpoint(store.engine)

    loop = BackgroundLoop(
        Shipper(reader, store.history, before_each=before_each, rests=peak.rests),
        checkpoint=own_checkpoint,
        pace=Intervals(ship_every_s=settings.flush_interval_ms / 1000),
        monotonic=time.monotonic,
        migrate=lambda: _make_ready(settings, store),
        chores=periodic_tasks(settings, store, trust),
        look=trust.look,
        note=trust.note,
    )
    with (
        checkpoint_thread(witness_of(settings, store.trail, store.audit)),
        # A thread of its own: another server may be slow.
        checkpoint_thread(told_elsewhere(settings, store.trail, store.audit)),
    ):
        loop.run(stop)
    if trust.holds:
        # The last one to close checkpoints; into a file that is not to be written to, nobody does.
        trust.close()
        store.engine.dispose()


def _make_ready(settings: Settings, store: Store) -> None:
    """Before anything is shipped: the schema of this release, and the labels that count found by the rule that is set."""
    check_users(settings, store.engine)
    migrate(store.engine)
    store.labels.settle(resolution_of(settings), at=utc_now())
