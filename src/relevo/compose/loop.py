"""The loop process: journals of this home to its store, until told to stop. Started by the supervisor, never by hand.

settings ─► store, spool reader ─► shipper ─► loop ─ SIGTERM, or the supervisor gone ─► a last tick
"""

from __future__ import annotations

import signal
import threading
import time

from relevo.compose.server import settings_from_line
from relevo.compose.stores import open_store
from relevo.loop.ship import Shipper
from relevo.loop.tick import Loop, Pace
from relevo.spool.reading import SpoolReader
from relevo.store.engine import checkpoint
from relevo.supervisor import read_greeting, when_orphaned
from relevo.telemetry import configure_logging


def run_loop() -> None:
    """The loop process: settings come on standard input. Returns when it was told to stop and has shipped what was left."""
    settings = settings_from_line(read_greeting())

    configure_logging(settings.log_level, settings.log_format)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    when_orphaned(stop.set)
    store = open_store(settings, migrated=True)
    loop = Loop(
        Shipper(SpoolReader(settings.spool_folder), store.history),
        checkpoint=lambda: checkpoint(store.engine),
        pace=Pace(ship_every_s=settings.ship_every_ms / 1000),
        monotonic=time.monotonic,
    )
    loop.run(stop)
    store.engine.dispose()


if __name__ == "__main__":
    run_loop()
