"""The background process: ships the journals of this home to its store until SIGTERM. Forked by the supervisor.

settings ─► store, journal reader ─► shipper, load gate ─► BackgroundLoop ─ SIGTERM ─► one last tick
supervisor gone ─► exits at once, as after kill -9: the journals stay, and the next background process ships them
"""

from __future__ import annotations

import logging
import os
import signal
import time
from functools import partial
from typing import TYPE_CHECKING

from relevo.errors import DatabaseUnavailableError
from relevo.recording.journal import folder_bytes
from relevo.recording.load_gate import LoadGate
from relevo.recording.reader import JournalReader
from relevo.recording.scheduler import BackgroundLoop, Intervals
from relevo.recording.shipper import Shipper
from relevo.server.checkpoint_export import checkpoint_exporter, checkpoint_writer
from relevo.server.home import check_users
from relevo.server.maintenance import checkpoint_thread, periodic_tasks
from relevo.server.stores import label_aggregation, open_store, utc_now
from relevo.server.supervisor import when_orphaned
from relevo.store.db.engine import checkpoint, migrate
from relevo.store.db.integrity import DatabaseTrust
from relevo.telemetry import configure_logging
from relevo.util.stop_flag import StopFlag

if TYPE_CHECKING:
    from relevo.config import Settings
    from relevo.server.stores import Store


log = logging.getLogger(__name__)

_FILE_REPLACED = (
    "the database's file was exchanged, perhaps for an older state: for a day journals are kept after they were shipped"
)


def run_loop(settings: Settings, parent_pipe: int) -> None:
    """Runs the background loop until SIGTERM; a last tick ships the rest. parent_pipe: see `supervisor.ProcessSpec.act`."""
    configure_logging(settings.log_level, settings.log_format)
    stop = StopFlag()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    when_orphaned(parent_pipe, lambda: os._exit(1))
    store = open_store(settings, migrated=True)
    backlog_bytes, max_backlog_bytes = partial(folder_bytes, settings.spool_folder), settings.spool_max_mb * 2**20
    load_gate = LoadGate(waiting=backlog_bytes, may_wait=max_backlog_bytes, monotonic=time.monotonic)
    reader = JournalReader(settings.spool_folder)

    def on_replaced(was_trusted: bool) -> None:  # noqa: FBT001 - as DatabaseTrust calls it
        if was_trusted:
            reader.mark_exchange()
            log.warning(_FILE_REPLACED, extra={"action": "store_exchanged"})
        reader.restore_quarantined()

    trust = DatabaseTrust(store.engine, changed=on_replaced)

    def before_shipment() -> None:
        if trust.poll():
            # The file may be an older copy: the next tick reads again how far the journals were shipped.
            raise DatabaseUnavailableError

    def write_checkpoint() -> None:
        with trust.trusted_change():
            checkpoint(store.engine)

    loop = BackgroundLoop(
        Shipper(reader, store.predictions, before_each=before_shipment, should_wait=load_gate.should_wait),
        checkpoint=write_checkpoint,
        pace=Intervals(ship_every_s=settings.flush_interval_ms / 1000),
        monotonic=time.monotonic,
        migrate=lambda: _prepare_store(settings, store),
        chores=periodic_tasks(settings, store, trust),
        look=trust.poll,
        note=trust.note,
    )
    with (
        checkpoint_thread(checkpoint_writer(settings, store.audit_reader, store.audit)),
        # In its own thread, because the receiving server may be slow.
        checkpoint_thread(checkpoint_exporter(settings, store.audit_reader, store.audit)),
    ):
        loop.run(stop)
    if trust.holds:
        # The last connection to close checkpoints the WAL, which must not happen in an untrusted file.
        trust.close()
        store.engine.dispose()


def _prepare_store(settings: Settings, store: Store) -> None:
    """Prepares the store before the first shipment: migrates the schema, resolves labels by the configured rule."""
    check_users(settings, store.engine)
    migrate(store.engine)
    store.labels.apply_aggregation(label_aggregation(settings), at=utc_now())
