"""Telemetry of the running program: counters for Prometheus and lines for the log.

    events of a worker ─► Telemetry (plain ints) ─ flush ─► home/telemetry/<boot>.json ─┐
    events of another worker ───────────────────────────────────────────────────────────┴─ render ─► GET /metrics, on any worker
    file of a dead worker ─ merge_dead ─► total.json

    logging.getLogger("relevo…").info("…", extra={"action": …}) ─► one line of text or JSON

Neither contains any part of an input: counters have model names, version numbers and error codes; log lines have what the code
passes explicitly, and of an exception only its type and where it was raised.
"""

from __future__ import annotations

from relevo.telemetry.counters import Telemetry, merge_dead
from relevo.telemetry.logging import configure_logging
from relevo.telemetry.prometheus import CONTENT_TYPE, render

__all__ = ["CONTENT_TYPE", "Telemetry", "configure_logging", "merge_dead", "render"]
