"""Counters: correct with several workers and after crashes, and cheap per request."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from relevo.telemetry import Telemetry, merge_dead, render

if TYPE_CHECKING:
    from pathlib import Path


def samples(page: bytes) -> dict[tuple[str, ...], float]:
    values = {}
    for family in text_string_to_metric_families(page.decode()):
        for sample in family.samples:
            values[(sample.name, *sorted(sample.labels.values()))] = sample.value
    return values


def page_of(telemetry: Telemetry) -> bytes:
    """The response of a worker to /metrics."""
    telemetry.flush()
    return render(telemetry._folder)


def answer(telemetry: Telemetry, times: int = 1, *, seconds: float = 0.003, rows: int = 1) -> None:
    for _ in range(times):
        telemetry.count_prediction(model="digits", version=1, outcome="ok", seconds=seconds, rows=rows)


PREDICTIONS = ("relevo_predictions_total", "1", "digits", "ok")


def test_one_scrape_shows_all_workers(tmp_path: Path) -> None:
    """Whichever worker is scraped, the page has the sum of all, including its own latest numbers."""
    first, second = Telemetry(tmp_path, "one"), Telemetry(tmp_path, "two")
    answer(first, 3)
    answer(second, 4, rows=10)
    second.flush()
    values = samples(page_of(first))
    assert values[PREDICTIONS] == 43
    assert values[("relevo_request_duration_seconds_count", "1", "digits", "ok")] == 7
    assert values[("relevo_request_duration_seconds_sum", "1", "digits", "ok")] == pytest.approx(0.021)
    assert values[("relevo_workers",)] == 2


def test_buckets_are_cumulated(tmp_path: Path) -> None:
    """Each bucket counts latencies up to its edge, edge included, as Prometheus defines it."""
    telemetry = Telemetry(tmp_path, "one")
    for seconds in (0.0001, 0.001, 0.0011, 99.0):
        answer(telemetry, seconds=seconds)
    values = samples(page_of(telemetry))
    edges = {"0.0005": 1, "0.001": 2, "0.002": 3, "10.0": 3, "+Inf": 4}
    for edge, count in edges.items():
        assert values[("relevo_request_duration_seconds_bucket", *sorted((edge, "1", "digits", "ok")))] == count


def test_every_metric_is_on_the_page(tmp_path: Path) -> None:
    """All documented metrics are there: predictions, latency, batches, queue, journals, errors, readiness, swaps, release."""
    telemetry = Telemetry(tmp_path, "one")
    telemetry.ready, telemetry.queue_rows, telemetry.spool_bytes = True, 7, 4096
    telemetry.count_error("bad_json")
    telemetry.count_error("bad_json")
    telemetry.count_batch(3)
    telemetry.swaps = 1
    values = samples(page_of(telemetry))
    assert values[("relevo_request_errors_total", "bad_json")] == 2
    assert values[("relevo_batch_rows_sum",)] == 3
    assert values[("relevo_batch_rows_bucket", "4")] == 1
    assert values[("relevo_model_swaps_total",)] == 1
    assert values[("relevo_queue_rows",)] == 7
    assert values[("relevo_journal_backlog_bytes",)] == 4096
    assert values[("relevo_ready",)] == 1
    assert any(name == "relevo_build_info" for name, *_ in values)


def test_ready_only_when_all_are(tmp_path: Path) -> None:
    """One worker that is not ready makes the server not ready; so does having no worker."""
    assert samples(render(tmp_path))[("relevo_ready",)] == 0
    first, second = Telemetry(tmp_path, "one"), Telemetry(tmp_path, "two")
    first.ready = True
    second.flush()
    assert samples(page_of(first))[("relevo_ready",)] == 0


def test_counters_survive_their_worker(tmp_path: Path) -> None:
    """The counts of a dead worker go into the total, its gauges disappear, and its file is removed."""
    dead, alive = Telemetry(tmp_path, "dead"), Telemetry(tmp_path, "alive")
    answer(dead, 5)
    dead.queue_rows = 9
    dead.count_error("bad_json")
    dead.count_batch(2)
    dead.flush()
    answer(alive)
    alive.flush()
    merge_dead(tmp_path, ["dead"])
    values = samples(page_of(alive))
    assert values[PREDICTIONS] == 6
    assert values[("relevo_request_errors_total", "bad_json")] == 1
    assert values[("relevo_batch_rows_count",)] == 1
    assert values[("relevo_queue_rows",)] == 0
    assert not (tmp_path / "dead.json").exists()


def test_counters_survive_a_restart(tmp_path: Path) -> None:
    """At a start no worker is alive: all files are merged, the same process only once."""
    answer(first := Telemetry(tmp_path, "first"), 2)
    first.flush()
    left_over = (tmp_path / "first.json").read_bytes()
    merge_dead(tmp_path)
    # Killed after the total was written and before the file was removed.
    (tmp_path / "first.json").write_bytes(left_over)
    assert samples(render(tmp_path))[PREDICTIONS] == 2
    merge_dead(tmp_path)
    assert samples(render(tmp_path))[PREDICTIONS] == 2


def test_several_may_flush_while_requests_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first request of another version, counted while two threads write, breaks neither and is in the next flush."""
    telemetry, over = Telemetry(tmp_path, "one"), threading.Event()
    failures: list[object] = []
    monkeypatch.setattr(threading, "excepthook", failures.append)
    for version in range(1500):
        telemetry.count_prediction(model="churn", version=version, outcome="ok", seconds=0.001)

    def flush() -> None:
        while not over.is_set():
            telemetry.flush()

    writers = [threading.Thread(target=flush) for _ in range(2)]
    for first in writers:
        first.start()
    for version in range(60):
        telemetry.count_prediction(model="mnist", version=version, outcome="ok", seconds=0.001)
        time.sleep(0.001)
    over.set()
    for first in writers:
        first.join()
    assert not failures
    telemetry.flush()
    assert sum(count for (name, *_), count in samples(render(tmp_path)).items() if name == "relevo_predictions_total") == 1560


