"""The journal: a committed batch survives any crash, and a batch that cannot be committed is rejected as a whole."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.journal import ids_in, prediction, small_disk

from relevo.errors import JournalUnavailableError
from relevo.recording.journal import LOCK, Journal, JournalLimits, request_rotation
from relevo.recording.reader import JournalReader

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT = Path(__file__).parents[2]
_SUPPORT = _ROOT / "tests" / "support"


class Clock:
    """Monotonic seconds that only a test advances."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """The time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(tmp_path: Path, clock: Clock) -> Iterator[Any]:
    """Creates journals with that clock; they are closed when the test ends."""
    made: list[Journal] = []

    def build(name: str = "worker", **limits: Any) -> Journal:
        made.append(Journal(tmp_path / "spool" / name, limits=JournalLimits(**limits), monotonic=clock))
        return made[-1]

    yield build
    for item in made:
        item.close()


def files(journal: Journal) -> list[str]:
    return sorted(path.name for path in journal.folder.glob("*.journal"))


def test_a_written_batch_is_readable_at_once(make: Any, tmp_path: Path) -> None:
    """When write returns, a separate reader sees the complete batch in order."""
    journal = make()
    batch = [prediction() for _ in range(5)]
    journal.write(batch)
    reader = JournalReader(tmp_path / "spool")
    assert reader.read(reader.files()[0], after=0)[0].predictions == batch


@pytest.mark.chaos
@pytest.mark.parametrize("durability", ["process", "full"])
def test_what_was_committed_survives_kill_9(tmp_path: Path, durability: str) -> None:
    """A writer is killed repeatedly at a random moment: every acknowledged prediction is in the journals exactly once."""
    draw = random.Random(11)  # noqa: S311 - moments to kill at
    acknowledged: set[bytes] = set()
    for round_ in range(12):
        folder = tmp_path / "spool" / f"worker-{round_}"
        child = subprocess.Popen(
            [sys.executable, _SUPPORT / "journal_writer_child.py", folder, durability],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": f"{_ROOT / 'src'}:{_ROOT}"},
        )
        assert child.stdout is not None
        acknowledged.add(bytes.fromhex(child.stdout.readline().decode()))
        time.sleep(draw.uniform(0, 0.15))
        child.send_signal(signal.SIGKILL)
        rest = child.stdout.read().decode().split("\n")
        acknowledged |= {bytes.fromhex(line) for line in rest[:-1]}
        child.wait()
        child.stdout.close()
    ids = ids_in(tmp_path / "spool")
    assert acknowledged <= set(ids)
    assert len(ids) == len(set(ids))
    assert all(file.finished for file in JournalReader(tmp_path / "spool").files())


def test_a_file_is_replaced_at_its_size(make: Any, tmp_path: Path) -> None:
    """Once a file has reached rotate_bytes, the next batch goes to a new one, and no batch is lost between them."""
    journal = make(rotate_bytes=5000)
    batches = [[prediction(1000)] for _ in range(12)]
    for batch in batches:
        journal.write(batch)
    assert len(files(journal)) == 3
    assert ids_in(tmp_path / "spool") == [batch[0].id for batch in batches]


def test_a_file_is_replaced_at_its_age(make: Any, clock: Clock) -> None:
    """Once a file is rotate_s old it is closed, with the next batch or by the timer; an empty file stays open."""
    journal = make(rotate_s=60)
    journal.write([prediction()])
    clock.now += 61
    journal.write([prediction()])
    journal.write([prediction()])
    assert files(journal) == ["00000001.journal", "00000002.journal"]
    clock.now += 61
    journal.rotate_if_old()
    assert journal._open is None
    clock.now += 61
    assert journal.is_writable()
    journal.rotate_if_old()
    assert files(journal) == ["00000001.journal", "00000002.journal", "00000003.journal"]


def test_a_young_file_stays(make: Any, clock: Clock) -> None:
    """Below size and age every batch goes to the same file."""
    journal = make(rotate_s=60)
    for _ in range(10):
        clock.now += 5
        journal.write([prediction()])
        journal.rotate_if_old()
    assert files(journal) == ["00000001.journal"]


