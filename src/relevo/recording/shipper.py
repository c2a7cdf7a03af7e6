"""Ships journals to the database: each prediction exactly once, whichever process is killed at any time.

    files ─ read(after position) ─► sink.ship(rows and new position in one transaction) ─ all shipped and finished?
                                        ▲                                                        │
                                        └─ some missing ─ all rows read back from the database ◄─┘ ─ complete ─► file removed

If killed between the commit and the removal, the next shipper finds the position and removes the file. If the position is lost
with its database, rows are inserted again, and their ids prevent duplicates. A restored backup may lack rows whose journal was
shipped but not removed: they are found missing before the journal is removed, and shipped again.

Other writers of the database wait for the end of a transaction, so AdaptiveBatchSize limits its duration: on a busy machine or a
slow disk, a user who moves an alias or adds a user would be told that the database does not answer.

    transaction slow ─► half the rows        fast ─► twice the rows, up to the size beyond which nothing is gained
"""

from __future__ import annotations

import logging
import sqlite3
import time
from typing import TYPE_CHECKING, Protocol

import msgspec

from relevo.errors import DatabaseUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from relevo.domain.prediction import PredictionRecord
    from relevo.recording.reader import Batch, JournalFile, JournalReader

log = logging.getLogger(__name__)

#: Limits of one transaction, in predictions.
_MAX_ROWS = 2500
_MIN_ROWS = 100
#: Durations of a transaction, in seconds, above which it shrinks and below which it grows.
_SLOW_S = 0.25
_FAST_S = 0.1


class AdaptiveBatchSize:
    """The size of the next transaction. Lifetime: the shipper."""

    def __init__(self) -> None:
        #: Number of predictions, approximately: a worker's batch is never split.
        self.rows = _MAX_ROWS // 4

    def record(self, seconds: float) -> None:
        """Adapt the size to the duration of the last transaction, including the files written before it."""
        if seconds > _SLOW_S:
            self.rows = max(self.rows // 2, _MIN_ROWS)
        elif seconds < _FAST_S:
            self.rows = min(self.rows * 2, _MAX_ROWS)


class PredictionSink(Protocol):
    """The store of predictions as the shipper uses it: the real one, or the in-memory one of a test."""

    def insert_from_journal(self, file: str, up_to: int, predictions: Sequence[PredictionRecord], /) -> int:
        """Insert the rows and store the position, in one transaction."""

    def positions(self) -> dict[str, int]:
        """Number of the last shipped batch, by file."""

    def forget_file(self, file: str, /) -> None:
        """Delete the position of a removed file."""

    def missing(self, predictions: Sequence[PredictionRecord], /) -> int:
        """Number of these rows that are not stored, not counting those whose subject was erased."""


class Shipper:
    """Ships all journals of one folder. Lifetime: the background process."""

    def __init__(
        self,
        reader: JournalReader,
        sink: PredictionSink,
        *,
        before_each: Callable[[], None] = lambda: None,
        should_wait: Callable[[], bool] = lambda: False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """before_each: called before each transaction and before a file is removed; may raise DatabaseUnavailableError.

        should_wait: whether shipping waits for the end of a load peak.
        """
        self._reader = reader
        self._sink = sink
        self._before_batch = before_each
        self._should_wait = should_wait
        self._monotonic = monotonic
        self._batch_size = AdaptiveBatchSize()
        self._positions: dict[str, int] | None = None

    def ship(self, *, to_the_end: bool = False) -> int:
        """Ship everything committed so far; returns the number of predictions. Raises DatabaseUnavailableError; nothing is lost then.

        to_the_end: do not wait for the end of a load peak.
        """
        try:
            return self._ship(to_the_end=to_the_end)
        except DatabaseUnavailableError:
            # The database that comes back may be a backup with older positions.
            self._positions = None
            raise

    def reload_positions(self) -> None:
        """Read the positions again from the database: it is another one, or an older copy."""
        self._positions = None

    def _ship(self, *, to_the_end: bool) -> int:
        if self._positions is None:
            self._positions = self._sink.positions()
            self._forget_removed(self._positions)
        shipped = sum(self._ship_file(file, self._positions, to_the_end=to_the_end) for file in self._reader.files())
        self._reader.remove_empty_folders()
        return shipped

    def _ship_batches(self, file: JournalFile, batches: Sequence[Batch]) -> int:
        rows = [prediction for batch in batches for prediction in batch.predictions]
        start = self._monotonic()
        self._sink.insert_from_journal(file.name, batches[-1].number, rows)
        self._batch_size.record(self._monotonic() - start)
        return len(rows)

    def _forget_removed(self, positions: dict[str, int]) -> None:
        present = {file.name for file in self._reader.files()}
        # Race: killed after a file was removed and before its position was deleted.
        for name in [name for name in positions if name not in present]:
            self._sink.forget_file(name)
            del positions[name]

    def _is_complete(self, file: JournalFile) -> bool:
        """Whether the database has every row of the file, read back from it; missing rows are shipped again."""
        after = 0
        while batches := self._reader.read(file, after=after):
            self._before_batch()
            rows = [prediction for batch in batches for prediction in batch.predictions]
            missing = self._sink.missing(rows)
            if missing:
                facts = {"action": "journal_again", "rows": missing}
                log.warning("the database lacks %d rows of journal %s; they are shipped again", missing, file.name, extra=facts)
                self._sink.insert_from_journal(file.name, batches[-1].number, rows)
                if self._sink.missing(rows):
                    return False
            after = batches[-1].number
        # Check once more: a database that was damaged meanwhile may have answered from its cache.
        self._before_batch()
        return True

    def _ship_file(self, file: JournalFile, positions: dict[str, int], *, to_the_end: bool) -> int:
        shipped = 0
        try:
            while to_the_end or not self._should_wait():
                batches = self._reader.read(file, after=positions.get(file.name, 0), limit_rows=self._batch_size.rows)
                if not batches:
                    break
                self._before_batch()
                shipped += self._ship_batches(file, batches)
                positions[file.name] = batches[-1].number
            else:
                return shipped
        except sqlite3.OperationalError as cause:
            # Temporary: a file that cannot be opened or read at the moment stays, and is retried.
            log.warning("journal %s cannot be read yet: %s", file.name, cause, extra={"action": "journal_waits"})
            return shipped
        except (sqlite3.DatabaseError, msgspec.MsgspecError) as cause:
            damaged = self._reader.quarantine(file)
            log.error(  # noqa: TRY400 - the file is kept for inspection; a traceback would not help
                "journal unreadable, kept as %s: %s", damaged.name, cause, extra={"action": "journal_damaged"}
            )
            return shipped
        if file.finished and self._is_complete(file):
            self._reader.remove(file)
            if positions.pop(file.name, None) is not None:
                self._sink.forget_file(file.name)
        return shipped
