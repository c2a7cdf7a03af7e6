"""Waiting room of one lane: what waits when the model is free leaves together.

    submit ─► [Ticket, Ticket, …] ─ cut ─► work(rows) ─► settle each ticket

No timer: the batch is what arrived in one turn of the event loop, or while the model was busy. A ticket owns its future, so
there is no side table of who waits for what. `work` runs on the event loop while it is cheap (a thread hop costs more than a
small model) and on the lane's own thread when it is dear (a slow model must never hold a health check).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from relevo.errors import Draining, ModelFailed, Overloaded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Row = TypeVar("Row")
Result = TypeVar("Result")

#: Seconds a batch may take on the event loop; what is expected to take longer goes to the lane's thread.
CHEAP_S = 0.004
#: Weight of the newest measurement in the running mean of a row's cost.
_FRESH = 0.1


@dataclass(slots=True, kw_only=True, eq=False)
class Ticket(Generic[Row, Result]):
    """One caller's rows; lives from submit to settle."""

    rows: Sequence[Row]
    answer: asyncio.Future[list[Result]]
    #: Its batch failed the model; it is asked once more without neighbours.
    alone: bool = False


class Batcher(Generic[Row, Result]):
    """Collects tickets and hands them to `work` in batches; lives as long as its lane."""

    def __init__(
        self,
        work: Callable[[list[Row]], list[Result]],
        *,
        max_rows: int,
        max_waiting: int,
        always_aside: bool = False,
        failed: Callable[[list[Row], ModelFailed], None] = lambda _rows, _cause: None,
        monotonic: Callable[[], float] = time.perf_counter,
    ) -> None:
        """work: rows in, as many results out, in order; may raise, and then fails exactly its batch.

        After ModelFailed each caller of the batch is asked once more alone, so that one caller's input fails nobody else.
        max_rows: rows in one batch (one ticket may be larger). max_waiting: rows that may wait.
        always_aside: never run `work` on the event loop. failed: told, where `work` runs, of rows that the model failed for good.
        """
        self._work = work
        self._max_rows = max_rows
        self._max_waiting = max_waiting
        self._always_aside = always_aside
        self._failed = failed
        self._monotonic = monotonic
        self._waiting: deque[Ticket[Row, Result]] = deque()
        self._rows_waiting = 0
        self._row_cost_s = 0.0
        self._scheduled = False
        self._busy = False
        self._closed = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._thread: ThreadPoolExecutor | None = None

    @property
    def rows_waiting(self) -> int:
        """Rows that have not reached the model yet."""
        return self._rows_waiting

    def expect(self, row_cost_s: float) -> None:
        """Set the expected cost of a row, as measured by the warm-up."""
        self._row_cost_s = row_cost_s

    def is_dear(self, rows: int) -> bool:
        """Whether so many rows would run on the lane's thread."""
        return self._always_aside or self._row_cost_s * rows > CHEAP_S

    def submit(self, rows: Sequence[Row]) -> asyncio.Future[list[Result]]:
        """Queue one caller's rows. Raises Overloaded at the bound and Draining after close."""
        if self._closed:
            raise Draining
        if self._rows_waiting + len(rows) > self._max_waiting and self._waiting:
            raise Overloaded(limit=self._max_waiting)
        loop = asyncio.get_running_loop()
        ticket = Ticket(rows=rows, answer=loop.create_future())
        self._waiting.append(ticket)
        self._rows_waiting += len(rows)
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

    def _cut(self) -> None:
        self._scheduled = False
        batch = self._next_batch()
        if not batch:
            self._idle.set()
            return
        rows = [row for ticket in batch for row in ticket.rows]
        if self.is_dear(len(rows)):
            self._busy = True
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

    def _came_back(self, batch: list[Ticket[Row, Result]], done: asyncio.Future[list[Result]]) -> None:
        self._busy = False
        cause = ModelFailed() if done.cancelled() else done.exception()
        if cause is not None:
            self._fail(batch, cause)
        else:
            _settle(batch, done.result())
        self._go_on()

    def _fail(self, batch: list[Ticket[Row, Result]], cause: BaseException) -> None:
        if isinstance(cause, ModelFailed) and len(batch) > 1:
            for ticket in reversed(batch):
                ticket.alone = True
                self._waiting.appendleft(ticket)
                self._rows_waiting += len(ticket.rows)
            return
        for ticket in batch:
            if not ticket.answer.done():
                ticket.answer.set_exception(cause)

    def _go_on(self) -> None:
        if self._waiting:
            if not self._scheduled:
                self._scheduled = True
                asyncio.get_running_loop().call_soon(self._cut)
        else:
            self._idle.set()

    def _next_batch(self) -> list[Ticket[Row, Result]]:
        batch: list[Ticket[Row, Result]] = []
        taken = 0
        while self._waiting and (not batch or self._joins(self._waiting[0], batch, taken)):
            ticket = self._waiting.popleft()
            self._rows_waiting -= len(ticket.rows)
            # A caller who hung up before the cut never reaches the model.
            if not ticket.answer.done():
                batch.append(ticket)
                taken += len(ticket.rows)
        return batch

    def _joins(self, ticket: Ticket[Row, Result], batch: list[Ticket[Row, Result]], taken: int) -> bool:
        return taken + len(ticket.rows) <= self._max_rows and not ticket.alone and not batch[-1].alone

    def _timed(self, rows: list[Row], callers: int) -> list[Result]:
        begin = self._monotonic()
        try:
            results = self._work(rows)
        except ModelFailed as cause:
            if callers == 1:
                self._failed(rows, cause)
            raise
        spent = (self._monotonic() - begin) / len(rows)
        # One slow batch is the machine's doing (another process had the core), many in a row are the model's.
        believed = min(spent, 2 * self._row_cost_s) if self._row_cost_s else spent
        self._row_cost_s += _FRESH * (believed - self._row_cost_s)
        if len(results) != len(rows):
            raise ModelFailed
        return results

    def _own_thread(self) -> ThreadPoolExecutor:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lane")
        return self._thread


def _settle(batch: list[Ticket[Row, Result]], results: list[Result]) -> None:
    start = 0
    for ticket in batch:
        stop = start + len(ticket.rows)
        # Race: hung up while the model ran; set_result would raise and strand the rest.
        if not ticket.answer.done():
            ticket.answer.set_result(results[start:stop])
        start = stop
