"""A loaded version: no result is returned that was not recorded, and failures are recorded too."""

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


def version_of(model: RunnableModel, write: Any, **options: Any) -> LoadedVersion:
    return LoadedVersion(model=model, version=3, digest="d" * 64, write=write, options=ServingOptions(**options))


def row_of(model: RunnableModel, payload: Any, **changes: Any) -> PendingRow:
    picture = isinstance(payload, bytes)
    facts: dict[str, Any] = {
        "row": model.preprocess(payload),
        "kind": InputKind.IMAGE if picture else InputKind.RECORD,
        "input": payload if picture else msgspec.json.encode(payload),
        "arm": Arm.CHAMPION,
        "propensity": 1.0,
        "epoch": 7,
        "begun_ns": time.perf_counter_ns(),
    }
    return PendingRow(**(facts | changes))


def results_of(version: LoadedVersion, rows: Sequence[PendingRow]) -> list[PredictionResult]:
    async def run() -> list[PredictionResult]:
        return await version.submit(rows)

    return asyncio.run(run())


def test_an_answer_is_recorded_before_it_is_given(
    digits_package: Package, digit_pngs: list[bytes], journal: Journal, recorded: Recorded
) -> None:
    """When the result is returned, the journal has already committed it: a separate reader finds it at that moment."""
    model = load_runnable(digits_package)
    order: list[str] = []

    def write(predictions: Sequence[PredictionRecord]) -> None:
        journal.write(predictions)
        order.append("recorded")

    async def run() -> PredictionResult:
        ticket = version_of(model, write).submit([row_of(model, digit_pngs[0])])
        ticket.add_done_callback(lambda _: order.append("answered"))
        return (await ticket)[0]

    reply = asyncio.run(run())
    assert order == ["recorded", "answered"]
    assert [prediction.id for prediction in recorded(journal)] == [reply.id]


def test_everything_about_a_prediction_is_recorded(
    digits_package: Package, digit_pngs: list[bytes], journal: Journal, recorded: Recorded
) -> None:
    """Model, version, arm, propensity, epoch, input, answer, scores, latency and subject are in the journal unchanged."""
    model = load_runnable(digits_package)
    rows = row_of(model, digit_pngs[1], arm=Arm.CANARY, propensity=0.25, epoch=9, subject="patient 7")
    before_us = time.time_ns() // 1000
    reply = results_of(version_of(model, journal.write), [rows])[0]
    stored = recorded(journal)[0]
    answer = digits_package.predict(digit_pngs[1])
    assert (stored.model, stored.version, stored.arm, stored.propensity, stored.epoch) == (
        "digits",
        3,
        Arm.CANARY,
        0.25,
        9,
    )
    assert (stored.kind, stored.input, stored.input_bytes) == (InputKind.IMAGE, digit_pngs[1], len(digit_pngs[1]))
    assert (stored.predicted_label, stored.confidence, stored.uncertain, stored.error) == (
        answer.predicted_label,
        answer.confidence,
        answer.uncertain,
        None,
    )
    assert np.frombuffer(stored.scores, "<f4").tolist() == np.array(answer.probabilities, "<f4").tolist()
    assert stored.subject == "patient 7"
    assert before_us <= stored.at_us <= time.time_ns() // 1000
    assert int.from_bytes(stored.id[:6], "big") == stored.at_us // 1000
    assert 0 <= stored.latency_us < 60_000_000
    assert (reply.id, reply.version, reply.recorded, reply.answer) == (stored.id, 3, True, answer)
    assert ids.raw(ids.text(reply.id)) == stored.id


def test_what_cannot_be_recorded_is_not_answered(
    digits_package: Package, digit_pngs: list[bytes], full_journal: Journal, recorded: Recorded
) -> None:
    """If the journal rejects the batch, every request of it fails and nothing is recorded."""
    model = load_runnable(digits_package)

    async def run() -> list[Any]:
        version = version_of(model, full_journal.write)
        tickets = [version.submit([row_of(model, png)]) for png in digit_pngs[:3]]
        return await asyncio.gather(*tickets, return_exceptions=True)

    assert [type(result) for result in asyncio.run(run())] == [JournalUnavailableError] * 3
    assert recorded(full_journal) == []


def test_relaxed_durability_answers_and_says_that_it_went_unrecorded(
    digits_package: Package, digit_pngs: list[bytes], full_journal: Journal
) -> None:
    """With durability = relaxed a result is returned without a record, and says so."""
    model = load_runnable(digits_package)
    reply = results_of(version_of(model, full_journal.write, durability="relaxed"), [row_of(model, digit_pngs[0])])[0]
    assert reply.recorded is False
    assert reply.answer == digits_package.predict(digit_pngs[0])


