"""The service: selects the version, says why none is ready, and answers a batch like single records."""

from __future__ import annotations

import asyncio
import io
import random
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from tests.support.service import install, route_to, within
from tests.support.small_models import root, shelf

from relevo.errors import (
    ClientDisconnectedError,
    JournalUnavailableError,
    MissingFieldError,
    ModelNotFoundError,
    NotReadyError,
    OverloadedError,
    ShuttingDownError,
    TooManyRecordsError,
)
from relevo.package.package import load_runnable
from relevo.serve.loaded_version import LoadedVersion, ServingOptions
from relevo.serve.router import Router
from relevo.serve.service import ModelService, PredictRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from relevo.domain.decision import DecisionResult
    from relevo.domain.prediction import PredictionRecord
    from relevo.package.package import Package
    from relevo.recording.journal import Journal

    Recorded = Callable[[Journal], list[PredictionRecord]]

NOBODY = PredictRequest(model=None)


def trouble(journal: Journal) -> str:
    return "" if journal.is_writable() else journal.error


def same(first: DecisionResult, second: DecisionResult, tolerance: float) -> bool:
    """Whether two answers agree: labels exactly, numbers within the tolerance of the package."""
    near = np.allclose(first.probabilities, second.probabilities, rtol=0, atol=tolerance)
    return bool(near) and (first.predicted_label, first.index, first.uncertain) == (
        second.predicted_label,
        second.index,
        second.uncertain,
    )


def test_an_unknown_model_is_named(journal: Journal) -> None:
    """An unregistered model is not found, by name, truncated if it is very long."""

    async def run() -> None:
        service = ModelService()
        install(service, shelf(), journal)
        with pytest.raises(ModelNotFoundError, match="'chrun'"):
            await service.predict(PredictRequest(model="chrun"), {"number": 1})
        with pytest.raises(ModelNotFoundError) as caught:
            await service.predict(PredictRequest(model="x" * 1000), {"number": 1})
        assert len(str(caught.value.facts["model"])) == 64

    within(run())


def test_a_request_without_a_model_uses_the_default_model(journal: Journal) -> None:
    """default_model answers; without the setting the model registered first, even if it is not the first by name."""

    async def run() -> list[str]:
        results = []
        for named in ("", "root"):
            service = ModelService(default_model=named)
            install(service, root(), journal)
            install(service, shelf(), journal)
            service.desired_models = ("shelf", "root")
            results.append((await service.predict(NOBODY, {"number": 4})).model)
        return results

    assert within(run()) == ["shelf", "root"]


def test_another_model_never_answers_for_the_default_one(journal: Journal) -> None:
    """If the default model could not be loaded, /predict fails with the reason; another model's answer would be wrong."""

    async def run() -> None:
        service = ModelService()
        install(service, root(), journal)
        service.desired_models = ("shelf", "root")
        service.report_failure("shelf", "its package lacks model.onnx")
        with pytest.raises(NotReadyError, match=r"lacks model\.onnx"):
            await service.predict(NOBODY, {"number": 4})
        assert service.ready() == (False, "The model is not loaded: its package lacks model.onnx.")

    within(run())


def test_a_server_without_models_is_not_ready() -> None:
    """A server without models is not ready and says how to register one."""

    async def run() -> None:
        service = ModelService()
        assert service.ready()[0] is False
        with pytest.raises(NotReadyError, match="relevo import"):
            await service.predict(NOBODY, {"number": 1})

    within(run())


def test_readiness_tells_the_truth_about_recording(full_journal: Journal, journal: Journal) -> None:
    """A service whose journal rejects writes is not ready and says why; one whose journal works is ready."""

    async def run() -> list[tuple[bool, str]]:
        results = []
        for target in (full_journal, journal):
            service = ModelService(journal_trouble=partial(trouble, target))
            install(service, shelf(), target)
            results.append(service.ready())
        return results

    stuck, well = within(run())
    assert stuck[0] is False
    assert "spool_max_mb" in stuck[1]
    assert well == (True, "")


