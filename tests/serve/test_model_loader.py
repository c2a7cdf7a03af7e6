"""The model loader: routed versions are loaded and warmed up first, and no request is lost during a swap."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NoReturn

from tests.support.service import Packages, route_to, within

from relevo.domain.prediction import Arm
from relevo.domain.routing import RouteTarget, TrafficSplit
from relevo.serve.loaded_version import ServingOptions
from relevo.serve.model_loader import ModelLoader
from relevo.serve.service import ModelService, PredictRequest

if TYPE_CHECKING:
    from pathlib import Path

    from relevo.package.package import Package
    from relevo.recording.journal import Journal

NOBODY = PredictRequest(model=None)


def test_a_wanted_version_is_loaded_and_put_in_force(journal: Journal, digits_package: Package, digit_pngs: list[bytes]) -> None:
    """A stored route is in force after one poll, and the result has its version and the arm of its epoch."""

    async def run() -> None:
        service = ModelService()
        packages = Packages(journal, service, one=digits_package)
        packages.routes = [route_to("digits", 1, "one")]
        await packages.watcher.poll()
        reply = await service.predict(NOBODY, digit_pngs[0])
        assert (reply.version, reply.answer.predicted_label) == (1, digits_package.predict(digit_pngs[0]).predicted_label)
        assert service.default_model() == "digits"

    within(run())


def test_polling_unchanged_routes_loads_nothing(journal: Journal, digits_package: Package) -> None:
    """Polling the same routes again causes no load and no swap."""

    async def run() -> None:
        service = ModelService()
        packages = Packages(journal, service, one=digits_package)
        packages.routes = [route_to("digits", 1, "one")]
        for _ in range(3):
            await packages.watcher.poll()
        assert packages.loads == ["one"]
        assert service.swaps == 0

    within(run())


def test_a_store_that_is_away_changes_nothing(journal: Journal, digits_package: Package, digit_pngs: list[bytes]) -> None:
    """While the database is unavailable, every version keeps serving."""

    async def run() -> None:
        service = ModelService()
        packages = Packages(journal, service, one=digits_package)
        packages.routes = [route_to("digits", 1, "one")]
        await packages.watcher.poll()
        packages.away = True
        await packages.watcher.poll()
        assert service.ready() == (True, "")
        assert (await service.predict(NOBODY, digit_pngs[0])).version == 1

    within(run())


def test_a_version_that_cannot_be_loaded_leaves_the_old_one(
    journal: Journal, digits_package: Package, digit_pngs: list[bytes]
) -> None:
    """A failing version is reported with its reason while the old one serves, and is retried later, not at once."""

    async def run() -> None:
        service = ModelService()
        packages = Packages(journal, service, one=digits_package)
        packages.routes = [route_to("digits", 1, "one")]
        await packages.watcher.poll()
        packages.routes = [route_to("digits", 2, "two", epoch=2)]
        await packages.watcher.poll()
        await packages.watcher.poll()
        assert packages.loads == ["one", "two"]
        assert "model.onnx" in service.state("digits").reason
        assert service.state("digits").ready
        assert (await service.predict(NOBODY, digit_pngs[0])).version == 1
        packages.by_digest["two"] = digits_package
        packages.clock += 60
        await packages.watcher.poll()
        assert (await service.predict(NOBODY, digit_pngs[0])).version == 2
        assert service.state("digits").reason == ""

    within(run())


def test_going_back_after_a_failure_clears_it(journal: Journal, digits_package: Package) -> None:
    """Once the alias moves back from a failed version, its failure is no longer reported."""

    async def run() -> None:
        service = ModelService()
        packages = Packages(journal, service, one=digits_package)
        packages.routes = [route_to("digits", 1, "one")]
        await packages.watcher.poll()
        packages.routes = [route_to("digits", 2, "two", epoch=2)]
        await packages.watcher.poll()
        packages.routes = [route_to("digits", 1, "one", epoch=3)]
        await packages.watcher.poll()
        assert service.state("digits").reason == ""

    within(run())


def test_a_version_kept_by_the_new_route_is_not_loaded_again(
    journal: Journal, digits_package: Package, digits_package_2: Package
) -> None:
    """A version in both routes stays with its queue; only the new target is loaded."""

    async def run() -> None:
        service = ModelService()
        packages = Packages(journal, service, one=digits_package, two=digits_package_2)
        packages.routes = [route_to("digits", 1, "one")]
        await packages.watcher.poll()
        before = service.select_version(NOBODY).loaded
        legs = (
            RouteTarget(version=1, digest="one", arm=Arm.CHAMPION, weight=0.5),
            RouteTarget(version=2, digest="two", arm=Arm.CANARY, weight=0.5),
        )
        packages.routes = [TrafficSplit(model="digits", epoch=2, targets=legs, salt="digits")]
        await packages.watcher.poll()
        assert packages.loads == ["one", "two"]
        router = service.router("digits")
        assert router is not None
        assert router.loaded_versions["one"] is before
        await asyncio.sleep(0)  # a version is drained in a task of its own
        assert not before.retired

    within(run())


def test_a_swap_keeps_requests_in_flight(
    journal: Journal, digits_package: Package, digits_package_2: Package, digit_pngs: list[bytes]
) -> None:
    """Requests accepted by the old version are answered by it, while new ones go to the new version."""

    async def run() -> None:
        service = ModelService()
        packages = Packages(journal, service, one=digits_package, two=digits_package_2)
        packages.routes = [route_to("digits", 1, "one")]
        await packages.watcher.poll()
        old = service.select_version(NOBODY).loaded
        old.batcher.set_row_cost(0.1)  # expensive: its batch runs in the thread, so that the swap happens during it
        taken = [asyncio.ensure_future(service.predict(NOBODY, png)) for png in digit_pngs]
        await asyncio.sleep(0)
        packages.routes = [route_to("digits", 2, "two", epoch=2)]
        await packages.watcher.poll()
        fresh = await service.predict(NOBODY, digit_pngs[0])
        assert fresh.version == 2
        replies = await asyncio.gather(*taken)
        assert {reply.version for reply in replies} == {1}
        for reply, png in zip(replies, digit_pngs, strict=True):
            assert reply.answer.predicted_label == digits_package.predict(png).predicted_label
        await asyncio.sleep(0)
        assert old.retired

    within(run())


def test_a_model_that_is_no_longer_wanted_goes(journal: Journal, digits_package: Package, churn_package: Package) -> None:
    """A model without a route is removed from service; the others stay."""

    async def run() -> None:
        service = ModelService()
        packages = Packages(journal, service, one=digits_package, two=churn_package)
        packages.routes = [route_to("digits", 1, "one"), route_to("churn", 1, "two")]
        await packages.watcher.poll()
        assert [state.name for state in service.models()] == ["churn", "digits"]
        packages.routes = [route_to("churn", 1, "two")]
        await packages.watcher.poll()
        assert [state.name for state in service.models()] == ["churn"]

    within(run())


def test_one_broken_model_does_not_stop_the_others(journal: Journal, churn_package: Package) -> None:
    """A model whose package is missing is reported; the models after it are loaded anyway."""

    async def run() -> None:
        service = ModelService()
        packages = Packages(journal, service, two=churn_package)
        packages.routes = [route_to("digits", 1, "one"), route_to("churn", 1, "two")]
        await packages.watcher.poll()
        assert [(state.name, state.ready) for state in service.models()] == [("churn", True), ("digits", False)]

    within(run())


def test_why_a_version_is_not_loaded_names_no_place(journal: Journal, tmp_path: Path) -> None:
    """A package whose file cannot be read is reported with the system's message, without its path."""

    def load(_leg: RouteTarget) -> NoReturn:
        (tmp_path / "packages" / "model.onnx").read_bytes()
        raise AssertionError

    async def run() -> None:
        service = ModelService()
        watcher = ModelLoader(
            service, routes=lambda: [route_to("digits", 1, "one")], load=load, write=journal.write, options=ServingOptions()
        )
        await watcher.poll()
        assert service.state("digits").reason == "its package cannot be read (No such file or directory)"

    within(run())
