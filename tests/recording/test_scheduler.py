"""The background process: ships at its interval, backs off while the database is unavailable, ships once more at shutdown."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from tests.support.journal import prediction

from relevo.errors import DatabaseUnavailableError
from relevo.recording.journal import Journal
from relevo.recording.reader import JournalReader
from relevo.recording.scheduler import BackgroundLoop, Intervals, PeriodicTask
from relevo.recording.shipper import Shipper
from relevo.testing import memory_store
from relevo.util.stop_flag import StopFlag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from relevo.testing import MemoryStore


class UnavailableStore:
    """A store that is unavailable until the test says otherwise."""

    def __init__(self, store: MemoryStore) -> None:
        self.history = store.predictions
        self.away = False

    def insert_from_journal(self, file: str, up_to: int, predictions: object) -> int:
        """Ship, or be unavailable."""
        if self.away:
            raise DatabaseUnavailableError
        return self.history.insert_from_journal(file, up_to, predictions)  # type: ignore[arg-type]  # handed through

    def positions(self) -> dict[str, int]:
        """As stored, or be unavailable."""
        if self.away:
            raise DatabaseUnavailableError
        return self.history.positions()

    def forget_file(self, file: str) -> None:
        """As stored."""
        self.history.forget_file(file)

    def missing(self, predictions: object) -> int:
        """As stored."""
        return self.history.missing(predictions)  # type: ignore[arg-type]  # handed through


class LoopFixture:
    """A background loop with real journals and an in-memory store. Lifetime: a test."""

    def __init__(self, spool: Path, store: MemoryStore) -> None:
        self.journal = Journal(spool / "w")
        self.store = store
        self.ledger = UnavailableStore(store)
        self.now = 0.0
        self.checkpoints = 0
        self.loop = self.loop_with()

    def loop_with(self, *chores: PeriodicTask, rests: Callable[[], bool] = lambda: False) -> BackgroundLoop:
        """A loop with these periodic tasks, which pauses when `rests` says so."""
        pace = Intervals(ship_every_s=0.01, checkpoint_every_s=5)
        shipper = Shipper(JournalReader(self.journal.folder.parent), self.ledger, should_wait=rests)
        return BackgroundLoop(shipper, checkpoint=self._checkpoint, pace=pace, monotonic=lambda: self.now, chores=chores)

    def _checkpoint(self) -> None:
        self.checkpoints += 1


@pytest.fixture
def world(tmp_path: Path) -> Iterator[LoopFixture]:
    with memory_store() as store:
        fixture = LoopFixture(tmp_path / "spool", store)
        yield fixture
        fixture.journal.close()


def test_a_tick_ships(world: LoopFixture) -> None:
    """Predictions written before a tick are in the history after it."""
    world.journal.write([prediction()])
    world.loop.tick()
    assert world.store.predictions.count() == 1


def test_shipping_pauses_during_a_load_peak(world: LoopFixture) -> None:
    """A paused tick ships nothing; the last one ships everything."""
    loop = world.loop_with(rests=lambda: True)
    world.journal.write([prediction()])
    loop.tick()
    assert world.store.predictions.count() == 0
    loop.tick(last=True)
    assert world.store.predictions.count() == 1


def test_the_databases_log_is_moved_now_and_then(world: LoopFixture) -> None:
    """The loop checkpoints every few seconds and not with every tick."""
    for moment in (0.0, 4.9, 5.0, 5.1, 9.9, 10.0):
        world.now = moment
        world.loop.tick()
    assert world.checkpoints == 2


def test_periodic_tasks_run_when_they_are_due(world: LoopFixture) -> None:
    """Each task runs at its own interval, one of them in the last tick too; while the database is unavailable they wait."""
    done: list[str] = []
    often = PeriodicTask(every_s=2, run=lambda: done.append("often"))
    ending = PeriodicTask(every_s=float("inf"), run=lambda: done.append("ending"), run_at_shutdown=True)
    loop = world.loop_with(often, ending)
    for moment in (0.0, 1.9, 2.0, 3.9, 4.0):
        world.now = moment
        loop.tick()
    assert done == ["often", "often"]
    loop.tick(last=True)
    assert done == ["often", "often", "ending"]


def test_while_the_store_is_away_the_loop_waits_longer(world: LoopFixture) -> None:
    """Each failed tick doubles the wait up to five seconds; the first successful one resets it."""
    world.journal.write([prediction()])
    world.ledger.away = True
    waits = []
    for _ in range(12):
        world.loop.tick()
        waits.append(world.loop._wait_s)
    assert waits[:3] == [0.02, 0.04, 0.08]
    assert max(waits) == waits[-1] == 5.0
    world.ledger.away = False
    world.loop.tick()
    assert world.loop._wait_s == 0.01
    assert world.store.predictions.count() == 1


def test_a_last_tick_ships_what_stopping_workers_left(world: LoopFixture) -> None:
    """Predictions written between the last tick and the stop are shipped before the loop ends."""
    stop = StopFlag()
    thread = threading.Thread(target=world.loop.run, args=(stop,))
    stop.set()
    world.journal.write([prediction()])
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    assert world.store.predictions.count() == 1


def test_the_loop_ticks_at_its_pace(world: LoopFixture) -> None:
    """A running loop ships at every interval until it is stopped."""
    stop = StopFlag()
    thread = threading.Thread(target=world.loop.run, args=(stop,))
    thread.start()
    for expected in range(1, 4):
        world.journal.write([prediction()])
        for _ in range(500):
            if world.store.predictions.count() == expected:
                break
            threading.Event().wait(0.01)
        assert world.store.predictions.count() == expected
    stop.set()
    thread.join(10)
    assert not thread.is_alive()
