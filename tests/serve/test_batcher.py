"""Dynamic batching: requests that wait together form one batch, and a failing or cancelled request affects no other."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.errors import BatchTooLongError, ModelError, OverloadedError, QueueTooLongError, ShuttingDownError
from relevo.serve.batcher import Batcher

Work = Callable[[list[int]], list[int]]
#: Seconds within which every future must have a result.
_SOON = 5.0


def doubled(rows: list[int]) -> list[int]:
    return [2 * row for row in rows]


def make_batcher(work: Work = doubled, **changes: Any) -> Batcher[int, int]:
    return Batcher(work, **{"max_batch_size": 64, "max_waiting": 2000, **changes})


async def gather_results(*answers: asyncio.Future[list[int]]) -> list[Any]:
    """The results, exceptions included; fails if a future is never resolved."""
    async with asyncio.timeout(_SOON):
        return await asyncio.gather(*answers, return_exceptions=True)


class BlockingWork:
    """A batch function that blocks in its thread until the test opens it; records its rows."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.open = threading.Event()
        self.batches: list[list[int]] = []

    def __call__(self, rows: list[int]) -> list[int]:
        """Block until opened, then answer."""
        self.batches.append(rows)
        self.began.set()
        assert self.open.wait(_SOON)
        return doubled(rows)

    async def entered(self) -> None:
        """Wait until a batch is blocked here."""
        assert await asyncio.to_thread(self.began.wait, _SOON)


def test_requests_of_one_loop_iteration_form_one_batch() -> None:
    """Requests of one iteration of the event loop share one run of the model, each with its own rows in order."""
    batches: list[list[int]] = []

    def work(rows: list[int]) -> list[int]:
        batches.append(rows)
        return doubled(rows)

    async def run() -> list[Any]:
        batcher = make_batcher(work)
        return await gather_results(batcher.submit([1, 2]), batcher.submit([3]), batcher.submit([4, 5, 6]))

    assert asyncio.run(run()) == [[2, 4], [6], [8, 10, 12]]
    assert batches == [[1, 2, 3, 4, 5, 6]]


@given(st.lists(st.lists(st.integers(), min_size=1, max_size=9), min_size=1, max_size=20), st.integers(1, 10))
def test_everyone_gets_their_own_rows(requests: list[list[int]], max_batch_size: int) -> None:
    """For any sizes of requests and batches, each request gets exactly its own results, in order of arrival."""
    batches: list[int] = []
    sizes: list[int] = []

    def work(rows: list[int]) -> list[int]:
        batches.extend(rows)
        sizes.append(len(rows))
        return doubled(rows)

    async def run() -> list[Any]:
        batcher = make_batcher(work, max_batch_size=max_batch_size)
        return await gather_results(*[batcher.submit(rows) for rows in requests])

    assert asyncio.run(run()) == [doubled(rows) for rows in requests]
    assert batches == [row for rows in requests for row in rows]
    largest = max(len(rows) for rows in requests)
    assert max(sizes) <= max(max_batch_size, largest)


@pytest.mark.parametrize(("size", "position"), [(size, position) for size in range(1, 9) for position in range(size)])
def test_a_request_cancelled_during_a_run_affects_no_other(size: int, position: int) -> None:
    """A request cancelled at any position of a running batch neither delays nor strands the others."""
    blocking = BlockingWork()

    async def run() -> list[Any]:
        batcher = make_batcher(blocking, always_in_thread=True)
        answers = [batcher.submit([index]) for index in range(size)]
        await blocking.entered()
        answers[position].cancel()
        blocking.open.set()
        return await gather_results(*answers)

    results = asyncio.run(run())
    assert blocking.batches == [list(range(size))]
    assert isinstance(results.pop(position), asyncio.CancelledError)
    assert results == [[2 * index] for index in range(size) if index != position]


