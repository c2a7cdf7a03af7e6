"""What goes into one transaction shrinks where transactions last, and grows again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.journal import prediction

from relevo.recording.batch_size import AdaptiveBatchSize
from relevo.recording.journal import Journal
from relevo.recording.reader import JournalReader
from relevo.recording.shipper import Shipper

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from relevo.domain.prediction import PredictionRecord


def test_long_transactions_make_the_next_ones_small() -> None:
    """A second or so of seconds-long transactions, and no later one holds others up for long."""
    portion = AdaptiveBatchSize()
    for _ in range(5):
        portion.took(3.0)
    assert portion.rows == 100
    portion.took(0.2)
    assert portion.rows == 100, "what is neither long nor a moment changes nothing"


def test_quick_transactions_grow_to_a_bound() -> None:
    """Where the store is quick, the fixed price of a transaction is shared by many rows, and never by more than memory likes."""
    portion = AdaptiveBatchSize()
    for _ in range(20):
        portion.took(0.01)
    assert portion.rows == 2500


class _SlowLedger:
    """A store of which each transaction takes a second by the clock it is given."""

    def __init__(self) -> None:
        self.now = 0.0
        self.sizes: list[int] = []

    def ship(self, _file: str, _up_to: int, some: Sequence[PredictionRecord], /) -> int:
        self.now += 1.0
        self.sizes.append(len(some))
        return len(some)

    def positions(self) -> dict[str, int]:
        return {}

    def forget(self, _file: str, /) -> None:
        return

    def missing(self, _some: Sequence[PredictionRecord], /) -> int:
        return 0


def test_the_loop_ships_less_at_once_to_a_slow_store(tmp_path: Path) -> None:
    """Everything arrives, in ever smaller transactions."""
    journal = Journal(tmp_path / "spool" / "w1")
    for _ in range(300):
        journal.write([prediction() for _ in range(10)])
    ledger = _SlowLedger()
    assert Shipper(JournalReader(tmp_path / "spool"), ledger, monotonic=lambda: ledger.now).ship() == 3000
    journal.close()
    assert ledger.sizes[0] > 4 * ledger.sizes[-2]
    assert sum(ledger.sizes) == 3000