def test_draining_refuses_new_work_and_ends_what_was_taken(journal: Journal) -> None:
    """While it stops, the service finishes accepted requests and rejects new ones, and readiness says so."""

    async def run() -> None:
        service = ModelService()
        install(service, shelf(), journal)
        taken = asyncio.ensure_future(service.predict(NOBODY, {"number": 3}))
        await asyncio.sleep(0)
        await service.drain()
        assert (await taken).answer.value == 30.0
        assert service.ready() == (False, "the server is stopping")
        with pytest.raises(ShuttingDownError):
            await service.predict(NOBODY, {"number": 3})

    within(run())


def test_too_many_records_are_refused_before_any_is_looked_at(journal: Journal, recorded: Recorded) -> None:
    """A batch above max_records_per_request is rejected; one at the limit is answered; an empty one gives an empty result."""

    async def run() -> None:
        service = ModelService(max_records_per_request=3)
        install(service, shelf(), journal)
        with pytest.raises(TooManyRecordsError):
            await service.predict_many(NOBODY, [{"number": 1}] * 4)
        assert await service.predict_many(NOBODY, []) == []
        assert len(await service.predict_many(NOBODY, [{"number": 1}] * 3)) == 3

    within(run())
    assert len(recorded(journal)) == 3


def test_one_bad_record_refuses_the_batch_before_anything_is_recorded(journal: Journal, recorded: Recorded) -> None:
    """A batch with one invalid record is rejected, and none of it is recorded."""

    async def run() -> None:
        service = ModelService()
        install(service, shelf(), journal)
        with pytest.raises(MissingFieldError):
            await service.predict_many(NOBODY, [{"number": 1}, {}, {"number": 2}])

    within(run())
    assert recorded(journal) == []


def test_the_queue_has_a_bound(journal: Journal) -> None:
    """max_queue_size limits the waiting rows; a request beyond it is rejected with that reason."""

    async def run() -> None:
        service = ModelService()
        install(service, shelf(), journal, max_queue_size=2)
        futures = [asyncio.ensure_future(service.predict(NOBODY, {"number": 1})) for _ in range(3)]
        results = await asyncio.gather(*futures, return_exceptions=True)
        assert [type(result).__name__ for result in results] == ["PredictionResult", "PredictionResult", OverloadedError.__name__]

    within(run())


def test_the_model_sees_at_most_max_batch_size_at_once(journal: Journal) -> None:
    """max_batch_size limits the rows of one run that several callers share."""

    async def run() -> int:
        service = ModelService()
        loaded = install(service, shelf(), journal, max_batch_size=4)
        await asyncio.gather(*[service.predict(NOBODY, {"number": 1}) for _ in range(20)])
        return loaded.batches

    assert within(run()) == 5


def test_nothing_is_answered_while_nothing_can_be_recorded(full_journal: Journal) -> None:
    """Without a working journal a request is rejected with the reason."""

    async def run() -> None:
        service = ModelService()
        install(service, shelf(), full_journal)
        with pytest.raises(JournalUnavailableError, match="spool_max_mb"):
            await service.predict(NOBODY, {"number": 1})

    within(run())


def test_records_in_a_batch_are_answered_as_one_by_one(churn_package: Package, journal: Journal, churn_records: list[Any]) -> None:
    """A batch of N records gives the N answers that the package gives for single records, in order."""

    async def run() -> list[DecisionResult]:
        service = ModelService()
        install(service, load_runnable(churn_package), journal, max_batch_size=1000)
        return [reply.answer for reply in await service.predict_many(NOBODY, churn_records)]

    tolerance = churn_package.manifest.golden_tolerance
    for together, record in zip(within(run()), churn_records, strict=True):
        assert same(together, churn_package.predict(record), tolerance)


def test_pictures_of_many_callers_are_answered_as_alone(digits_package: Package, journal: Journal, digit_pngs: list[bytes]) -> None:
    """Images that share a batch with those of other callers get the same answers as alone."""

    async def run() -> tuple[list[DecisionResult], int]:
        service = ModelService()
        loaded = install(service, load_runnable(digits_package), journal)
        replies = await asyncio.gather(*[service.predict(NOBODY, png) for png in digit_pngs])
        return [reply.answer for reply in replies], loaded.batches

    answers, batches = within(run())
    assert batches < len(digit_pngs)
    tolerance = digits_package.manifest.golden_tolerance
    for together, png in zip(answers, digit_pngs, strict=True):
        assert same(together, digits_package.predict(png), tolerance)