@pytest.mark.parametrize(("size", "position"), [(size, position) for size in range(1, 9) for position in range(size)])
def test_a_request_cancelled_while_waiting_never_reaches_the_model(size: int, position: int) -> None:
    """A request cancelled while it waits never reaches the model; the batch has only the other rows."""
    batches: list[int] = []

    def work(rows: list[int]) -> list[int]:
        batches.extend(rows)
        return doubled(rows)

    async def run() -> tuple[list[Any], int]:
        batcher = make_batcher(work)
        answers = [batcher.submit([index]) for index in range(size)]
        answers[position].cancel()
        results = await gather_results(*answers)
        # Newer Pythons gather finished futures without the two iterations of the event loop after which a batch is dispatched.
        for _ in range(3):
            await asyncio.sleep(0)
        return results, batcher.rows_waiting

    results, waiting = asyncio.run(run())
    others = [index for index in range(size) if index != position]
    assert batches == others
    assert isinstance(results.pop(position), asyncio.CancelledError)
    assert results == [[2 * index] for index in others]
    assert waiting == 0


def test_a_batcher_serves_after_all_requests_were_cancelled() -> None:
    """After all waiting requests were cancelled, the next one is served."""

    async def run() -> list[Any]:
        batcher = make_batcher()
        for gone in [batcher.submit([1]), batcher.submit([2])]:
            gone.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return await gather_results(batcher.submit([3]))

    assert asyncio.run(run()) == [[6]]


@pytest.mark.parametrize("in_thread", [False, True])
def test_an_exception_fails_exactly_its_batch(*, in_thread: bool) -> None:
    """If the model raises, every request of that batch gets the error, and those of the next batch are served."""

    def work(rows: list[int]) -> list[int]:
        if 13 in rows:
            raise ValueError("unlucky")
        return doubled(rows)

    async def run() -> list[Any]:
        batcher = make_batcher(work, max_batch_size=2, always_in_thread=in_thread)
        return await gather_results(*[batcher.submit([row]) for row in (1, 2, 13, 4, 5, 6)])

    results = asyncio.run(run())
    assert results[:2] + results[4:] == [[2], [4], [10], [12]]
    assert [str(failure) for failure in results[2:4]] == ["unlucky", "unlucky"]


@pytest.mark.parametrize("in_thread", [False, True])
def test_a_failing_input_fails_only_its_own_request(*, in_thread: bool) -> None:
    """If the model fails on a batch, each request is retried alone, before later ones: only the failing one gets the error."""
    batches: list[list[int]] = []
    blamed: list[list[int]] = []

    def work(rows: list[int]) -> list[int]:
        batches.append(rows)
        if 13 in rows:
            raise ModelError
        return doubled(rows)

    async def run() -> list[Any]:
        batcher = make_batcher(work, max_batch_size=4, always_in_thread=in_thread, on_failure=lambda rows, _: blamed.append(rows))
        answers = [batcher.submit(rows) for rows in ([1], [12, 13], [4], [5], [6])]
        results = await gather_results(*answers)
        await batcher.close()
        assert batcher.rows_waiting == 0
        return results

    results = asyncio.run(run())
    assert [results[0], *results[2:]] == [[2], [8], [10], [12]]
    assert isinstance(results[1], ModelError)
    assert batches == [[1, 12, 13, 4], [1], [12, 13], [4], [5, 6]]
    assert blamed == [[12, 13]]


@pytest.mark.parametrize("in_thread", [False, True])
@pytest.mark.parametrize("lost", [-1, 1])
def test_lost_rows_are_a_failure(lost: int, *, in_thread: bool) -> None:
    """A model that returns fewer or more rows than it received fails its batch: no request gets results of another."""

    def work(rows: list[int]) -> list[int]:
        return [0] * (len(rows) + lost)

    async def run() -> list[Any]:
        batcher = make_batcher(work, always_in_thread=in_thread)
        return await gather_results(batcher.submit([1]), batcher.submit([2, 3]))

    assert [type(result) for result in asyncio.run(run())] == [ModelError, ModelError]


