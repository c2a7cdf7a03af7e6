"""One process's numbers in plain ints, written to a small file now and then.

    predicted · refused · batch · gauges ─► ints in memory ─ flush (atomic rename) ─► <boot>.json
                                                                                       fold ─► total.json

An event costs well under a microsecond, since nothing but ints is touched. The price is that a worker killed with -9 takes
the counts since its last flush with it (half a second's); predictions themselves are in the journal and are never lost so.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from bisect import bisect_left
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

#: Upper edges of the latency histogram, in seconds.
SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
#: Upper edges of the histogram of rows the model saw at once.
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1024)
TOTAL = "total.json"
#: How many folded boots the total remembers: far more than can be between one reader's two reads.
_REMEMBERED = 256


class Telemetry:
    """The numbers of one process; lives as long as it. Counts on one thread; any may flush."""

    def __init__(self, folder: Path, boot: str) -> None:
        """Count from zero for this boot, a name no other process has had. Nothing is written before the first flush."""
        self.queue_rows = 0  # rows waiting in this process now
        self.spool_bytes = 0  # bytes of this process's journals that are not shipped yet
        self.ready = False  # whether every lane of this process can answer
        self.certificate_until = 0  # seconds since 1970; 0 where nothing is encrypted
        self.swaps = 0  # times another version took over in this process
        self._folder = folder
        self._path = folder / f"{boot}.json"
        self._boot = boot
        self._refusals: dict[str, int] = {}
        self._latencies: dict[tuple[str, int, str], _Latency] = {}
        self._batches = _Counts(ROWS)
        self._written = ""
        self._flushing = threading.Lock()

    def predicted(self, *, model: str, version: int, outcome: str, seconds: float, rows: int = 1) -> None:
        """A request was answered. outcome: "ok", "uncertain" or an error's code; rows: predictions it held."""
        key = (model, version, outcome)
        latency = self._latencies.get(key)
        if latency is None:
            latency = self._latencies[key] = _Latency()
        latency.rows += rows
        latency.total += seconds
        latency.counts[bisect_left(SECONDS, seconds)] += 1

    def batch(self, rows: int) -> None:
        """The model ran once over so many rows."""
        self._batches.total += rows
        self._batches.counts[bisect_left(ROWS, rows)] += 1

    def refused(self, code: str) -> None:
        """A request was refused with this error code before it reached a model."""
        self._refusals[code] = self._refusals.get(code, 0) + 1

    def flush(self) -> None:
        """Write the numbers where `render` finds them. A disk that is full or away fails nothing: the next flush tells all."""
        # Race: who asks for the page flushes too; of two at once one would rename the other's half-written draft.
        with self._flushing:
            text = json.dumps(self._numbers(), separators=(",", ":"))
            if text == self._written:
                return
            with contextlib.suppress(OSError):
                _replace(self._path, text)
                self._written = text

    def _numbers(self) -> dict[str, Any]:
        return {
            "boot": self._boot,
            "gauges": {
                "queue_rows": self.queue_rows,
                "spool_bytes": self.spool_bytes,
                "ready": int(self.ready),
                "certificate_until": self.certificate_until,
            },
            "swaps": self.swaps,
            "refusals": dict(self._refusals),
            "batches": [self._batches.total, *self._batches.counts],
            # Copied first: requests go on being counted while this is written, and may begin a row.
            "latencies": [[*key, one.rows, one.total, *one.counts] for key, one in list(self._latencies.items())],
        }


class _Counts:
    """A histogram: one count for each bucket and one beyond the last edge."""

    __slots__ = ("counts", "total")

    def __init__(self, edges: tuple[float, ...]) -> None:
        self.counts = [0] * (len(edges) + 1)
        self.total: float = 0


class _Latency(_Counts):
    """The requests of one model, version and outcome."""

    __slots__ = ("rows",)

    def __init__(self) -> None:
        super().__init__(SECONDS)
        self.rows = 0


def read(folder: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The numbers of every process that still has a file, and the total of those that were folded.

    Race: a file may be folded between the two reads. The total is therefore read last and names the boots it holds; a file
    that vanished is in it, and one that was read before it vanished is left out here.
    """
    live = [numbers for path in _worker_files(folder) if (numbers := _load(path)) is not None]
    total = _load(folder / TOTAL) or _nothing()
    folded = set(total["folded"])
    return [numbers for numbers in live if numbers["boot"] not in folded], total


def merge_dead(folder: Path, dead: Iterable[str] | None = None) -> None:
    """Add the files of dead boots to the total and remove them; None means all (at a start, when nobody is alive yet).

    Called by one process only, the one that watches the workers. Gauges die with their process; counters stay.
    """
    total = _load(folder / TOTAL) or _nothing()
    chosen = None if dead is None else set(dead)
    paths = [path for path in _worker_files(folder) if chosen is None or path.stem in chosen]
    for path in paths:
        numbers = _load(path)
        # Killed between the rename and the unlink below, the boot is in the total already.
        if numbers is not None and numbers["boot"] not in total["folded"]:
            total = added(total, numbers)
            total["folded"] = [*total["folded"], numbers["boot"]][-_REMEMBERED:]
    if paths:
        _replace(folder / TOTAL, json.dumps(total, separators=(",", ":")))
    for path in paths:
        path.unlink(missing_ok=True)


def added(total: dict[str, Any], numbers: dict[str, Any]) -> dict[str, Any]:
    """The counters of both."""
    refusals = dict(total["refusals"])
    for code, count in numbers["refusals"].items():
        refusals[code] = refusals.get(code, 0) + count
    latencies = {tuple(row[:3]): row[3:] for row in total["latencies"]}
    for row in numbers["latencies"]:
        key = tuple(row[:3])
        latencies[key] = _sums(latencies[key], row[3:]) if key in latencies else row[3:]
    return {
        "folded": total["folded"],
        "swaps": total["swaps"] + numbers["swaps"],
        "refusals": refusals,
        "batches": _sums(total["batches"], numbers["batches"]),
        "latencies": [[*key, *row] for key, row in latencies.items()],
    }


def _nothing() -> dict[str, Any]:
    return {"folded": [], "swaps": 0, "refusals": {}, "batches": [0] * (len(ROWS) + 2), "latencies": []}


def _sums(left: list[float], right: list[float]) -> list[float]:
    return [a + b for a, b in zip(left, right, strict=True)]


def _worker_files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.glob("*.json")) if path.name != TOTAL]


def _load(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_bytes())  # type: ignore[no-any-return]  # our own file
    except (OSError, ValueError):
        return None


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(f".{os.getpid()}.draft")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