def test_full_durability_never_writes_on_the_event_loop(digits_package: Package) -> None:
    """With durability = full even the cheapest batch runs in the thread, since an fsync takes milliseconds."""

    async def run() -> list[bool]:
        model = load_runnable(digits_package)
        return [
            version_of(model, print, durability=durability).batcher.runs_in_thread(1)
            for durability in ("full", "process", "relaxed")
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
    """log_inputs decides which inputs are recorded, separately for certain and uncertain answers; their size always is."""
    model = load_runnable(churn_package)
    certainty = {churn_package.predict(record).uncertain: record for record in churn_records}
    records = [certainty[False], certainty[True]]
    version = version_of(model, journal.write, log_inputs=policy, log_inputs_rate=share)
    results_of(version, [row_of(model, record) for record in records])
    stored = recorded(journal)
    assert [prediction.uncertain for prediction in stored] == [False, True]
    assert tuple(prediction.input is not None for prediction in stored) == kept
    for prediction, record in zip(stored, records, strict=True):
        assert prediction.input_bytes == len(msgspec.json.encode(record))
        assert prediction.input is None or msgspec.json.decode(prediction.input) == record


def test_a_sample_keeps_about_its_share(
    churn_package: Package, journal: Journal, churn_records: list[Any], recorded: Recorded
) -> None:
    """log_inputs = sample records about log_inputs_rate of the inputs."""
    model = load_runnable(churn_package)
    version = version_of(model, journal.write, log_inputs=InputLogging.SAMPLE, log_inputs_rate=0.3, max_batch_size=1000)
    results_of(version, [row_of(model, churn_records[0]) for _ in range(1000)])
    share = sum(prediction.input is not None for prediction in recorded(journal)) / 1000
    assert 0.2 < share < 0.4  # six standard deviations wide


@pytest.mark.parametrize(("make", "number", "failure"), [(shelf, 10.0, ModelError), (root, -1.0, OutputNotFiniteError)])
def test_a_failure_of_the_model_is_recorded_with_its_code(
    make: Any, number: float, failure: Any, journal: Journal, recorded: Recorded
) -> None:
    """A failure of the model, or a score that is not a number, is recorded with the input and without an answer."""
    model = make()
    with pytest.raises(ModelError) as caught:
        results_of(version_of(model, journal.write), [row_of(model, {"number": number})])
    assert type(caught.value) is failure
    stored = recorded(journal)[0]
    assert (stored.error, stored.value, stored.predicted_label, stored.scores) == (failure.code, None, None, b"")
    assert msgspec.json.decode(stored.input or b"") == {"number": number}


def test_a_failure_that_cannot_be_recorded_is_still_the_models(full_journal: Journal) -> None:
    """If both model and journal fail, the caller gets the model's error, which came first."""
    model = shelf()
    with pytest.raises(ModelError):
        results_of(version_of(model, full_journal.write), [row_of(model, {"number": 10.0})])


def test_a_version_keeps_serving_after_a_failure(journal: Journal, recorded: Recorded) -> None:
    """The batch after a failed one is answered and recorded."""
    model = shelf()
    version: list[LoadedVersion] = []

    async def run() -> list[PredictionResult]:
        version.append(version_of(model, journal.write))
        with pytest.raises(ModelError):
            await version[0].submit([row_of(model, {"number": 10.0})])
        return await version[0].submit([row_of(model, {"number": 4.0})])

    assert asyncio.run(run())[0].answer.value == 40.0
    assert [prediction.error for prediction in recorded(journal)] == ["model_failed", None]


def test_one_batch_is_one_write(digits_package: Package, digit_pngs: list[bytes], journal: Journal, recorded: Recorded) -> None:
    """All rows of a batch are committed together, whichever callers sent them."""
    model = load_runnable(digits_package)
    sizes: list[int] = []

    def write(predictions: Sequence[PredictionRecord]) -> None:
        sizes.append(len(predictions))
        journal.write(predictions)

    async def run() -> None:
        version = version_of(model, write)
        await asyncio.gather(*[version.submit([row_of(model, png)]) for png in digit_pngs[:5]])
        await version.drain()

    asyncio.run(run())
    assert sizes == [5]
    assert len({prediction.id for prediction in recorded(journal)}) == 5


@pytest.mark.parametrize(("make", "bad", "good"), [(shelf, 10.0, 4.0), (root, -1.0, 4.0)])
def test_a_hostile_input_fails_no_other_request_of_its_batch(
    make: Any, bad: float, good: float, journal: Journal, recorded: Recorded
) -> None:
    """Of the callers in one batch only the one whose input fails the model gets an error; the others are answered and recorded."""
    model = make()

    async def run() -> list[Any]:
        version = version_of(model, journal.write)
        tickets = [version.submit([row_of(model, {"number": number})]) for number in (good, bad, good)]
        return await asyncio.gather(*tickets, return_exceptions=True)

    first, second, third = asyncio.run(run())
    assert first[0].answer.value == third[0].answer.value == model.predict({"number": good}).value
    assert isinstance(second, ModelError)
    assert sorted(prediction.error or "" for prediction in recorded(journal)) == ["", "", second.code]


@pytest.mark.parametrize("make", [shelf, root])
@pytest.mark.parametrize("bad", [{0}, {3}, {6}, {2, 5}])
def test_the_row_of_a_batch_that_fails_the_model_is_named_and_alone_recorded(
    make: Any, bad: set[int], journal: Journal, recorded: Recorded
) -> None:
    """One caller's rows fail together; the error has the index of the first failing row, and only that row is recorded as failed."""
    model = make()
    rows = [row_of(model, {"number": (10.0 if make is shelf else -1.0) if place in bad else 4.0}) for place in range(7)]
    with pytest.raises(ModelError) as caught:
        results_of(version_of(model, journal.write), rows)
    assert caught.value.facts == {"row": min(bad)}
    assert [(prediction.error, prediction.input) for prediction in recorded(journal)] == [(caught.value.code, rows[min(bad)].input)]


def test_the_row_is_named_by_its_place_in_what_was_sent(journal: Journal) -> None:
    """A slow model takes a request in parts; the index of the failing row is relative to the whole request."""
    model = shelf()
    version = version_of(model, journal.write)
    version.batcher.set_row_cost(0.3)
    with pytest.raises(ModelError) as caught:
        results_of(version, [row_of(model, {"number": number}) for number in (1.0, 2.0, 3.0, 4.0, 99.0)])
    assert caught.value.facts == {"row": 4}