def test_a_full_queue_rejects_until_it_is_empty() -> None:
    """At the limit a request is rejected at once; once the queue is empty, requests are accepted again."""
    blocking = BlockingWork()

    async def run() -> list[Any]:
        batcher = make_batcher(blocking, always_in_thread=True, max_waiting=4)
        first = batcher.submit([0])
        await blocking.entered()
        waiting = batcher.submit([1, 2, 3])
        with pytest.raises(OverloadedError):
            batcher.submit([4, 5])
        fits = batcher.submit([6])
        assert batcher.rows_waiting == 4
        blocking.open.set()
        results = await gather_results(first, waiting, fits)
        return results + await gather_results(batcher.submit([7]))

    assert asyncio.run(run()) == [[0], [2, 4, 6], [12], [14]]


def test_a_request_above_the_limit_is_served_from_an_empty_queue() -> None:
    """A request larger than the limit is served alone instead of never."""

    async def run() -> list[Any]:
        batcher = make_batcher(max_batch_size=2, max_waiting=3)
        return await gather_results(batcher.submit([1, 2, 3, 4, 5]))

    assert asyncio.run(run()) == [[2, 4, 6, 8, 10]]


def test_close_finishes_accepted_requests_and_rejects_new_ones() -> None:
    """Closing waits for every result; later requests are rejected because the server is stopping."""
    blocking = BlockingWork()

    async def run() -> list[Any]:
        batcher = make_batcher(blocking, always_in_thread=True, max_batch_size=1)
        answers = [batcher.submit([row]) for row in (1, 2, 3)]
        await blocking.entered()
        closing = asyncio.ensure_future(batcher.close())
        await asyncio.sleep(0.01)
        assert not closing.done()
        with pytest.raises(ShuttingDownError):
            batcher.submit([4])
        blocking.open.set()
        async with asyncio.timeout(_SOON):
            await closing
        assert all(answer.done() for answer in answers)
        return await gather_results(*answers)

    assert asyncio.run(run()) == [[2], [4], [6]]
    assert blocking.batches == [[1], [2], [3]]


def test_closing_an_idle_batcher_does_not_wait() -> None:
    """A batcher that never served, and one that has finished, close without waiting."""

    async def run() -> None:
        async with asyncio.timeout(_SOON):
            await make_batcher().close()
            used = make_batcher()
            await used.submit([1])
            await used.close()

    asyncio.run(run())


def test_an_expensive_batch_runs_in_the_thread() -> None:
    """While a slow model runs, the event loop keeps running, so health checks are answered."""

    def slow(rows: list[int]) -> list[int]:
        time.sleep(0.2)
        return doubled(rows)

    async def run() -> int:
        batcher = make_batcher(slow)
        batcher.set_row_cost(0.2)
        answer = batcher.submit([1])
        ticks = 0
        while not answer.done():
            await asyncio.sleep(0.01)
            ticks += 1
        return ticks

    assert asyncio.run(run()) >= 5


def test_a_cheap_batch_runs_on_the_event_loop() -> None:
    """A cheap model runs without a thread; the thread hop would cost more than the model."""
    where: list[str] = []

    def work(rows: list[int]) -> list[int]:
        where.append(threading.current_thread().name)
        return doubled(rows)

    async def run() -> None:
        batcher = make_batcher(work)
        await batcher.submit([1])
        batcher.set_row_cost(1.0)
        await batcher.submit([2])

    asyncio.run(run())
    assert where[0] == threading.current_thread().name
    assert where[1].startswith("model")


def test_a_model_that_becomes_slow_moves_to_the_thread() -> None:
    """The cost of a row is measured on every run, so a model that becomes slow moves to the thread."""
    clock = iter(range(100))
    batcher: list[Batcher[int, int]] = []

    async def run() -> None:
        batcher.append(make_batcher(monotonic=lambda: float(next(clock))))
        assert not batcher[0].runs_in_thread(1)
        await batcher[0].submit([1])

    asyncio.run(run())
    assert batcher[0].runs_in_thread(1)