def test_a_file_that_must_go_is_replaced_at_once(make: Any) -> None:
    """After a rotation request, a journal closes its file and opens the next, once, so that the old one is shipped and removed."""
    journal = make()
    request_rotation(journal.folder.parent)
    journal.rotate_if_old()
    assert JournalReader(journal.folder.parent).files() == []
    journal.write([prediction()])
    journal.rotate_if_old()
    assert [file.finished for file in JournalReader(journal.folder.parent).files()] == [False]
    request_rotation(journal.folder.parent)
    for _ in range(2):
        journal.rotate_if_old()
    assert [file.finished for file in JournalReader(journal.folder.parent).files()] == [True, False]
    journal.write([prediction()])


def test_no_checkpoint_while_the_file_is_in_use(make: Any, tmp_path: Path) -> None:
    """However much is written and read, the WAL is never checkpointed while the file is in use: that takes disk time."""
    journal = make()
    journal.write([prediction()])
    path = journal.folder / "00000001.journal"
    before = path.stat().st_size
    for _ in range(60):
        journal.write([prediction(100_000)])
        ids_in(tmp_path / "spool")
    assert path.stat().st_size == before
    assert path.with_name(path.name + "-wal").stat().st_size > 60 * 100_000


def test_a_closed_file_is_whole_without_its_log(make: Any) -> None:
    """Closing checkpoints the WAL, so that a finished journal is a single file."""
    journal = make()
    journal.write([prediction(50_000)])
    journal.close()
    assert not (journal.folder / "00000001.journal-wal").exists()
    with sqlite3.connect(journal.folder / "00000001.journal") as connection:
        assert connection.execute("SELECT count(*) FROM batches").fetchone() == (1,)
    connection.close()
    journal._lock_fd = os.open(os.devnull, os.O_RDONLY)  # the fixture closes once more


def test_a_broken_file_is_given_up_and_writing_recovers_by_itself(make: Any, clock: Clock, tmp_path: Path) -> None:
    """A file is never written again after a failed write; a new one soon replaces it, and committed batches are kept."""
    journal = make(retry_s=0.5)
    kept = prediction()
    journal.write([kept])
    assert journal._open is not None
    pages = journal._open._connection.execute("PRAGMA page_count").fetchone()[0]
    journal._open._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(JournalUnavailableError, match="full"):
        journal.write([prediction(100_000)])
    assert "full" in journal.error
    with pytest.raises(JournalUnavailableError):
        journal.write([prediction()])
    assert not journal.is_writable()
    clock.now += 0.6
    assert journal.is_writable()
    assert journal.error == ""
    later = prediction()
    journal.write([later])
    assert files(journal) == ["00000001.journal", "00000002.journal"]
    assert ids_in(tmp_path / "spool") == [kept.id, later.id]