def test_a_scrape_during_folding_never_loses_or_doubles(tmp_path: Path) -> None:
    """However reads and merges interleave, a scrape sees every count once."""
    answer(alive := Telemetry(tmp_path, "alive"))
    alive.flush()
    seen: set[float] = set()
    over = threading.Event()

    def scrape() -> None:
        while not over.is_set():
            values = samples(render(tmp_path))
            seen.add(values[PREDICTIONS] - values[("relevo_model_swaps_total",)])

    reader = threading.Thread(target=scrape)
    reader.start()
    for number in range(60):
        worker = Telemetry(tmp_path, f"boot-{number}")
        answer(worker)
        worker.swaps = 1
        worker.flush()
        merge_dead(tmp_path, [f"boot-{number}"])
    over.set()
    reader.join()
    assert seen == {1.0}


def test_a_killed_worker_leaves_what_it_flushed(tmp_path: Path) -> None:
    """After kill -9 the last flushed counts are there, complete."""
    program = (
        "import sys, time; from pathlib import Path; from relevo.telemetry import Telemetry\n"
        "t = Telemetry(Path(sys.argv[1]), 'killed')\n"
        "for _ in range(1000): t.count_prediction(model='digits', version=1, outcome='ok', seconds=0.001)\n"
        "t.flush(); print('flushed', flush=True)\n"
        "while True: t.count_prediction(model='digits', version=1, outcome='ok', seconds=0.001); t.flush()\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "flushed\n"
        time.sleep(0.05)
        os.kill(worker.pid, signal.SIGKILL)
    merge_dead(tmp_path)
    assert samples(render(tmp_path))[PREDICTIONS] >= 1000


def test_a_disk_that_refuses_stops_nothing(tmp_path: Path) -> None:
    """If the counters cannot be written, counting continues and the next flush writes everything."""
    blocked = tmp_path / "telemetry"
    blocked.write_text("a file where the folder should be", encoding="utf-8")
    telemetry = Telemetry(blocked, "one")
    answer(telemetry)
    telemetry.flush()
    blocked.unlink()
    assert samples(page_of(telemetry))[PREDICTIONS] == 1


def test_an_idle_worker_writes_nothing(tmp_path: Path) -> None:
    """A flush without changes does not touch the disk."""
    telemetry = Telemetry(tmp_path, "one")
    answer(telemetry)
    telemetry.flush()
    before = (tmp_path / "one.json").stat().st_ino
    telemetry.flush()
    assert (tmp_path / "one.json").stat().st_ino == before


def test_counting_is_cheap(tmp_path: Path) -> None:
    """Counting a request costs at most a few microseconds, even on a busy machine."""
    telemetry = Telemetry(tmp_path, "one")
    best = min(_seconds_for(telemetry, 5000) for _ in range(5))
    assert best / 5000 < 5e-6


def _seconds_for(telemetry: Telemetry, times: int) -> float:
    began = time.perf_counter()
    answer(telemetry, times)
    return time.perf_counter() - began
