"""A lane: nothing is answered that was not recorded, and what failed is recorded too."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
from tests.support.small_models import root, shelf

from relevo.domain import ids
from relevo.domain.prediction import Arm, InputKind, InputLogging, PredictionRecord
from relevo.errors import JournalUnavailableError, ModelError, OutputNotFiniteError
from relevo.package.package import load_runnable
from relevo.serve.loaded_version import LoadedVersion, PendingRow, PredictionResult, ServingOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from relevo.package.package import Package
    from relevo.recording.journal import Journal
    from relevo.runtime.model import RunnableModel

    Recorded = Callable[[Journal], list[PredictionRecord]]


def lane_of(model: RunnableModel, write: Any, **options: Any) -> LoadedVersion:
    return LoadedVersion(model=model, version=3, digest="d" * 64, write=write, options=ServingOptions(**options))


def asked_of(model: RunnableModel, payload: Any, **changes: Any) -> PendingRow:
    picture = isinstance(payload, bytes)
    facts: dict[str, Any] = {
        "row": model.prepare(payload),
        "kind": InputKind.IMAGE if picture else InputKind.RECORD,
        "input": payload if picture else msgspec.json.encode(payload),
        "arm": Arm.CHAMPION,
        "propensity": 1.0,
        "epoch": 7,
        "begun_ns": time.perf_counter_ns(),
    }
    return PendingRow(**(facts | changes))


def replies_of(lane: LoadedVersion, asked: Sequence[PendingRow]) -> list[PredictionResult]:
    async def run() -> list[PredictionResult]:
        return await lane.ask(asked)

    return asyncio.run(run())


def test_an_answer_is_recorded_before_it_is_given(
    digits_package: Package, digit_pngs: list[bytes], journal: Journal, recorded: Recorded
) -> None:
    """When the answer is there, the journal already holds it, committed: a reader of its own finds it at that moment."""
    model = load_runnable(digits_package)
    order: list[str] = []

    def write(predictions: Sequence[PredictionRecord]) -> None:
        journal.write(predictions)
        order.append("recorded")

    async def run() -> PredictionResult:
        ticket = lane_of(model, write).ask([asked_of(model, digit_pngs[0])])
        ticket.add_done_callback(lambda _: order.append("answered"))
        return (await ticket)[0]

    reply = asyncio.run(run())
    assert order == ["recorded", "answered"]
    assert [it.id for it in recorded(journal)] == [reply.id]


def test_everything_about_a_prediction_is_recorded(
    digits_package: Package, digit_pngs: list[bytes], journal: Journal, recorded: Recorded
) -> None:
    """Model, version, arm, propensity, epoch, input, answer, scores, latency and subject are in the journal as they were."""
    model = load_runnable(digits_package)
    asked = asked_of(model, digit_pngs[1], arm=Arm.CANARY, propensity=0.25, epoch=9, subject="patient 7")
    before_us = time.time_ns() // 1000
    reply = replies_of(lane_of(model, journal.write), [asked])[0]
    told = recorded(journal)[0]
    answer = digits_package.predict(digit_pngs[1])
    assert (told.model, told.version, told.arm, told.propensity, told.epoch) == ("digits", 3, Arm.CANARY, 0.25, 9)
    assert (told.kind, told.input, told.input_bytes) == (InputKind.IMAGE, digit_pngs[1], len(digit_pngs[1]))
    assert (told.label, told.confidence, told.uncertain, told.error) == (answer.label, answer.confidence, answer.uncertain, None)
    assert np.frombuffer(told.scores, "<f4").tolist() == np.array(answer.probabilities, "<f4").tolist()
    assert told.subject == "patient 7"
    assert before_us <= told.at_us <= time.time_ns() // 1000
    assert int.from_bytes(told.id[:6], "big") == told.at_us // 1000
    assert 0 <= told.latency_us < 60_000_000
    assert (reply.id, reply.version, reply.recorded, reply.answer) == (told.id, 3, True, answer)
    assert ids.raw(ids.text(reply.id)) == told.id


def test_what_cannot_be_recorded_is_not_answered(
    digits_package: Package, digit_pngs: list[bytes], full_journal: Journal, recorded: Recorded
) -> None:
    """When the journal takes nothing, every caller of the batch is refused and nothing is kept."""
    model = load_runnable(digits_package)

    async def run() -> list[Any]:
        lane = lane_of(model, full_journal.write)
        tickets = [lane.ask([asked_of(model, png)]) for png in digit_pngs[:3]]
        return await asyncio.gather(*tickets, return_exceptions=True)

    assert [type(result) for result in asyncio.run(run())] == [JournalUnavailableError] * 3
    assert recorded(full_journal) == []


def test_relaxed_durability_answers_and_says_that_it_went_unrecorded(
    digits_package: Package, digit_pngs: list[bytes], full_journal: Journal
) -> None:
    """With durability = relaxed an answer is given without a record, and says so."""
    model = load_runnable(digits_package)
    reply = replies_of(lane_of(model, full_journal.write, durability="relaxed"), [asked_of(model, digit_pngs[0])])[0]
    assert reply.recorded is False
    assert reply.answer == digits_package.predict(digit_pngs[0])


def test_full_durability_never_writes_on_the_event_loop(digits_package: Package) -> None:
    """With durability = full even the cheapest batch goes aside, since an fsync takes milliseconds."""

    async def run() -> list[bool]:
        model = load_runnable(digits_package)
        return [
            lane_of(model, print, durability=durability).batcher.runs_in_thread(1) for durability in ("full", "process", "relaxed")
        ]

    assert asyncio.run(run()) == [True, False, False]


@pytest.mark.parametrize(
    ("policy", "share", "kept"),
    [
        (InputLogging.ALL, 0.0, (True, True)),
        (InputLogging.NONE, 1.0, (False, False)),
        (InputLogging.UNCERTAIN, 1.0, (False, True)),
        (InputLogging.SAMPLE, 1.0, (True, True)),
        (InputLogging.SAMPLE, 0.0, (False, False)),
    ],
)
def test_inputs_are_kept_by_policy(
    churn_package: Package,
    journal: Journal,
    policy: InputLogging,
    share: float,
    kept: tuple[bool, bool],
    churn_records: list[Any],
    recorded: Recorded,
) -> None:
    """Which inputs are kept follows log_inputs, sure and uncertain answers apart; their size is known either way."""
    model = load_runnable(churn_package)
    certainty = {churn_package.predict(record).uncertain: record for record in churn_records}
    records = [certainty[False], certainty[True]]
    lane = lane_of(model, journal.write, log_inputs=policy, log_inputs_rate=share)
    replies_of(lane, [asked_of(model, record) for record in records])
    told = recorded(journal)
    assert [it.uncertain for it in told] == [False, True]
    assert tuple(it.input is not None for it in told) == kept
    for it, record in zip(told, records, strict=True):
        assert it.input_bytes == len(msgspec.json.encode(record))
        assert it.input is None or msgspec.json.decode(it.input) == record


def test_a_sample_keeps_about_its_share(
    churn_package: Package, journal: Journal, churn_records: list[Any], recorded: Recorded
) -> None:
    """log_inputs = sample keeps about log_inputs_rate of the inputs."""
    model = load_runnable(churn_package)
    lane = lane_of(model, journal.write, log_inputs=InputLogging.SAMPLE, log_inputs_rate=0.3, max_batch_size=1000)
    replies_of(lane, [asked_of(model, churn_records[0]) for _ in range(1000)])
    share = sum(it.input is not None for it in recorded(journal)) / 1000
    assert 0.2 < share < 0.4  # six standard deviations wide


@pytest.mark.parametrize(("make", "number", "failure"), [(shelf, 10.0, ModelError), (root, -1.0, OutputNotFiniteError)])
def test_a_failure_of_the_model_is_recorded_with_its_code(
    make: Any, number: float, failure: Any, journal: Journal, recorded: Recorded
) -> None:
    """A model that raises, or answers no number, is in the history with the input that did it, and no answer."""
    model = make()
    with pytest.raises(ModelError) as caught:
        replies_of(lane_of(model, journal.write), [asked_of(model, {"number": number})])
    assert type(caught.value) is failure
    told = recorded(journal)[0]
    assert (told.error, told.value, told.label, told.scores) == (failure.code, None, None, b"")
    assert msgspec.json.decode(told.input or b"") == {"number": number}


def test_a_failure_that_cannot_be_recorded_is_still_the_models(full_journal: Journal) -> None:
    """When neither model nor journal works, the caller hears of the model, whose failure came first."""
    model = shelf()
    with pytest.raises(ModelError):
        replies_of(lane_of(model, full_journal.write), [asked_of(model, {"number": 10.0})])


def test_a_lane_serves_on_after_a_failure(journal: Journal, recorded: Recorded) -> None:
    """The batch after a failed one is answered and recorded."""
    model = shelf()
    lane: list[LoadedVersion] = []

    async def run() -> list[PredictionResult]:
        lane.append(lane_of(model, journal.write))
        with pytest.raises(ModelError):
            await lane[0].ask([asked_of(model, {"number": 10.0})])
        return await lane[0].ask([asked_of(model, {"number": 4.0})])

    assert asyncio.run(run())[0].answer.value == 40.0
    assert [it.error for it in recorded(journal)] == ["model_failed", None]


def test_one_batch_is_one_write(digits_package: Package, digit_pngs: list[bytes], journal: Journal, recorded: Recorded) -> None:
    """All rows of a batch are committed together, whoever asked for them."""
    model = load_runnable(digits_package)
    sizes: list[int] = []

    def write(predictions: Sequence[PredictionRecord]) -> None:
        sizes.append(len(predictions))
        journal.write(predictions)

    async def run() -> None:
        lane = lane_of(model, write)
        await asyncio.gather(*[lane.ask([asked_of(model, png)]) for png in digit_pngs[:5]])
        await lane.retire()

    asyncio.run(run())
    assert sizes == [5]
    assert len({it.id for it in recorded(journal)}) == 5


@pytest.mark.parametrize(("make", "bad", "good"), [(shelf, 10.0, 4.0), (root, -1.0, 4.0)])
def test_a_neighbours_hostile_input_costs_nobody_the_answer(
    make: Any, bad: float, good: float, journal: Journal, recorded: Recorded
) -> None:
    """Of callers in one batch only the one whose input fails the model is refused; the others are answered and recorded as such."""
    model = make()

    async def run() -> list[Any]:
        lane = lane_of(model, journal.write)
        tickets = [lane.ask([asked_of(model, {"number": number})]) for number in (good, bad, good)]
        return await asyncio.gather(*tickets, return_exceptions=True)

    first, second, third = asyncio.run(run())
    assert first[0].answer.value == third[0].answer.value == model.predict({"number": good}).value
    assert isinstance(second, ModelError)
    assert sorted(it.error or "" for it in recorded(journal)) == ["", "", second.code]


@pytest.mark.parametrize("make", [shelf, root])
@pytest.mark.parametrize("bad", [{0}, {3}, {6}, {2, 5}])
def test_the_row_of_a_batch_that_fails_the_model_is_named_and_alone_recorded(
    make: Any, bad: set[int], journal: Journal, recorded: Recorded
) -> None:
    """One caller's rows fail together, the failure names the first that the model fails on, and none but it counts as failed."""
    model = make()
    asked = [asked_of(model, {"number": (10.0 if make is shelf else -1.0) if place in bad else 4.0}) for place in range(7)]
    with pytest.raises(ModelError) as caught:
        replies_of(lane_of(model, journal.write), asked)
    assert caught.value.facts == {"row": min(bad)}
    assert [(it.error, it.input) for it in recorded(journal)] == [(caught.value.code, asked[min(bad)].input)]


def test_the_row_is_named_by_its_place_in_what_was_sent(journal: Journal) -> None:
    """A slow model takes a batch in parts; the failing row is counted from the first of the batch."""
    model = shelf()
    lane = lane_of(model, journal.write)
    lane.batcher.set_row_cost(0.3)
    with pytest.raises(ModelError) as caught:
        replies_of(lane, [asked_of(model, {"number": number}) for number in (1.0, 2.0, 3.0, 4.0, 99.0)])
    assert caught.value.facts == {"row": 4}