def test_a_disk_that_fails_while_a_file_is_opened_refuses_its_batch(tmp_path: Path) -> None:
    """SQLite does not report that it cannot create its WAL; such a file is not used, and the next one has a WAL."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed: no sync can be made to fail")
    log = tmp_path / "trace"
    inject = [strace, "-qq", "-o", str(log), "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO:when=1"]
    acknowledged = subprocess.run(
        [*inject, sys.executable, _SUPPORT / "journal_opener_child.py", tmp_path / "spool" / "worker"],
        capture_output=True,
        check=True,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{_ROOT / 'src'}:{_ROOT}"},
    ).stdout.split()
    assert log.read_text().count("INJECTED") == 1
    assert acknowledged == ["refused", "kept:wal"]


@pytest.mark.chaos
def test_a_full_disk_refuses_and_a_freed_one_takes_again(tmp_path: Path) -> None:
    """On a disk that fills up, every batch is written completely or rejected; once space is free, writing continues."""
    with small_disk(tmp_path / "disk", "8m") as disk:
        journal = Journal(disk / "spool" / "worker", limits=JournalLimits(rotate_bytes=300_000, retry_s=0.01))
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(5_000_000))
        kept: list[bytes] = []
        refusals = 0
        while refusals < 20:
            batch = [prediction(20_000), prediction(20_000)]
            try:
                journal.write(batch)
                kept += [item.id for item in batch]
            except JournalUnavailableError:
                refusals += 1
        assert len(kept) > 10
        assert journal.error
        ballast.unlink()
        time.sleep(0.05)
        assert journal.is_writable()
        last = [prediction(), prediction()]
        journal.write(last)
        journal.close()
        assert ids_in(disk / "spool") == [*kept, *(item.id for item in last)]


def test_a_disk_below_the_reserve_is_full(make: Any, clock: Clock) -> None:
    """Below the reserve no file is created, and the error says why."""
    journal = make(reserve_bytes=2**62)
    fits = journal.is_writable()
    # The reserve is at most a tenth of the disk: on one that is nearly empty it is never reached.
    assert fits or journal.error == "the disk is full"
    clock.now += 10


def test_unshipped_journals_have_a_limit(make: Any, clock: Clock) -> None:
    """Above max_bytes of unshipped files, including those of dead workers, no file is created until they are shipped."""
    dead = make("dead")
    dead.write([prediction(30_000)])
    journal = make("alive", max_bytes=25_000, retry_s=0.5)
    with pytest.raises(JournalUnavailableError, match="spool_max_mb"):
        journal.write([prediction()])
    assert not journal.is_writable()
    for path in dead.folder.glob("*.journal*"):
        path.unlink()
    clock.now += 0.6
    journal.write([prediction()])
    assert journal.error == ""


def test_an_unwritable_folder_is_reported(make: Any) -> None:
    """If no file can be created, the error says why."""
    journal = make()
    lock = journal.folder / LOCK
    lock.unlink()
    journal.folder.rmdir()
    with pytest.raises(JournalUnavailableError):
        journal.write([prediction()])
    assert journal.error


def test_many_threads_write_one_at_a_time(make: Any, tmp_path: Path) -> None:
    """Versions in several threads share the journal: each batch is complete, none is lost."""
    journal = make(rotate_bytes=20_000)
    batches = [[prediction(500) for _ in range(3)] for _ in range(60)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(journal.write, batches))
    journal.write([last := prediction()])
    assert sorted(ids_in(tmp_path / "spool")) == sorted([item.id for batch in batches for item in batch] + [last.id])


def test_the_lock_tells_whether_the_writer_lives(make: Any, tmp_path: Path) -> None:
    """While the journal is open its last file may grow; once it is closed every file is finished."""
    journal = make()
    journal.write([prediction()])
    reader = JournalReader(tmp_path / "spool")
    assert [file.finished for file in reader.files()] == [False]
    journal.close()
    assert [file.finished for file in reader.files()] == [True]
    journal._lock_fd = os.open(os.devnull, os.O_RDONLY)  # the fixture closes once more


def test_a_reader_that_looks_at_the_lock_stops_no_writer(tmp_path: Path) -> None:
    """A reader tries the lock for an instant; a worker that starts at that instant waits and then starts normally."""
    folder = tmp_path / "spool" / "worker"
    folder.mkdir(parents=True)
    reader = JournalReader(tmp_path / "spool")
    stop = threading.Event()

    def try_lock() -> None:
        while not stop.is_set():
            reader.files()

    thread = threading.Thread(target=try_lock)
    thread.start()
    try:
        for _ in range(50):
            journal = Journal(folder)
            journal.close()
    finally:
        stop.set()
        thread.join()


def test_an_unknown_durability_is_no_durability(tmp_path: Path) -> None:
    """Only the three named durabilities open a journal."""
    with pytest.raises(KeyError):
        Journal(tmp_path / "spool" / "w", durability="maybe")


@pytest.mark.parametrize(("durability", "synchronous"), [("process", 0), ("relaxed", 0), ("full", 2)])
def test_durability_decides_whether_a_commit_reaches_the_disk(tmp_path: Path, durability: str, synchronous: int) -> None:
    """With durability = full each commit is synced to the disk (SQLite's FULL); with the others the operating system decides."""
    journal = Journal(tmp_path / "spool" / "w", durability=durability)
    journal.write([prediction()])
    assert journal._open is not None
    assert journal._open._connection.execute("PRAGMA synchronous").fetchone() == (synchronous,)
    journal.close()


def test_a_probe_does_not_wait_for_the_disk(tmp_path: Path) -> None:
    """While a batch is being written, a health check is answered at once, with the last known state."""
    journal = Journal(tmp_path / "spool" / "worker")
    journal.write([prediction()])
    (path,) = (tmp_path / "spool" / "worker").glob("*.journal")
    slow = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    slow.execute("BEGIN IMMEDIATE")
    with ThreadPoolExecutor(1) as executor:
        write = executor.submit(journal.write, [prediction()])
        time.sleep(0.1)
        began = time.monotonic()
        assert journal.is_writable()
        assert time.monotonic() - began < 0.1
        assert not write.done()
        slow.execute("COMMIT")
        slow.close()
        write.result(5)
    journal.close()