def test_requests_waiting_during_a_run_form_the_next_batch() -> None:
    """Requests that arrive during a run form the next batch, in order of arrival."""
    blocking = BlockingWork()

    async def run() -> list[Any]:
        batcher = make_batcher(blocking, always_in_thread=True)
        first = batcher.submit([0])
        await blocking.entered()
        later = [batcher.submit([row]) for row in (1, 2, 3)]
        await asyncio.sleep(0)
        blocking.open.set()
        return await gather_results(first, *later)

    assert asyncio.run(run()) == [[0], [2], [4], [6]]
    assert blocking.batches == [[0], [1, 2, 3]]


def runs_of(
    submit: Callable[[Batcher[int, int]], list[asyncio.Future[list[int]]]], **changes: Any
) -> tuple[list[list[int]], list[Any]]:
    """The rows of each run of a model of 0.7 s per row, and all results: the first run waits until all requests are queued."""
    blocking = BlockingWork()
    now = [0.0]

    def work(rows: list[int]) -> list[int]:
        now[0] += 0.7 * len(rows)
        return blocking(rows)

    async def run() -> list[Any]:
        batcher = make_batcher(work, monotonic=lambda: now[0], **changes)
        batcher.set_row_cost(0.7)
        first = batcher.submit([0], "first")
        await blocking.entered()
        answers = submit(batcher)
        blocking.open.set()
        return await gather_results(first, *answers)

    results = asyncio.run(run())
    return blocking.batches, results[1:]


def test_a_run_of_a_slow_model_has_as_many_rows_as_there_is_time_for() -> None:
    """Sixty requests of a slow model are not put into one run: the first gets its result when its own row is done."""
    batches, results = runs_of(lambda batcher: [batcher.submit([row]) for row in range(1, 61)])
    assert batches[:4] == [[0], [1], [2], [3]]
    assert results == [[2 * row] for row in range(1, 61)]


@pytest.mark.parametrize("caller", ["the same", "another"])
def test_a_large_batch_does_not_delay_others_until_its_end(caller: str) -> None:
    """A request after a large batch on a slow model gets the second run, and the batch is answered completely and in order."""
    rows = list(range(100, 160))
    batches, results = runs_of(lambda batcher: [batcher.submit(rows, "the same"), batcher.submit([7], caller)])
    assert batches[:4] == [[0], [100], [7], [101]]
    assert results == [doubled(rows), [14]]


def test_callers_take_turns() -> None:
    """A caller with many requests gets as many turns as one with a single request."""
    batches, _ = runs_of(lambda batcher: [*(batcher.submit([row], "busy") for row in (1, 2, 3, 4)), batcher.submit([9], "modest")])
    assert batches == [[0], [1], [9], [2], [3], [4]]


def test_remaining_rows_of_a_cancelled_batch_are_not_computed() -> None:
    """If a caller disconnects during its batch, the remaining rows never reach the model."""
    blocking = BlockingWork()

    async def run() -> list[Any]:
        batcher = make_batcher(blocking)
        batcher.set_row_cost(0.7)
        batch = batcher.submit(list(range(60)))
        await blocking.entered()
        other = batcher.submit([7])
        batch.cancel()
        blocking.open.set()
        await gather_results(other)
        await batcher.close()
        assert batcher.rows_waiting == 0
        return await gather_results(other)

    assert asyncio.run(run()) == [[14]]
    assert blocking.batches == [[0], [7]]


def test_a_wait_above_the_limit_is_rejected_with_its_duration() -> None:
    """A request above the maximum wait is rejected with the expected wait, and a batch that never fits with its duration."""
    blocking = BlockingWork()

    async def run() -> None:
        batcher = make_batcher(blocking, max_wait_s=7.0)
        batcher.set_row_cost(0.7)
        answers = [batcher.submit([0])]
        await blocking.entered()
        answers += [batcher.submit([row]) for row in range(1, 10)]
        with pytest.raises(QueueTooLongError) as refused:
            batcher.submit([10])
        assert refused.value.facts["retry_after"] == 7
        with pytest.raises(BatchTooLongError) as too_long:
            batcher.submit(list(range(11)))
        assert too_long.value.facts["limit"] == 10
        blocking.open.set()
        await gather_results(*answers)

    asyncio.run(run())


