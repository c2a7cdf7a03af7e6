"""A day's requests in ten minutes: memory, open files and the journal must not grow.

    Poisson load at a fixed rate ─► relevo serve ─ every 5 s ─► RSS, open files, journal bytes, store bytes
    growth = slope of a straight line through the samples after the first fifth (that is warm-up: arenas, caches, connections)

600,000 requests (1,000 a second for 600 s) are a day of 7 a second. The store grows by design, and its bytes a prediction are told.
Usage: soak.py [--seconds 600] [--rate 1000] [--csv FILE]
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import jobs
import numpy as np
from contenders import import_image_model, relevo_server
from measuring import conditions, rss_mib, running, tree, verdict
from openloop import load

if TYPE_CHECKING:
    from collections.abc import Callable

_EVERY_S = 5.0
#: Of the whole tree. Below this a straight line through noise cannot be told from no growth at all.
_MEMORY_MIB_A_HOUR = 60.0
_FILES_A_HOUR = 12.0
_JOURNAL_MIB = 256.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One look at the process tree and its workspace."""

    second: float
    processes: int
    rss_mib: float
    files: int
    journal_mib: float
    store_mib: float


class Watch(threading.Thread):
    """Looks every few seconds until it is told to stop; lives as long as the load."""

    def __init__(self, pid: int, home: Path) -> None:
        super().__init__(daemon=True)
        self._pid, self._home = pid, home
        self._over = threading.Event()
        self.samples: list[Sample] = []

    def run(self) -> None:
        """Take samples."""
        begin = time.monotonic()
        while not self._over.wait(_EVERY_S):
            self.samples.append(look(self._pid, self._home, time.monotonic() - begin))

    def stop(self) -> None:
        """End after the sample that is being taken."""
        self._over.set()
        self.join()


def look(pid: int, home: Path, second: float) -> Sample:
    """One sample now."""
    processes = tree(pid)
    return Sample(
        second=second,
        processes=len(processes),
        rss_mib=sum(map(rss_mib, processes)),
        files=sum(map(_open_files, processes)),
        journal_mib=_mib(home, lambda path: "spool" in path.parts),
        store_mib=_mib(home, lambda path: "spool" not in path.parts),
    )


def _open_files(pid: int) -> int:
    try:
        return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return 0  # Race: it ended while we looked.


def _mib(home: Path, wanted: Callable[[Path], bool]) -> float:
    total = 0
    for path in home.rglob("*"):
        if wanted(path.relative_to(home)):
            try:
                total += path.lstat().st_size
            except OSError:
                continue  # Race: shipped and unlinked.
    return total / 2**20


def slope_an_hour(samples: list[Sample], what: str) -> float:
    """Growth an hour of one column, by least squares over the last four fifths."""
    kept = samples[len(samples) // 5 :]
    if len(kept) < 3:
        return 0.0
    seconds = np.array([sample.second for sample in kept])
    values = np.array([float(getattr(sample, what)) for sample in kept])
    return float(np.polyfit(seconds, values, 1)[0]) * 3600


def main() -> int:
    """Load, look, judge; 1 when something grew, or an answer was wrong or missing."""
    options = argparse.ArgumentParser(description="Soak.")
    options.add_argument("--seconds", type=float, default=600.0)
    options.add_argument("--rate", type=float, default=1000.0)
    options.add_argument("--csv", type=Path)
    chosen = options.parse_args()
    print(conditions())
    with tempfile.TemporaryDirectory(prefix="relevo-bench-") as place:
        home = Path(place) / "home"
        job = jobs.digits()
        import_image_model(job, home)
        server = relevo_server("relevo", home, "/predict", job.raw())
        with running(server) as (address, pid):
            watch = Watch(pid, home)
            watch.start()
            seen = load(server, address, rate=chosen.rate, seconds=chosen.seconds)
            watch.stop()
    if chosen.csv:
        _write(chosen.csv, watch.samples)
    print(f"         {seen.answered:,} answers, p50 {seen.p50:.2f} ms, p99 {seen.p99:.2f} ms, p99.9 {seen.p999:.2f} ms")
    print(f"         the store took {_bytes_a_prediction(watch.samples, chosen.rate):.0f} bytes a prediction")
    return 0 if _judge(watch.samples, seen.wrong, seen.missing) else 1


def _bytes_a_prediction(samples: list[Sample], rate: float) -> float:
    return slope_an_hour(samples, "store_mib") * 2**20 / (rate * 3600)


def _judge(samples: list[Sample], wrong: int, missing: int) -> bool:
    memory, files = slope_an_hour(samples, "rss_mib"), slope_an_hour(samples, "files")
    journal = max(sample.journal_mib for sample in samples)
    first, last = samples[len(samples) // 5], samples[-1]
    reached = (
        verdict(f"{wrong} wrong and {missing} missing answers", holds=wrong == missing == 0),
        verdict(
            f"memory {first.rss_mib:.0f} → {last.rss_mib:.0f} MiB, {memory:+.1f} MiB an hour (limit {_MEMORY_MIB_A_HOUR:g})",
            holds=memory <= _MEMORY_MIB_A_HOUR,
        ),
        verdict(f"open files {first.files} → {last.files}, {files:+.0f}/h (limit {_FILES_A_HOUR:g})", holds=files <= _FILES_A_HOUR),
        verdict(f"the journals never held more than {journal:.1f} MiB (limit {_JOURNAL_MIB:g})", holds=journal <= _JOURNAL_MIB),
        verdict(f"{last.processes} processes, as at first", holds=last.processes == first.processes),
    )
    return all(reached)


def _write(path: Path, samples: list[Sample]) -> None:
    with path.open("w", newline="") as target:
        writer = csv.DictWriter(target, [field.name for field in fields(Sample)])
        writer.writeheader()
        writer.writerows(asdict(sample) for sample in samples)


if __name__ == "__main__":
    sys.exit(main())