def test_batches_of_all_sizes_do_not_mix(churn_package: Package, journal: Journal, churn_records: list[Any]) -> None:
    """Batches and single records of many callers, some of which disconnect: each remaining one gets exactly its own results."""
    draw = random.Random(3)  # noqa: S311 - a shuffle, no secret
    alone = [churn_package.predict(record) for record in churn_records]
    tolerance = churn_package.manifest.golden_tolerance

    async def caller(service: ModelService, places: list[int]) -> None:
        replies = await service.predict_many(NOBODY, [churn_records[place] for place in places])
        for place, reply in zip(places, replies, strict=True):
            assert same(reply.answer, alone[place], tolerance)

    async def run() -> None:
        service = ModelService()
        install(service, load_runnable(churn_package), journal, max_batch_size=16, max_queue_size=100_000)
        callers = []
        for _ in range(200):
            callers.append(asyncio.ensure_future(caller(service, draw.choices(range(100), k=draw.randint(1, 9)))))
            if draw.random() < 0.2:
                await asyncio.sleep(0)
                draw.choice(callers).cancel()
        for result in await asyncio.gather(*callers, return_exceptions=True):
            assert result is None or isinstance(result, asyncio.CancelledError)

    within(run())


def test_a_swap_while_a_large_image_is_decoded_fails_no_request(digits_package: Package, journal: Journal) -> None:
    """A request whose image is still being decoded when its version is replaced is answered by the new version."""
    noise = np.random.default_rng(1).integers(0, 256, (1500, 1500), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")

    async def run() -> int:
        service = ModelService()
        model = load_runnable(digits_package)
        old = install(service, model, journal, version=1)
        future = asyncio.ensure_future(service.predict(NOBODY, file.getvalue()))
        await asyncio.sleep(0)
        install(service, model, journal, version=2)
        await old.drain()
        assert not future.done()
        return (await future).version

    assert within(run()) == 2


def test_a_disconnect_removes_rows_waiting_for_a_slow_model(journal: Journal, recorded: Recorded) -> None:
    """If the model is slow, rows whose caller disconnects before their turn never reach it."""

    async def run() -> None:
        service = ModelService()
        loaded = install(service, shelf(), journal)
        loaded.batcher.set_row_cost(1.0)
        gone = asyncio.Event()
        first = asyncio.ensure_future(service.predict(NOBODY, {"number": 1}))
        left = asyncio.ensure_future(service.predict(NOBODY, {"number": 2}, gone=gone.wait))
        await asyncio.sleep(0)
        gone.set()
        await asyncio.gather(first, left, return_exceptions=True)
        # The second joined the first's batch or was cancelled; a third that disconnects before the dispatch is certain.
        busy = asyncio.ensure_future(service.predict(NOBODY, {"number": 3}))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        third = asyncio.ensure_future(service.predict(NOBODY, {"number": 9}, gone=gone.wait))
        with pytest.raises(ClientDisconnectedError):
            await third
        await busy

    within(run())
    assert b'{"number":9}' not in [item.input for item in recorded(journal)]


def test_the_state_of_every_model_is_reported(journal: Journal) -> None:
    """The states of a loaded model, of one that failed to load, and of an unknown one differ."""

    async def run() -> None:
        service = ModelService()
        install(service, shelf(), journal, version=5)
        service.report_failure("root", "it was cut off")
        assert [(item.name, item.version, item.ready, item.reason) for item in service.models()] == [
            ("root", None, False, "it was cut off"),
            ("shelf", 5, True, ""),
        ]
        assert service.state("nobody").ready is False

    within(run())


def test_a_swap_is_counted_and_a_first_version_is_none(journal: Journal) -> None:
    """Replacing a version counts as a swap and returns the old router; the first version replaces none."""

    async def run() -> None:
        service = ModelService()
        loaded_versions = {
            str(number): LoadedVersion(
                model=shelf(), version=number, digest=str(number), write=journal.write, options=ServingOptions()
            )
            for number in (1, 2)
        }
        first = Router(route_to("shelf", 1, "1"), loaded_versions)
        assert service.set_route(first) is None
        assert service.swaps == 0
        assert service.set_route(Router(route_to("shelf", 2, "2"), loaded_versions)) is first
        assert service.swaps == 1

    within(run())