def test_the_longest_queue_is_displaced_by_other_callers() -> None:
    """If one caller has filled the queue, its newest request is displaced by another caller's first."""
    blocking = BlockingWork()

    async def run() -> list[Any]:
        batcher = make_batcher(blocking, max_wait_s=7.0)
        batcher.set_row_cost(0.7)
        first = batcher.submit([0], "busy")
        await blocking.entered()
        busy = [batcher.submit([row], "busy") for row in range(1, 10)]
        modest = batcher.submit([50], "modest")
        blocking.open.set()
        return await gather_results(first, modest, *busy)

    results = asyncio.run(run())
    assert results[:2] == [[0], [100]]
    assert [type(batcher).__name__ for batcher in results[2:]] == ["list"] * 8 + ["QueueTooLongError"]
    assert blocking.batches[:3] == [[0], [1], [50]]


def test_an_overdue_request_comes_first() -> None:
    """A batch delayed by other callers' turns is finished before newer requests, once it has waited half the maximum."""
    now = [0.0]
    batches: list[list[int]] = []

    def work(rows: list[int]) -> list[int]:
        batches.append(rows)
        now[0] += 1.0
        return doubled(rows)

    async def run() -> list[Any]:
        batcher = make_batcher(work, max_wait_s=10.0, monotonic=lambda: now[0])
        batcher.set_row_cost(1.0)
        batch = batcher.submit([100, 101, 102, 103, 104, 105], "batch")
        others = [batcher.submit([row], str(row)) for row in (1, 2, 3)]
        await gather_results(*others)
        others += [batcher.submit([row], str(row)) for row in (4, 5, 6)]
        return await gather_results(batch, *others)

    results = asyncio.run(run())
    assert all(isinstance(batcher, list) for batcher in results)
    flat = [row for rows in batches for row in rows]
    assert flat[:4] == [100, 1, 2, 3]
    assert flat.index(105) < flat.index(6)


def test_waiting_requests_are_rejected_if_the_model_becomes_much_slower() -> None:
    """A request accepted while the model was fast is rejected after twice the maximum wait if the model has become slow."""
    now = [0.0]

    def work(rows: list[int]) -> list[int]:
        now[0] += 5.0 * len(rows)
        return doubled(rows)

    async def run() -> list[Any]:
        batcher = make_batcher(work, max_batch_size=1, max_wait_s=10.0, always_in_thread=True, monotonic=lambda: now[0])
        batcher.set_row_cost(0.1)
        return await gather_results(*[batcher.submit([row]) for row in range(20)])

    results = asyncio.run(run())
    answered = [batcher for batcher in results if isinstance(batcher, list)]
    assert len(answered) in (4, 5)
    assert {type(batcher) for batcher in results if not isinstance(batcher, list)} == {QueueTooLongError}


def test_the_size_of_runs_follows_the_measured_cost() -> None:
    """A model slower than expected gets fewer rows per run after three runs; a single slow run changes nothing."""
    now, pace = [0.0], [0.1]
    sizes: list[int] = []

    def work(rows: list[int]) -> list[int]:
        sizes.append(len(rows))
        now[0] += pace[0] * len(rows)
        return doubled(rows)

    async def run() -> None:
        batcher = make_batcher(work, always_in_thread=True, monotonic=lambda: now[0])
        batcher.set_row_cost(0.1)
        for slow in (False, True, False, False, False):
            pace[0] = 1.0 if slow else 0.1
            await gather_results(batcher.submit(list(range(5))))
        pace[0] = 1.0
        await gather_results(*[batcher.submit([row]) for row in range(20)])

    asyncio.run(run())
    assert sizes[:5] == [5] * 5
    assert sizes[5:8] == [5] * 3
    assert sizes[8:] == [1] * 5
