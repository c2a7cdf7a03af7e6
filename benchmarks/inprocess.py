"""The limit no server can pass: decode and infer in bare processes, no HTTP, nothing validated or kept.

    process 1: picture ─ Pillow ─► tensor ─┐
    process 2: picture ─ Pillow ─► tensor ─┴─ ONNX Runtime, batches of 1 or 16        for some seconds, then rates are added

Usage: inprocess.py [--jobs digits photos] [--seconds 5] [--rounds 3]
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from typing import TYPE_CHECKING

import jobs
import numpy as np
from contenders import WORKERS
from measuring import Load

if TYPE_CHECKING:
    from multiprocessing.synchronize import Barrier

BATCHES = (1, 16)


def limit(job: jobs.ImageJob, *, batch: int, seconds: float, processes: int = WORKERS) -> float:
    """Pictures a second, all processes together."""
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(processes)
    results: multiprocessing.Queue[float] = context.Queue()
    crew = [context.Process(target=_work, args=(job, batch, seconds, ready, results)) for _ in range(processes)]
    for worker in crew:
        worker.start()
    rates = [results.get(timeout=seconds + 60) for _ in crew]
    for worker in crew:
        worker.join()
    return sum(rates)


def _work(job: jobs.ImageJob, batch: int, seconds: float, ready: Barrier, results: multiprocessing.Queue[float]) -> None:
    session = jobs.open_session(job.onnx)
    name = session.get_inputs()[0].name
    pictures = [job.pictures[number % len(job.pictures)] for number in range(max(batch, len(job.pictures)))]

    def turn(start: int) -> None:
        rows = [job.tensor(pictures[(start + number) % len(pictures)]) for number in range(batch)]
        session.run(None, {name: np.concatenate(rows)})

    for number in range(5):
        turn(number)
    ready.wait()
    done, begin = 0, time.perf_counter()
    while (now := time.perf_counter()) < begin + seconds:
        turn(done)
        done += batch
    results.put(done / (now - begin))


def best_limit(job: jobs.ImageJob, *, seconds: float) -> Load:
    """The better of the batch sizes, in the shape of a measured server, so that it can stand among them in a round."""
    rate = max(limit(job, batch=batch, seconds=seconds) for batch in BATCHES)
    return Load(rate=rate, p50=0.0, p99=0.0, p999=0.0, failed=0, rss=0.0, generator=0.0)


def main() -> None:
    """Print medians of some rounds."""
    options = argparse.ArgumentParser(description="The in-process limit.")
    options.add_argument("--jobs", nargs="+", choices=["digits", "photos"], default=["digits", "photos"])
    options.add_argument("--seconds", type=float, default=5.0)
    options.add_argument("--rounds", type=int, default=3)
    chosen = options.parse_args()
    for name in chosen.jobs:
        job: jobs.ImageJob = getattr(jobs, name)()
        for batch in BATCHES:
            rates = [limit(job, batch=batch, seconds=chosen.seconds) for _ in range(chosen.rounds)]
            spread = f"{min(rates):,.0f}–{max(rates):,.0f}"
            print(f"{name}, batches of {batch}: {statistics.median(rates):,.0f}/s ({spread}), {WORKERS} processes")


if __name__ == "__main__":
    main()
