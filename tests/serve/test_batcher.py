"""The waiting room: what waits together leaves together, and nobody's fate is a neighbour's."""

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
#: Seconds within which everything here must have settled.
_SOON = 5.0


def doubled(rows: list[int]) -> list[int]:
    return [2 * row for row in rows]


def room(work: Work = doubled, **changes: Any) -> Batcher[int, int]:
    return Batcher(work, **{"max_batch_size": 64, "max_waiting": 2000, **changes})


async def settled(*answers: asyncio.Future[list[int]]) -> list[Any]:
    """What became of each, exceptions included; fails when one is stranded."""
    async with asyncio.timeout(_SOON):
        return await asyncio.gather(*answers, return_exceptions=True)


class Gate:
    """Work that runs aside and waits until it is let through; keeps what it was given."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.open = threading.Event()
        self.seen: list[list[int]] = []

    def __call__(self, rows: list[int]) -> list[int]:
        """Wait at the gate, then answer."""
        self.seen.append(rows)
        self.began.set()
        assert self.open.wait(_SOON)
        return doubled(rows)

    async def entered(self) -> None:
        """Wait until a batch stands at the gate."""
        assert await asyncio.to_thread(self.began.wait, _SOON)


def test_what_arrives_in_one_turn_leaves_in_one_batch() -> None:
    """Callers of the same turn of the event loop share one run of the model, each with its own rows in order."""
    seen: list[list[int]] = []

    def work(rows: list[int]) -> list[int]:
        seen.append(rows)
        return doubled(rows)

    async def run() -> list[Any]:
        one = room(work)
        return await settled(one.submit([1, 2]), one.submit([3]), one.submit([4, 5, 6]))

    assert asyncio.run(run()) == [[2, 4], [6], [8, 10, 12]]
    assert seen == [[1, 2, 3, 4, 5, 6]]


@given(st.lists(st.lists(st.integers(), min_size=1, max_size=9), min_size=1, max_size=20), st.integers(1, 10))
def test_everyone_gets_their_own_rows(asked: list[list[int]], max_batch_size: int) -> None:
    """However callers and batches are sized, each gets exactly the answers to its rows, and they are served in order of arrival."""
    seen: list[int] = []
    sizes: list[int] = []

    def work(rows: list[int]) -> list[int]:
        seen.extend(rows)
        sizes.append(len(rows))
        return doubled(rows)

    async def run() -> list[Any]:
        one = room(work, max_batch_size=max_batch_size)
        return await settled(*[one.submit(rows) for rows in asked])

    assert asyncio.run(run()) == [doubled(rows) for rows in asked]
    assert seen == [row for rows in asked for row in rows]
    largest = max(len(rows) for rows in asked)
    assert max(sizes) <= max(max_batch_size, largest)


@pytest.mark.parametrize(("size", "position"), [(size, position) for size in range(1, 9) for position in range(size)])
def test_a_caller_who_hangs_up_while_the_model_runs_disturbs_nobody(size: int, position: int) -> None:
    """A caller cancelled at any position of a running batch neither delays nor strands its neighbours."""
    gate = Gate()

    async def run() -> list[Any]:
        one = room(gate, always_in_thread=True)
        answers = [one.submit([index]) for index in range(size)]
        await gate.entered()
        answers[position].cancel()
        gate.open.set()
        return await settled(*answers)

    results = asyncio.run(run())
    assert gate.seen == [list(range(size))]
    assert isinstance(results.pop(position), asyncio.CancelledError)
    assert results == [[2 * index] for index in range(size) if index != position]


@pytest.mark.parametrize(("size", "position"), [(size, position) for size in range(1, 9) for position in range(size)])
def test_a_caller_who_hangs_up_before_the_cut_never_reaches_the_model(size: int, position: int) -> None:
    """A caller cancelled while it waits takes its row along; the neighbours' batch closes the gap."""
    seen: list[int] = []

    def work(rows: list[int]) -> list[int]:
        seen.extend(rows)
        return doubled(rows)

    async def run() -> tuple[list[Any], int]:
        one = room(work)
        answers = [one.submit([index]) for index in range(size)]
        answers[position].cancel()
        results = await settled(*answers)
        # Newer Pythons gather what is done already without giving the loop the two turns after which a batch is cut.
        for _ in range(3):
            await asyncio.sleep(0)
        return results, one.rows_waiting

    results, waiting = asyncio.run(run())
    others = [index for index in range(size) if index != position]
    assert seen == others
    assert isinstance(results.pop(position), asyncio.CancelledError)
    assert results == [[2 * index] for index in others]
    assert waiting == 0


