"""From the journals to the store: each prediction once, whatever is killed and whenever.

    files ─ read(after position) ─► store.ship(rows and new position in one transaction) ─ all shipped and finished?
                                        ▲                                                        │
                                        └─ some missing ── every row read back from the database ◄┘ ─ all there ─► file removed

Killed between the commit and the removal, the next shipper finds the position and removes the file. The position lost with its
database, rows are inserted again and their ids make them one. A backup put in the database's place may lack rows whose
journal was shipped but not removed: they are found missing when the journal would be removed, and shipped again.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from typing import TYPE_CHECKING, Protocol

import msgspec

from relevo.errors import DatabaseUnavailableError
from relevo.recording.batch_size import AdaptiveBatchSize

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from relevo.domain.prediction import PredictionRecord
    from relevo.recording.reader import Batch, JournalFile, JournalReader

log = logging.getLogger(__name__)


class PredictionSink(Protocol):
    """What shipping asks of the history: the real one, or that of a test in memory."""

    def ship(self, file: str, up_to: int, some: Sequence[PredictionRecord], /) -> int:
        """Insert and remember the position, in one transaction."""

    def positions(self) -> dict[str, int]:
        """Number of the last shipped batch, by file."""

    def forget(self, file: str, /) -> None:
        """Drop the position of a removed file."""

    def missing(self, some: Sequence[PredictionRecord], /) -> int:
        """How many of these are not there, those whose subject was erased excepted."""


class Shipper:
    """Ships all journals of one spool; lives as long as the loop."""

    def __init__(
        self,
        reader: JournalReader,
        ledger: PredictionSink,
        *,
        before_each: Callable[[], None] = lambda: None,
        rests: Callable[[], bool] = lambda: False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """before_each: called before each transaction and before a file is removed; may raise DatabaseUnavailableError.

        rests: whether a peak is let pass before any more is shipped.
        """
        self._reader = reader
        self._ledger = ledger
        self._before_each = before_each
        self._rests = rests
        self._monotonic = monotonic
        self._portion = AdaptiveBatchSize()
        self._positions: dict[str, int] | None = None

    def ship(self, *, to_the_end: bool = False) -> int:
        """Ship what is there now; gives the number of predictions shipped. Raises DatabaseUnavailableError, and then nothing is lost.

        to_the_end: without a rest.
        """
        try:
            return self._ship(to_the_end=to_the_end)
        except DatabaseUnavailableError:
            # What comes back may be a backup, which was read less far.
            self._positions = None
            raise

    def begin_again(self) -> None:
        """Ask the database anew how far each file was shipped: it is another one, or an older state of it."""
        self._positions = None

    def _ship(self, *, to_the_end: bool) -> int:
        if self._positions is None:
            self._positions = self._ledger.positions()
            self._forget_removed(self._positions)
        shipped = sum(self._ship_file(file, self._positions, to_the_end=to_the_end) for file in self._reader.files())
        self._reader.sweep()
        return shipped

    def _ship_batches(self, file: JournalFile, batches: Sequence[Batch]) -> int:
        rows = [prediction for batch in batches for prediction in batch.predictions]
        begin = self._monotonic()
        self._ledger.ship(file.name, batches[-1].number, rows)
        self._portion.took(self._monotonic() - begin)
        return len(rows)

    def _forget_removed(self, positions: dict[str, int]) -> None:
        present = {file.name for file in self._reader.files()}
        # Race: killed after a file was removed and before its position was forgotten.
        for name in [name for name in positions if name not in present]:
            self._ledger.forget(name)
            del positions[name]

    def _is_kept(self, file: JournalFile) -> bool:
        """Whether the database has every row of the file, read back from it; what it lacks is shipped again."""
        after = 0
        while batches := self._reader.read(file, after=after):
            self._before_each()
            rows = [prediction for batch in batches for prediction in batch.predictions]
            lacking = self._ledger.missing(rows)
            if lacking:
                facts = {"action": "journal_again", "rows": lacking}
                log.warning("the database lacks %d rows of journal %s; they are shipped again", lacking, file.name, extra=facts)
                self._ledger.ship(file.name, batches[-1].number, rows)
                if self._ledger.missing(rows):
                    return False
            after = batches[-1].number
        # Once more: a database that was damaged meanwhile has perhaps answered from memory.
        self._before_each()
        return True

    def _ship_file(self, file: JournalFile, positions: dict[str, int], *, to_the_end: bool) -> int:
        shipped = 0
        try:
            while to_the_end or not self._rests():
                batches = self._reader.read(file, after=positions.get(file.name, 0), limit_rows=self._portion.rows)
                if not batches:
                    break
                self._before_each()
                shipped += self._ship_batches(file, batches)
                positions[file.name] = batches[-1].number
            else:
                return shipped
        except sqlite3.OperationalError as cause:
            # Not now is not never: a file that cannot be opened or read at the moment stays, and is tried again.
            log.warning("journal %s cannot be read yet: %s", file.name, cause, extra={"action": "journal_waits"})
            return shipped
        except (sqlite3.DatabaseError, msgspec.MsgspecError) as cause:
            aside = self._reader.set_aside(file)
            log.error(  # noqa: TRY400 - the file is kept for a person; a trace would not help
                "journal unreadable, kept as %s: %s", aside.name, cause, extra={"action": "journal_damaged"}
            )
            return shipped
        if file.finished and self._is_kept(file):
            self._reader.remove(file)
            if positions.pop(file.name, None) is not None:
                self._ledger.forget(file.name)
        return shipped
