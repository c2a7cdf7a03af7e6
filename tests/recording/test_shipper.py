"""Shipping: each prediction is in the history exactly once after any crash, and no file is removed too early."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.journal import prediction

from relevo.errors import DatabaseUnavailableError
from relevo.recording.journal import EXCHANGED, Journal, JournalLimits, remove_kept
from relevo.recording.reader import KEPT_S, JournalReader
from relevo.recording.shipper import AdaptiveBatchSize, Shipper
from relevo.testing import memory_store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from relevo.domain.prediction import PredictionRecord
    from relevo.testing import MemoryStore

_ROOT = Path(__file__).parents[2]


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def store() -> Iterator[MemoryStore]:
    with memory_store() as memory:
        yield memory


@pytest.fixture
def shipper(spool: Path, store: MemoryStore) -> Shipper:
    return Shipper(JournalReader(spool), store.predictions)


def write_batches(spool: Path, *batches: list[PredictionRecord], worker: str = "w", **limits: Any) -> list[bytes]:
    """Write batches as a worker that then ends; returns their ids."""
    journal = Journal(spool / worker, limits=JournalLimits(**limits))
    for batch in batches:
        journal.write(batch)
    journal.close()
    return [item.id for batch in batches for item in batch]


def stored_ids(store: MemoryStore) -> list[bytes]:
    return sorted(item.prediction.id for item in store.predictions.page(limit=1000).items)


def journals(spool: Path) -> list[str]:
    return sorted(path.name for path in spool.rglob("*.journal"))


class FailingStore:
    """The real history, which fails when a test says so."""

    def __init__(self, store: MemoryStore) -> None:
        self.history = store.predictions
        self.away = False
        self.fails_after_commit = False

    def insert_from_journal(self, file: str, up_to: int, predictions: Any) -> int:
        """Ship, or be unavailable, or fail right after the commit."""
        if self.away:
            raise DatabaseUnavailableError
        result = self.history.insert_from_journal(file, up_to, predictions)
        if self.fails_after_commit:
            raise KeyboardInterrupt
        return result

    def positions(self) -> dict[str, int]:
        """As stored."""
        if self.away:
            raise DatabaseUnavailableError
        return self.history.positions()

    def forget_file(self, file: str) -> None:
        """As stored."""
        self.history.forget_file(file)

    def missing(self, predictions: Any) -> int:
        """As stored."""
        return self.history.missing(predictions)


def test_what_was_written_arrives_and_its_file_goes(shipper: Shipper, spool: Path, store: MemoryStore) -> None:
    """All rows of a finished file are in the history with all fields; the file and its position are gone."""
    batch = [
        prediction(30_000),
        prediction(),
        prediction(10, error="model_failed", predicted_label=None, confidence=None, scores=b""),
    ]
    ids = write_batches(spool, batch)
    assert shipper.ship() == 3
    assert stored_ids(store) == sorted(ids)
    assert [store.predictions.get(item.id).prediction.error for item in batch] == [None, None, "model_failed"]
    assert journals(spool) == []
    assert store.predictions.positions() == {}


def test_shipping_again_ships_nothing(shipper: Shipper, spool: Path, store: MemoryStore) -> None:
    """A second run ships nothing."""
    write_batches(spool, [prediction()])
    assert (shipper.ship(), shipper.ship()) == (1, 0)
    assert len(stored_ids(store)) == 1


def test_a_living_writers_file_is_shipped_and_stays(shipper: Shipper, spool: Path, store: MemoryStore) -> None:
    """Committed batches of a live worker are shipped one by one, and its file stays for later ones."""
    journal = Journal(spool / "w")
    ids = []
    for round_ in range(3):
        item = prediction()
        ids.append(item.id)
        journal.write([item])
        assert shipper.ship() == 1
        assert store.predictions.positions() == {"w/00000001.journal": round_ + 1}
    assert journals(spool) == ["00000001.journal"]
    journal.close()
    assert shipper.ship() == 0
    assert journals(spool) == []
    assert stored_ids(store) == sorted(ids)


def test_killed_between_commit_and_removal_nothing_doubles(shipper: Shipper, spool: Path, store: MemoryStore) -> None:
    """If the process dies right after the commit, the next one removes file and position, and ships nothing twice."""
    ids = write_batches(spool, [prediction()], [prediction()])
    stumbling = FailingStore(store)
    stumbling.fails_after_commit = True
    with pytest.raises(KeyboardInterrupt):
        Shipper(JournalReader(spool), stumbling).ship()
    assert journals(spool) == ["00000001.journal"]
    assert shipper.ship() == 0
    assert stored_ids(store) == sorted(ids)
    assert (journals(spool), store.predictions.positions()) == ([], {})


def test_killed_between_removal_and_forgetting_the_position_goes(shipper: Shipper, store: MemoryStore) -> None:
    """The next process deletes a position whose file is gone."""
    store.predictions.insert_from_journal("w/00000009.journal", 4, [prediction()])
    shipper.ship()
    assert store.predictions.positions() == {}


def test_a_database_put_back_from_yesterday_gets_the_rest_again(spool: Path, store: MemoryStore) -> None:
    """If positions are lost with their database, the remaining journals are inserted again, and ids prevent duplicates."""
    journal = Journal(spool / "w")
    batch = [prediction() for _ in range(3)]
    journal.write(batch)
    Shipper(JournalReader(spool), store.predictions).ship()
    store.predictions.forget_file("w/00000001.journal")
    Shipper(JournalReader(spool), store.predictions).ship()
    assert stored_ids(store) == sorted(item.id for item in batch)
    with memory_store() as other:
        Shipper(JournalReader(spool), other.predictions).ship()
        assert stored_ids(other) == stored_ids(store)
    journal.close()


def test_a_store_that_is_away_loses_nothing(spool: Path, store: MemoryStore) -> None:
    """While the database is unavailable, files stay as they are; once it is back, everything arrives once."""
    ids = write_batches(spool, [prediction()], worker="a") + write_batches(spool, [prediction()], worker="b")
    stumbling = FailingStore(store)
    shipper = Shipper(JournalReader(spool), stumbling)
    stumbling.away = True
    for _ in range(3):
        with pytest.raises(DatabaseUnavailableError):
            shipper.ship()
    assert len(journals(spool)) == 2
    stumbling.away = False
    assert shipper.ship() == 2
    assert stored_ids(store) == sorted(ids)


def test_many_files_of_many_workers_arrive(shipper: Shipper, spool: Path, store: MemoryStore) -> None:
    """Every file of every worker is shipped, the rotated ones are removed."""
    ids = [
        item
        for worker in ("a", "b", "c")
        for item in write_batches(spool, *[[prediction(900)] for _ in range(7)], worker=worker, rotate_bytes=2000)
    ]
    assert shipper.ship() == 21
    assert stored_ids(store) == sorted(ids)
    assert journals(spool) == []


def test_a_damaged_file_is_kept_and_does_not_block_others(shipper: Shipper, spool: Path, store: MemoryStore, caplog: Any) -> None:
    """A file without valid content is set aside, logged once, and the files after it are shipped."""
    (spool / "a").mkdir(parents=True)
    (spool / "a" / "00000001.journal").write_bytes(b"nonsense" * 2000)
    ids = write_batches(spool, [prediction()], worker="b")
    assert shipper.ship() == 1
    assert shipper.ship() == 0
    assert stored_ids(store) == ids
    assert (spool / "a" / "00000001.damaged").exists()
    assert [record.__dict__["action"] for record in caplog.records] == ["journal_damaged"]


def test_a_batch_of_another_form_is_damage(shipper: Shipper, spool: Path, store: MemoryStore) -> None:
    """A batch that cannot be decoded sets the file aside; earlier batches of the file were shipped."""
    journal = Journal(spool / "w")
    first = prediction()
    journal.write([first])
    shipper.ship()
    assert journal._open is not None
    journal._open.append(b"\x93\x01\x02")
    journal.close()
    shipper.ship()
    assert stored_ids(store) == [first.id]
    assert (spool / "w" / "00000001.damaged").exists()


_SHIP = """
import os, signal, sys
from pathlib import Path
from relevo.recording.shipper import AdaptiveBatchSize, Shipper
from relevo.recording.reader import JournalReader
from relevo.store.db.engine import connect
from relevo.store.predictions import PredictionStore