def test_a_room_whose_callers_all_left_lives_on() -> None:
    """When everybody hung up before the cut, the next caller is served."""

    async def run() -> list[Any]:
        one = room()
        for gone in [one.submit([1]), one.submit([2])]:
            gone.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return await settled(one.submit([3]))

    assert asyncio.run(run()) == [[6]]


@pytest.mark.parametrize("aside", [False, True])
def test_an_exception_fails_exactly_its_batch(*, aside: bool) -> None:
    """When the model raises, every caller of that batch is told why, and the callers of the next are served."""

    def work(rows: list[int]) -> list[int]:
        if 13 in rows:
            raise ValueError("unlucky")
        return doubled(rows)

    async def run() -> list[Any]:
        one = room(work, max_batch_size=2, always_in_thread=aside)
        return await settled(*[one.submit([row]) for row in (1, 2, 13, 4, 5, 6)])

    results = asyncio.run(run())
    assert results[:2] + results[4:] == [[2], [4], [10], [12]]
    assert [str(failure) for failure in results[2:4]] == ["unlucky", "unlucky"]


@pytest.mark.parametrize("aside", [False, True])
def test_an_input_that_fails_the_model_fails_nobody_else(*, aside: bool) -> None:
    """When the model fails on a batch, each caller is asked once more alone, before those who came later: one alone fails."""
    seen: list[list[int]] = []
    blamed: list[list[int]] = []

    def work(rows: list[int]) -> list[int]:
        seen.append(rows)
        if 13 in rows:
            raise ModelError
        return doubled(rows)

    async def run() -> list[Any]:
        one = room(work, max_batch_size=4, always_in_thread=aside, on_failure=lambda rows, _: blamed.append(rows))
        answers = [one.submit(rows) for rows in ([1], [12, 13], [4], [5], [6])]
        results = await settled(*answers)
        await one.close()
        assert one.rows_waiting == 0
        return results

    results = asyncio.run(run())
    assert [results[0], *results[2:]] == [[2], [8], [10], [12]]
    assert isinstance(results[1], ModelError)
    assert seen == [[1, 12, 13, 4], [1], [12, 13], [4], [5, 6]]
    assert blamed == [[12, 13]]


@pytest.mark.parametrize("aside", [False, True])
@pytest.mark.parametrize("lost", [-1, 1])
def test_lost_rows_are_a_failure(lost: int, *, aside: bool) -> None:
    """A model that gives back fewer or more rows than it was given fails its batch: nobody gets a neighbour's answer."""

    def work(rows: list[int]) -> list[int]:
        return [0] * (len(rows) + lost)

    async def run() -> list[Any]:
        one = room(work, always_in_thread=aside)
        return await settled(one.submit([1]), one.submit([2, 3]))

    assert [type(result) for result in asyncio.run(run())] == [ModelError, ModelError]


def test_a_full_room_refuses_and_takes_again_when_it_emptied() -> None:
    """At the bound a caller is told so at once; after the room has emptied it is taken."""
    gate = Gate()

    async def run() -> list[Any]:
        one = room(gate, always_in_thread=True, max_waiting=4)
        first = one.submit([0])
        await gate.entered()
        waiting = one.submit([1, 2, 3])
        with pytest.raises(OverloadedError):
            one.submit([4, 5])
        fits = one.submit([6])
        assert one.rows_waiting == 4
        gate.open.set()
        results = await settled(first, waiting, fits)
        return results + await settled(one.submit([7]))

    assert asyncio.run(run()) == [[0], [2, 4, 6], [12], [14]]


def test_one_caller_with_more_rows_than_the_bound_is_taken_when_nobody_waits() -> None:
    """A batch request larger than the whole room is served alone instead of never."""

    async def run() -> list[Any]:
        one = room(max_batch_size=2, max_waiting=3)
        return await settled(one.submit([1, 2, 3, 4, 5]))

    assert asyncio.run(run()) == [[2, 4, 6, 8, 10]]


def test_close_answers_what_was_taken_and_takes_nothing_more() -> None:
    """Closing waits for every answer; who comes later is told that the server is stopping."""
    gate = Gate()

    async def run() -> list[Any]:
        one = room(gate, always_in_thread=True, max_batch_size=1)
        answers = [one.submit([row]) for row in (1, 2, 3)]
        await gate.entered()
        closing = asyncio.ensure_future(one.close())
        await asyncio.sleep(0.01)
        assert not closing.done()
        with pytest.raises(ShuttingDownError):
            one.submit([4])
        gate.open.set()
        async with asyncio.timeout(_SOON):
            await closing
        assert all(answer.done() for answer in answers)
        return await settled(*answers)

    assert asyncio.run(run()) == [[2], [4], [6]]
    assert gate.seen == [[1], [2], [3]]


