"""Dynamic batching for one model version: rows that arrive while the model is busy form the next batch.

    submit ─ too long? ─► rejected, with the seconds after which to retry
           └► FairQueue ─ dispatch: rows for half a second ─► run_batch(rows) ─► resolve each part

There is no timer: a batch is what arrived in one iteration of the event loop, or while the model was busy. A request owns its
future, so there is no side table of who waits for what. `run_batch` runs on the event loop while it is cheap (a thread hop costs
more than a small model) and on the version's own thread when it is expensive (a slow model must never delay a health check).

The cost of a row is measured on every run. A run of a slow model takes few rows, one if necessary, so that a large request does
not delay small ones. An accepted request is answered or rejected within twice the maximum expected wait plus one run.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Generic

from relevo.errors import BatchTooLongError, ModelError, OverloadedError, QueueTooLongError, ShuttingDownError
from relevo.serve.fair_queue import FairQueue, PendingRequest, RequestPart, Result, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: Seconds a batch may take on the event loop; a batch expected to take longer runs on the version's thread.
INLINE_BUDGET_S = 0.004
#: Weight of the newest measurement in the running mean of a row's cost.
_NEWEST_WEIGHT = 0.1
#: Seconds of work in one run. A larger value delays other requests; a smaller one would hide what a larger batch saves.
RUN_S = 0.5
#: Runs whose median is the current cost of a row: two of them may be outliers caused by the machine.
_RECENT_RUNS = 5


class Batcher(Generic[Row, Result]):
    """Collects requests and passes their rows to `run_batch`. Lifetime: the loaded version."""

    def __init__(
        self,
        run_batch: Callable[[list[Row]], list[Result]],
        *,
        max_batch_size: int,
        max_waiting: int,
        max_wait_s: float = math.inf,
        always_in_thread: bool = False,
        on_failure: Callable[[list[Row], ModelError], None] = lambda _rows, _cause: None,
        monotonic: Callable[[], float] = time.perf_counter,
    ) -> None:
        """run_batch: rows in, as many results out, in order; an exception fails exactly its batch.

        After ModelError each request of the batch is retried alone, so that the input of one caller fails no other request.
        max_batch_size: rows in one batch (a single request may have more). max_waiting: rows that may wait. max_wait_s: maximum
        expected seconds until a new request is answered. always_in_thread: never run `run_batch` on the event loop.
        on_failure: called in the thread of `run_batch` with the rows for which the model failed finally.
        """
        self._run_batch = run_batch
        self._max_batch_size = max_batch_size
        self._max_waiting = max_waiting
        self._always_in_thread = always_in_thread
        self._on_failure = on_failure
        self._monotonic = monotonic
        self._max_wait_s = max_wait_s
        self._queue: FairQueue[Row, Result] = FairQueue()
        self._rows_running = 0
        self._mean_row_s = 0.0
        self._recent_row_s: deque[float] = deque(maxlen=_RECENT_RUNS)
        self._median_row_s = 0.0
        self._scheduled = False
        self._busy = False
        self._closed = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._thread: ThreadPoolExecutor | None = None

    @property
    def rows_waiting(self) -> int:
        """Rows that wait for the model."""
        return self._queue.rows

    def set_row_cost(self, row_cost_s: float) -> None:
        """Set the expected cost of a row in seconds, as measured by the warm-up."""
        self._mean_row_s = self._median_row_s = row_cost_s
        self._recent_row_s.extend([row_cost_s] * (_RECENT_RUNS // 2 + 1))

    def expected_wait_s(self, rows: int = 0) -> float:
        """Expected seconds until this many more rows would be answered, by the cost of the last runs."""
        return (self._queue.rows + self._rows_running + rows) * self._median_row_s

    def runs_in_thread(self, rows: int) -> bool:
        """Whether a batch of this many rows would run on the version's thread."""
        return self._always_in_thread or self._mean_row_s * rows > INLINE_BUDGET_S

    def submit(self, rows: Sequence[Row], caller: str = "") -> asyncio.Future[list[Result]]:
        """Queue the rows of one request. caller: identity for fair queueing.

        Raises BatchTooLongError, OverloadedError or QueueTooLongError at the limits, and ShuttingDownError after close.
        """
        if self._closed:
            raise ShuttingDownError
        if not self._fits(len(rows)):
            self._make_room(caller, len(rows))
        loop = asyncio.get_running_loop()
        request: PendingRequest[Row, Result] = PendingRequest(rows, loop.create_future(), caller, self._monotonic())
        self._queue.put(request)
        self._idle.clear()
        if not self._scheduled and not self._busy:
            self._scheduled = True
            # One iteration later: requests that the sockets already hold have then been read and join the batch.
            loop.call_soon(loop.call_soon, self._dispatch)
        return request.future

    async def close(self) -> None:
        """Accept no more requests, finish the accepted ones, release the thread."""
        self._closed = True
        await self._idle.wait()
        if self._thread is not None:
            self._thread.shutdown(wait=False)

    def _fits(self, rows: int) -> bool:
        waiting = self._queue.rows + rows
        return waiting <= self._max_waiting and (waiting + self._rows_running) * self._median_row_s <= self._max_wait_s

    def _make_room(self, caller: str, rows: int) -> None:
        """Accept rows beyond a limit if the queue is empty, or displace callers with more rows waiting. Raises as `submit`."""
        if rows > 1 and rows * self._median_row_s > self._max_wait_s:
            raise BatchTooLongError(
                rows=rows, seconds=math.ceil(rows * self._median_row_s), limit=max(1, int(self._max_wait_s / self._median_row_s))
            )
        self._queue.drop_done()
        while self._queue and not self._fits(rows):
            displaced = self._queue.displaced_by(caller, rows)
            if displaced is None:
                raise self._overload_error()
            displaced.future.set_exception(self._overload_error())

    def _overload_error(self) -> OverloadedError:
        wait_s = self.expected_wait_s()
        if self._max_wait_s < math.inf and wait_s > 1.0:
            return QueueTooLongError(seconds=math.ceil(wait_s), retry_after=math.ceil(wait_s))
        return OverloadedError(limit=self._max_waiting)

    def _dispatch(self) -> None:
        self._scheduled = False
        batch = self._next_batch()
        if not batch:
            self._idle.set()
            return
        rows = [row for part in batch for row in part.request.rows[part.start : part.stop]]
        if self.runs_in_thread(len(rows)):
            self._busy = True
            self._rows_running = len(rows)
            future = asyncio.get_running_loop().run_in_executor(self._batch_thread(), self._run_timed, rows, len(batch))
            future.add_done_callback(lambda finished: self._on_batch_done(batch, finished))
            return
        try:
            results = self._run_timed(rows, len(batch))
        except Exception as cause:  # noqa: BLE001 - any failure belongs to this batch only
            self._fail_batch(batch, cause)
        else:
            _resolve(batch, results)
        self._schedule_next()

    def _on_batch_done(self, batch: list[RequestPart[Row, Result]], finished: asyncio.Future[list[Result]]) -> None:
        self._busy = False
        self._rows_running = 0
        cause = ModelError() if finished.cancelled() else finished.exception()
        if cause is not None:
            self._fail_batch(batch, cause)
        else:
            _resolve(batch, finished.result())
        self._schedule_next()

    def _fail_batch(self, batch: list[RequestPart[Row, Result]], cause: BaseException) -> None:
        if isinstance(cause, ModelError) and len(batch) > 1:
            for part in reversed(batch):
                part.request.isolate = True
                self._queue.requeue(part)
            return
        for part in batch:
            if (
                isinstance(cause, ModelError)
                and isinstance(row := cause.facts.pop("row", None), int)
                and len(part.request.rows) > 1
            ):
                # Relative to the caller's rows, of which this run may have taken a part.
                cause.facts["row"] = part.start + row
            if not part.request.future.done():
                part.request.future.set_exception(cause)

    def _schedule_next(self) -> None:
        if self._queue:
            if not self._scheduled:
                self._scheduled = True
                asyncio.get_running_loop().call_soon(self._dispatch)
        else:
            self._idle.set()

    def _next_batch(self) -> list[RequestPart[Row, Result]]:
        now = self._monotonic()
        if self._max_wait_s < math.inf:
            # The model has become slower since these requests were accepted.
            for request in self._queue.submitted_before(now - 2 * self._max_wait_s):
                request.future.set_exception(self._overload_error())
        max_rows = math.ceil(RUN_S / self._median_row_s) if self._median_row_s else self._max_waiting
        return self._queue.take(max_rows, self._max_batch_size, overdue_before=now - self._max_wait_s / 2)

    def _run_timed(self, rows: list[Row], callers: int) -> list[Result]:
        start = self._monotonic()
        try:
            results = self._run_batch(rows)
        except ModelError as cause:
            if callers == 1:
                self._on_failure(rows, cause)
            raise
        row_s = (self._monotonic() - start) / len(rows)
        # One slow batch may be caused by the machine (another process had the core); many in a row are caused by the model.
        capped = min(row_s, 2 * self._mean_row_s) if self._mean_row_s else row_s
        self._mean_row_s += _NEWEST_WEIGHT * (capped - self._mean_row_s)
        self._recent_row_s.append(row_s)
        self._median_row_s = sorted(self._recent_row_s)[len(self._recent_row_s) // 2]
        if len(results) != len(rows):
            raise ModelError
        return results

    def _batch_thread(self) -> ThreadPoolExecutor:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")
        return self._thread


def _resolve(batch: list[RequestPart[Row, Result]], results: list[Result]) -> None:
    start = 0
    for part in batch:
        stop = start + part.stop - part.start
        part.resolve(results[start:stop])
        start = stop
