"""What the running program tells about itself: counters for Prometheus and lines for the log.

    a worker's events ─► Telemetry (plain ints) ─ flush ─► home/telemetry/<boot>.json ─┐
    another worker's ──────────────────────────────────────────────────────────────────┴─ render ─► GET /metrics, on any worker
    a dead worker's file ─ fold ─► total.json

    logging.getLogger("relevo…").info("…", extra={"action": …}) ─► one line of text or JSON

Neither ever holds anything of an input: counters have names of models, numbers of versions and codes; log lines have what was
passed to them on purpose, and of an exception only its kind and where it was raised.
"""

from __future__ import annotations

from relevo.telemetry.counters import Telemetry, merge_dead
from relevo.telemetry.logging import configure_logging
from relevo.telemetry.prometheus import CONTENT_TYPE, render

__all__ = ["CONTENT_TYPE", "Telemetry", "configure_logging", "merge_dead", "render"]