def test_closing_an_empty_room_is_at_once() -> None:
    """A room that never served, and one that has served, close without waiting."""

    async def run() -> None:
        async with asyncio.timeout(_SOON):
            await room().close()
            used = room()
            await used.submit([1])
            await used.close()

    asyncio.run(run())


def test_dear_work_leaves_the_event_loop() -> None:
    """While a slow model runs, the event loop goes on ticking, so health checks are answered."""

    def slow(rows: list[int]) -> list[int]:
        time.sleep(0.2)
        return doubled(rows)

    async def run() -> int:
        one = room(slow)
        one.set_row_cost(0.2)
        answer = one.submit([1])
        ticks = 0
        while not answer.done():
            await asyncio.sleep(0.01)
            ticks += 1
        return ticks

    assert asyncio.run(run()) >= 5


def test_cheap_work_stays_on_the_event_loop() -> None:
    """A cheap model is run without a thread; a thread costs more than it does."""
    where: list[str] = []

    def work(rows: list[int]) -> list[int]:
        where.append(threading.current_thread().name)
        return doubled(rows)

    async def run() -> None:
        one = room(work)
        await one.submit([1])
        one.set_row_cost(1.0)
        await one.submit([2])

    asyncio.run(run())
    assert where[0] == threading.current_thread().name
    assert where[1].startswith("model")


def test_a_model_that_turns_slow_is_moved_aside() -> None:
    """The cost of a row is measured all the time, so a model that was taken for cheap leaves the loop once it is not."""
    clock = iter(range(100))
    one: list[Batcher[int, int]] = []

    async def run() -> None:
        one.append(room(monotonic=lambda: float(next(clock))))
        assert not one[0].runs_in_thread(1)
        await one[0].submit([1])

    asyncio.run(run())
    assert one[0].runs_in_thread(1)


def test_what_waits_while_the_model_is_busy_leaves_together() -> None:
    """Callers who arrive during a run form the next batch, in order of arrival."""
    gate = Gate()

    async def run() -> list[Any]:
        one = room(gate, always_in_thread=True)
        first = one.submit([0])
        await gate.entered()
        later = [one.submit([row]) for row in (1, 2, 3)]
        await asyncio.sleep(0)
        gate.open.set()
        return await settled(first, *later)

    assert asyncio.run(run()) == [[0], [2], [4], [6]]
    assert gate.seen == [[0], [1, 2, 3]]


def runs_of(
    submit: Callable[[Batcher[int, int]], list[asyncio.Future[list[int]]]], **changes: Any
) -> tuple[list[list[int]], list[Any]]:
    """What each run of a model of 0.7 s a row was given, and what became of everybody: the first run waits until all are there."""
    gate = Gate()
    now = [0.0]

    def work(rows: list[int]) -> list[int]:
        now[0] += 0.7 * len(rows)
        return gate(rows)

    async def run() -> list[Any]:
        one = room(work, monotonic=lambda: now[0], **changes)
        one.set_row_cost(0.7)
        first = one.submit([0], "first")
        await gate.entered()
        answers = submit(one)
        gate.open.set()
        return await settled(first, *answers)

    results = asyncio.run(run())
    return gate.seen, results[1:]


def test_a_run_of_a_slow_model_has_as_many_rows_as_there_is_time_for() -> None:
    """Sixty callers of a slow model are not put into one run: the first has its answer when its own row is done."""
    seen, results = runs_of(lambda one: [one.submit([row]) for row in range(1, 61)])
    assert seen[:4] == [[0], [1], [2], [3]]
    assert results == [[2 * row] for row in range(1, 61)]


@pytest.mark.parametrize("caller", ["the same", "another"])
def test_a_large_batch_makes_nobody_wait_for_all_of_it(caller: str) -> None:
    """Who comes after somebody's batch of a slow model has the second turn, and the batch is answered whole and in order."""
    rows = list(range(100, 160))
    seen, results = runs_of(lambda one: [one.submit(rows, "the same"), one.submit([7], caller)])
    assert seen[:4] == [[0], [100], [7], [101]]
    assert results == [doubled(rows), [14]]


def test_callers_take_turns() -> None:
    """One caller with many requests has as many turns as one with a single request."""
    seen, _ = runs_of(lambda one: [*(one.submit([row], "busy") for row in (1, 2, 3, 4)), one.submit([9], "modest")])
    assert seen == [[0], [1], [9], [2], [3], [4]]


