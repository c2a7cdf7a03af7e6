"""Waiting room of one lane: what waits when the model is free leaves together, as much as there is time for.

    submit ─ too long? ─► refused, with the time until it is worth trying again
           └► FairQueue ─ cut: rows for half a second ─► work(rows) ─► settle each part

No timer: the batch is what arrived in one turn of the event loop, or while the model was busy. A ticket owns its future, so
there is no side table of who waits for what. `work` runs on the event loop while it is cheap (a thread hop costs more than a
small model) and on the lane's own thread when it is dear (a slow model must never hold a health check).

Time is measured by the row, all the time. A run of a slow model has few rows, one if need be, so nobody waits for a neighbour's
many; whoever is taken is answered or refused within twice the longest expected wait and one run.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Generic

from relevo.errors import BatchTooLongError, ModelError, OverloadedError, QueueTooLongError, ShuttingDownError
from relevo.serve.fair_queue import FairQueue, Part, Result, Row, Ticket

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: Seconds a batch may take on the event loop; what is expected to take longer goes to the lane's thread.
INLINE_BUDGET_S = 0.004
#: Weight of the newest measurement in the running mean of a row's cost.
_FRESH = 0.1


#: Seconds a run is given rows for. More makes others wait; less would leave unseen what a larger batch saves.
RUN_S = 0.5
#: Runs whose middle is taken for what a row costs now: two of them may have been the machine's doing.
_RECENT = 5


class Batcher(Generic[Row, Result]):
    """Collects tickets and hands them to `work` in batches; lives as long as its lane."""

    def __init__(
        self,
        work: Callable[[list[Row]], list[Result]],
        *,
        max_batch_size: int,
        max_waiting: int,
        max_wait_s: float = math.inf,
        always_aside: bool = False,
        failed: Callable[[list[Row], ModelError], None] = lambda _rows, _cause: None,
        monotonic: Callable[[], float] = time.perf_counter,
    ) -> None:
        """work: rows in, as many results out, in order; may raise, and then fails exactly its batch.

        After ModelError each caller of the batch is asked once more alone, so that one caller's input fails nobody else.
        max_batch_size: rows in one batch (one ticket may be larger). max_waiting: rows that may wait. max_wait_s:
        seconds that a new
        one's answer may be expected to take.
        always_aside: never run `work` on the event loop. failed: told, where `work` runs, of rows that the model failed for good.
        """
        self._work = work
        self._max_batch_size = max_batch_size
        self._max_waiting = max_waiting
        self._always_aside = always_aside
        self._failed = failed
        self._monotonic = monotonic
        self._max_wait_s = max_wait_s
        self._queue: FairQueue[Row, Result] = FairQueue()
        self._rows_running = 0
        self._row_cost_s = 0.0
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self._row_s = 0.0  # the middle of them
        self._scheduled = False
        self._busy = False
        self._closed = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._thread: ThreadPoolExecutor | None = None

    @property
    def rows_waiting(self) -> int:
        """Rows that have not reached the model yet."""
        return self._queue.rows

    def expect(self, row_cost_s: float) -> None:
        """Set the expected cost of a row, as measured by the warm-up."""
        self._row_cost_s = self._row_s = row_cost_s
        self._recent.extend([row_cost_s] * (_RECENT // 2 + 1))

    def expected_wait_s(self, rows: int = 0) -> float:
        """Seconds until so many more rows would be answered, as far as the last runs tell."""
        return (self._queue.rows + self._rows_running + rows) * self._row_s

    def is_dear(self, rows: int) -> bool:
        """Whether so many rows would run on the lane's thread."""
        return self._always_aside or self._row_cost_s * rows > INLINE_BUDGET_S

    def submit(self, rows: Sequence[Row], caller: str = "") -> asyncio.Future[list[Result]]:
        """Queue one caller's rows. caller: whose turn they take.

        Raises BatchTooLongError, OverloadedError or QueueTooLongError at the bounds, and ShuttingDownError after close.
        """
        if self._closed:
            raise ShuttingDownError
        if not self._fits(len(rows)):
            self._make_room(caller, len(rows))
        loop = asyncio.get_running_loop()
        ticket: Ticket[Row, Result] = Ticket(rows, loop.create_future(), caller, self._monotonic())
        self._queue.put(ticket)
        self._idle.clear()
        if not self._scheduled and not self._busy:
            self._scheduled = True
            # One turn later: whatever the sockets hold now has then been read and is in the batch.
            loop.call_soon(loop.call_soon, self._cut)
        return ticket.answer

    async def close(self) -> None:
        """Take nothing more, end what was taken, give the thread back."""
        self._closed = True
        await self._idle.wait()
        if self._thread is not None:
            self._thread.shutdown(wait=False)

    def _fits(self, rows: int) -> bool:
        waiting = self._queue.rows + rows
        return waiting <= self._max_waiting and (waiting + self._rows_running) * self._row_s <= self._max_wait_s

    def _make_room(self, caller: str, rows: int) -> None:
        """Let rows in beyond a bound where nobody waits, or in the place of those who have more waiting. Raises as `submit`."""
        if rows > 1 and rows * self._row_s > self._max_wait_s:
            raise BatchTooLongError(
                rows=rows, seconds=math.ceil(rows * self._row_s), limit=max(1, int(self._max_wait_s / self._row_s))
            )
        self._queue.sweep()
        while self._queue and not self._fits(rows):
            displaced = self._queue.displaced_by(caller, rows)
            if displaced is None:
                raise self._refusal()
            displaced.answer.set_exception(self._refusal())

    def _refusal(self) -> OverloadedError:
        wait_s = self.expected_wait_s()
        if self._max_wait_s < math.inf and wait_s > 1.0:
            return QueueTooLongError(seconds=math.ceil(wait_s), retry_after=math.ceil(wait_s))
        return OverloadedError(limit=self._max_waiting)

    def _cut(self) -> None:
        self._scheduled = False
        batch = self._next_batch()
        if not batch:
            self._idle.set()
            return
        rows = [row for part in batch for row in part.ticket.rows[part.start : part.stop]]
        if self.is_dear(len(rows)):
            self._busy = True
            self._rows_running = len(rows)
            future = asyncio.get_running_loop().run_in_executor(self._own_thread(), self._timed, rows, len(batch))
            future.add_done_callback(lambda done: self._came_back(batch, done))
            return
        try:
            results = self._timed(rows, len(batch))
        except Exception as cause:  # noqa: BLE001 - whatever it was, it is the batch's and nobody else's
            self._fail(batch, cause)
        else:
            _settle(batch, results)
        self._go_on()

    def _came_back(self, batch: list[Part[Row, Result]], done: asyncio.Future[list[Result]]) -> None:
        self._busy = False
        self._rows_running = 0
        cause = ModelError() if done.cancelled() else done.exception()
        if cause is not None:
            self._fail(batch, cause)
        else:
            _settle(batch, done.result())
        self._go_on()

    def _fail(self, batch: list[Part[Row, Result]], cause: BaseException) -> None:
        if isinstance(cause, ModelError) and len(batch) > 1:
            for part in reversed(batch):
                part.ticket.alone = True
                self._queue.put_back(part)
            return
        for part in batch:
            if isinstance(cause, ModelError) and isinstance(row := cause.facts.pop("row", None), int) and len(part.ticket.rows) > 1:
                # By its place in what the caller sent, of which a run may have taken a part.
                cause.facts["row"] = part.start + row
            if not part.ticket.answer.done():
                part.ticket.answer.set_exception(cause)

    def _go_on(self) -> None:
        if self._queue:
            if not self._scheduled:
                self._scheduled = True
                asyncio.get_running_loop().call_soon(self._cut)
        else:
            self._idle.set()

    def _next_batch(self) -> list[Part[Row, Result]]:
        now = self._monotonic()
        if self._max_wait_s < math.inf:
            # The model has become slower than it was when they were taken.
            for ticket in self._queue.waiting(since=now - 2 * self._max_wait_s):
                ticket.answer.set_exception(self._refusal())
        in_time = math.ceil(RUN_S / self._row_s) if self._row_s else self._max_waiting
        return self._queue.take(in_time, self._max_batch_size, older_than=now - self._max_wait_s / 2)

    def _timed(self, rows: list[Row], callers: int) -> list[Result]:
        begin = self._monotonic()
        try:
            results = self._work(rows)
        except ModelError as cause:
            if callers == 1:
                self._failed(rows, cause)
            raise
        spent = (self._monotonic() - begin) / len(rows)
        # One slow batch is the machine's doing (another process had the core), many in a row are the model's.
        believed = min(spent, 2 * self._row_cost_s) if self._row_cost_s else spent
        self._row_cost_s += _FRESH * (believed - self._row_cost_s)
        self._recent.append(spent)
        self._row_s = sorted(self._recent)[len(self._recent) // 2]
        if len(results) != len(rows):
            raise ModelError
        return results

    def _own_thread(self) -> ThreadPoolExecutor:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lane")
        return self._thread


def _settle(batch: list[Part[Row, Result]], results: list[Result]) -> None:
    begin = 0
    for part in batch:
        end = begin + part.stop - part.start
        part.settle(results[begin:end])
        begin = end
