"""Counts the events of one process in memory and writes the counters to a small file at intervals.

    predicted · refused · batch · gauges ─► ints in memory ─ flush (atomic rename) ─► <boot>.json
                                                                                       merge_dead ─► total.json

An event costs well below a microsecond, since it only changes ints in memory. In return, a worker killed with -9 loses the counts
since its last flush (half a second); predictions themselves are in the journal and are never lost this way.
"""

from __future__ import annotations

import contextlib
import json
import threading
from bisect import bisect_left
from typing import TYPE_CHECKING, Any

from relevo.util.files import replace_file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

#: Upper edges of the latency histogram, in seconds.
SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
#: Upper edges of the batch size histogram, in rows.
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1024)
TOTAL = "total.json"
#: Maximum number of merged processes that the total lists: far more than can be merged between the two reads of `read`.
_MAX_LISTED = 256


class Telemetry:
    """The counters of one process. Lifetime: the process. One thread counts; any thread may flush."""

    def __init__(self, folder: Path, boot: str) -> None:
        """Count from zero. boot: a name that no other process has had. Nothing is written before the first flush."""
        self.queue_rows = 0  # rows waiting in this process now
        self.spool_bytes = 0  # bytes of this process's journals that are not shipped yet
        self.ready = False  # whether every model of this process can answer
        self.certificate_until = 0  # seconds since 1970; 0 without TLS
        self.swaps = 0  # number of model swaps in this process
        self._folder = folder
        self._path = folder / f"{boot}.json"
        self._boot = boot
        self._errors: dict[str, int] = {}
        self._latencies: dict[tuple[str, int, str], _LatencyHistogram] = {}
        self._batches = _Histogram(ROWS)
        self._written = ""
        self._flush_lock = threading.Lock()

    def count_prediction(self, *, model: str, version: int, outcome: str, seconds: float, rows: int = 1) -> None:
        """Count an answered request. outcome: "ok", "uncertain" or an error code; rows: number of its predictions."""
        key = (model, version, outcome)
        latency = self._latencies.get(key)
        if latency is None:
            latency = self._latencies[key] = _LatencyHistogram()
        latency.rows += rows
        latency.total += seconds
        latency.counts[bisect_left(SECONDS, seconds)] += 1

    def count_batch(self, rows: int) -> None:
        """Count one run of the model over this many rows."""
        self._batches.total += rows
        self._batches.counts[bisect_left(ROWS, rows)] += 1

    def count_error(self, code: str) -> None:
        """Count a request that was rejected with this error code before it reached a model."""
        self._errors[code] = self._errors.get(code, 0) + 1

    def flush(self) -> None:
        """Write the counters where `render` reads them. A disk error is ignored: the next flush writes everything."""
        # Race: a request for the metrics page flushes too; of two flushes at once, one would rename the other's half-written draft.
        with self._flush_lock:
            text = json.dumps(self._snapshot(), separators=(",", ":"))
            if text == self._written:
                return
            with contextlib.suppress(OSError):
                _write(self._path, text)
                self._written = text

    def _snapshot(self) -> dict[str, Any]:
        return {
            "boot": self._boot,
            "gauges": {
                "queue_rows": self.queue_rows,
                "spool_bytes": self.spool_bytes,
                "ready": int(self.ready),
                "certificate_until": self.certificate_until,
            },
            "swaps": self.swaps,
            "refusals": dict(self._errors),
            "batches": [self._batches.total, *self._batches.counts],
            # Copied first: requests are counted while this is written, and may add a key.
            "latencies": [[*key, latency.rows, latency.total, *latency.counts] for key, latency in list(self._latencies.items())],
        }


class _Histogram:
    """A histogram: one count per bucket and one beyond the last edge."""

    __slots__ = ("counts", "total")

    def __init__(self, edges: tuple[float, ...]) -> None:
        self.counts = [0] * (len(edges) + 1)
        self.total: float = 0


class _LatencyHistogram(_Histogram):
    """Latencies of the requests with one model, version and outcome."""

    __slots__ = ("rows",)

    def __init__(self) -> None:
        super().__init__(SECONDS)
        self.rows = 0


def read(folder: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The counters of every process that still has a file, and the total of the merged ones.

    Race: a file may be merged between the two reads. The total is therefore read last and lists the processes it contains; a file
    that vanished is in it, and one that was read before it vanished is dropped here.
    """
    live = [counters for path in _worker_files(folder) if (counters := _read_json(path)) is not None]
    total = _read_json(folder / TOTAL) or _empty_total()
    merged = set(total["folded"])
    return [counters for counters in live if counters["boot"] not in merged], total


def merge_dead(folder: Path, dead: Iterable[str] | None = None) -> None:
    """Add the files of dead processes to the total and remove them; None means all (at a start, when no process is alive yet).

    Only the supervisor of the workers may call it. Gauges end with their process; counters remain.
    """
    total = _read_json(folder / TOTAL) or _empty_total()
    selected = None if dead is None else set(dead)
    paths = [path for path in _worker_files(folder) if selected is None or path.stem in selected]
    for path in paths:
        counters = _read_json(path)
        # If it was killed between the rename and the unlink below, the process is in the total already.
        if counters is not None and counters["boot"] not in total["folded"]:
            total = merge(total, counters)
            total["folded"] = [*total["folded"], counters["boot"]][-_MAX_LISTED:]
    if paths:
        _write(folder / TOTAL, json.dumps(total, separators=(",", ":")))
    for path in paths:
        path.unlink(missing_ok=True)


def merge(total: dict[str, Any], counters: dict[str, Any]) -> dict[str, Any]:
    """The sum of the counters."""
    errors = dict(total["refusals"])
    for code, count in counters["refusals"].items():
        errors[code] = errors.get(code, 0) + count
    latencies = {tuple(row[:3]): row[3:] for row in total["latencies"]}
    for row in counters["latencies"]:
        key = tuple(row[:3])
        latencies[key] = _add(latencies[key], row[3:]) if key in latencies else row[3:]
    return {
        "folded": total["folded"],
        "swaps": total["swaps"] + counters["swaps"],
        "refusals": errors,
        "batches": _add(total["batches"], counters["batches"]),
        "latencies": [[*key, *row] for key, row in latencies.items()],
    }


def _empty_total() -> dict[str, Any]:
    return {"folded": [], "swaps": 0, "refusals": {}, "batches": [0] * (len(ROWS) + 2), "latencies": []}


def _add(left: list[float], right: list[float]) -> list[float]:
    return [a + b for a, b in zip(left, right, strict=True)]


def _worker_files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.glob("*.json")) if path.name != TOTAL]


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_bytes())  # type: ignore[no-any-return]  # our own file
    except (OSError, ValueError):
        return None


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, text.encode())