def test_what_is_left_of_a_batch_whose_caller_left_is_not_computed() -> None:
    """A caller who hangs up in the midst of its batch takes back what the model has not seen."""
    gate = Gate()

    async def run() -> list[Any]:
        one = room(gate)
        one.set_row_cost(0.7)
        batch = one.submit(list(range(60)))
        await gate.entered()
        other = one.submit([7])
        batch.cancel()
        gate.open.set()
        await settled(other)
        await one.close()
        assert one.rows_waiting == 0
        return await settled(other)

    assert asyncio.run(run()) == [[14]]
    assert gate.seen == [[0], [7]]


def test_a_wait_beyond_the_bound_is_refused_with_the_time_it_would_take() -> None:
    """At the expected wait's bound a caller is told how long what waits will take, and a batch that never fits how much does."""
    gate = Gate()

    async def run() -> None:
        one = room(gate, max_wait_s=7.0)
        one.set_row_cost(0.7)
        answers = [one.submit([0])]
        await gate.entered()
        answers += [one.submit([row]) for row in range(1, 10)]
        with pytest.raises(QueueTooLongError) as refused:
            one.submit([10])
        assert refused.value.facts["retry_after"] == 7
        with pytest.raises(BatchTooLongError) as too_long:
            one.submit(list(range(11)))
        assert too_long.value.facts["limit"] == 10
        gate.open.set()
        await settled(*answers)

    asyncio.run(run())


def test_who_fills_the_queue_makes_room_for_others() -> None:
    """Where one caller has filled the queue, its newest request gives way to another caller's first."""
    gate = Gate()

    async def run() -> list[Any]:
        one = room(gate, max_wait_s=7.0)
        one.set_row_cost(0.7)
        first = one.submit([0], "busy")
        await gate.entered()
        busy = [one.submit([row], "busy") for row in range(1, 10)]
        modest = one.submit([50], "modest")
        gate.open.set()
        return await settled(first, modest, *busy)

    results = asyncio.run(run())
    assert results[:2] == [[0], [100]]
    assert [type(one).__name__ for one in results[2:]] == ["list"] * 8 + ["QueueTooLongError"]
    assert gate.seen[:3] == [[0], [1], [50]]


def test_who_has_waited_long_comes_first() -> None:
    """A batch that others' turns keep from its end is brought to it before anybody new, once it has waited half the bound."""
    now = [0.0]
    seen: list[list[int]] = []

    def work(rows: list[int]) -> list[int]:
        seen.append(rows)
        now[0] += 1.0
        return doubled(rows)

    async def run() -> list[Any]:
        one = room(work, max_wait_s=10.0, monotonic=lambda: now[0])
        one.set_row_cost(1.0)
        batch = one.submit([100, 101, 102, 103, 104, 105], "batch")
        others = [one.submit([row], str(row)) for row in (1, 2, 3)]
        await settled(*others)
        others += [one.submit([row], str(row)) for row in (4, 5, 6)]
        return await settled(batch, *others)

    results = asyncio.run(run())
    assert all(isinstance(one, list) for one in results)
    flat = [row for rows in seen for row in rows]
    assert flat[:4] == [100, 1, 2, 3]
    assert flat.index(105) < flat.index(6)


def test_a_model_that_becomes_much_slower_leaves_nobody_waiting_for_ever() -> None:
    """Who was taken while the model was quick is refused at twice the bound when it is quick no more."""
    now = [0.0]

    def work(rows: list[int]) -> list[int]:
        now[0] += 5.0 * len(rows)
        return doubled(rows)

    async def run() -> list[Any]:
        one = room(work, max_batch_size=1, max_wait_s=10.0, always_in_thread=True, monotonic=lambda: now[0])
        one.set_row_cost(0.1)
        return await settled(*[one.submit([row]) for row in range(20)])

    results = asyncio.run(run())
    answered = [one for one in results if isinstance(one, list)]
    assert len(answered) in (4, 5)
    assert {type(one) for one in results if not isinstance(one, list)} == {QueueTooLongError}


def test_a_row_is_measured_and_runs_follow() -> None:
    """A model slower than it was taken for gets fewer rows in a run after three runs; one slow run alone changes nothing."""
    now, pace = [0.0], [0.1]
    sizes: list[int] = []

    def work(rows: list[int]) -> list[int]:
        sizes.append(len(rows))
        now[0] += pace[0] * len(rows)
        return doubled(rows)

    async def run() -> None:
        one = room(work, always_in_thread=True, monotonic=lambda: now[0])
        one.set_row_cost(0.1)
        for slow in (False, True, False, False, False):
            pace[0] = 1.0 if slow else 0.1
            await settled(one.submit(list(range(5))))
        pace[0] = 1.0
        await settled(*[one.submit([row]) for row in range(20)])

    asyncio.run(run())
    assert sizes[:5] == [5] * 5
    assert sizes[5:8] == [5] * 3
    assert sizes[8:] == [1] * 5