engine = connect(sys.argv[2])
shipper = Shipper(JournalReader(Path(sys.argv[1])), PredictionStore(engine))
print("ready", flush=True)
while True:
    shipper.ship()
"""


@pytest.mark.chaos
def test_a_loop_killed_at_any_moment_ships_each_prediction_once(tmp_path: Path, spool: Path) -> None:
    """The process is killed repeatedly while a worker writes: in the end the history has every row once, and no journal is left."""
    from relevo.store.db.engine import connect, migrate
    from relevo.store.predictions import PredictionStore

    url = f"sqlite:///{tmp_path / 'relevo.db'}"
    engine = connect(url)
    migrate(engine)
    journal = Journal(spool / "w", limits=JournalLimits(rotate_bytes=20_000))
    ids: list[bytes] = []
    for _ in range(8):
        child = subprocess.Popen(
            [sys.executable, "-c", _SHIP, str(spool), url],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(_ROOT / "src")},
        )
        assert child.stdout is not None
        child.stdout.readline()
        for _ in range(60):
            batch = [prediction(700), prediction(700)]
            journal.write(batch)
            ids += [item.id for item in batch]
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
    journal.close()
    history = PredictionStore(engine)
    Shipper(JournalReader(spool), history).ship()
    assert history.count() == len(ids)
    assert all(history.get(item).prediction.id == item for item in ids)
    assert (journals(spool), history.positions()) == ([], {})
    engine.dispose()


def test_a_peak_that_begins_while_a_file_is_shipped_stops_it(spool: Path, store: MemoryStore) -> None:
    """The rest of a finished file stays, and is shipped later, each prediction once."""
    journal = Journal(spool / "w")
    for _ in range(3):
        journal.write([prediction() for _ in range(1000)])
    journal.close()
    verdicts = iter([False, True, False, False, False, False])
    shipper = Shipper(JournalReader(spool), store.predictions, should_wait=lambda: next(verdicts, False))
    first = shipper.ship()
    assert 0 < first < 3000
    assert list(spool.rglob("*.journal"))
    assert first + shipper.ship() == store.predictions.count() == 3000
    assert not list(spool.rglob("*.journal"))


def test_after_an_exchange_of_the_database_a_second_one_gets_the_rows_too(spool: Path, store: MemoryStore) -> None:
    """Journals shipped to an older database are kept, and reach the newer one that replaces it; each row once."""
    reader = JournalReader(spool)
    reader.folder.mkdir()
    reader.mark_exchange()
    ids = write_batches(spool, [prediction()], [prediction()])
    with memory_store() as older:
        Shipper(reader, older.predictions).ship()
        assert stored_ids(older) == sorted(ids)
    assert journals(spool) == []
    reader.restore_quarantined()
    shipper = Shipper(reader, store.predictions)
    assert shipper.ship() == len(ids)
    reader.restore_quarantined()
    shipper.reload_positions()
    shipper.ship()
    assert stored_ids(store) == sorted(ids)


def test_what_was_kept_goes_after_a_day_or_with_an_erasure(shipper: Shipper, spool: Path) -> None:
    """Shipped journals stay for a day after the exchange; erasing a subject removes them at once."""
    reader = JournalReader(spool)
    for erased in (False, True):
        spool.mkdir(exist_ok=True)
        reader.mark_exchange()
        write_batches(spool, [prediction()])
        shipper.ship()
        assert len(list(spool.rglob("*.kept"))) == 1
        if erased:
            remove_kept(spool)
        else:
            os.utime(spool / EXCHANGED, times=(time.time() - KEPT_S - 1,) * 2)
        shipper.ship()
        assert list(spool.rglob("*.kept*")) == []
        assert not (spool / EXCHANGED).exists()


def test_slow_transactions_make_the_next_ones_small() -> None:
    """After a few slow transactions, later ones no longer delay other writers for long."""
    size = AdaptiveBatchSize()
    for _ in range(5):
        size.record(3.0)
    assert size.rows == 100
    size.record(0.2)
    assert size.rows == 100, "a duration that is neither slow nor fast changes nothing"


def test_fast_transactions_grow_to_a_limit() -> None:
    """On a fast database, many rows share the fixed cost of a transaction, but never more than memory allows."""
    size = AdaptiveBatchSize()
    for _ in range(20):
        size.record(0.01)
    assert size.rows == 2500


class _SlowSink:
    """A store whose transactions take a second each, by its own clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.sizes: list[int] = []

    def insert_from_journal(self, _file: str, _up_to: int, predictions: Sequence[PredictionRecord], /) -> int:
        self.now += 1.0
        self.sizes.append(len(predictions))
        return len(predictions)

    def positions(self) -> dict[str, int]:
        return {}

    def forget_file(self, _file: str, /) -> None:
        return

    def missing(self, _predictions: Sequence[PredictionRecord], /) -> int:
        return 0


def test_transactions_shrink_on_a_slow_database(tmp_path: Path) -> None:
    """Everything is shipped, in ever smaller transactions."""
    journal = Journal(tmp_path / "spool" / "w1")
    for _ in range(300):
        journal.write([prediction() for _ in range(10)])
    sink = _SlowSink()
    assert Shipper(JournalReader(tmp_path / "spool"), sink, monotonic=lambda: sink.now).ship() == 3000
    journal.close()
    assert sink.sizes[0] > 4 * sink.sizes[-2]
    assert sum(sink.sizes) == 3000
