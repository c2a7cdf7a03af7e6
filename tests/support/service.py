"""A service with real loaded versions and a real journal, inside one event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from relevo.domain.prediction import Arm
from relevo.domain.routing import RouteTarget, TrafficSplit
from relevo.errors import DatabaseUnavailableError, MissingFileError
from relevo.package.package import load_runnable
from relevo.serve.loaded_version import LoadedVersion, ServingOptions
from relevo.serve.model_loader import ModelLoader, WarmModel
from relevo.serve.router import Router

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from relevo.package.package import Package
    from relevo.recording.journal import Journal
    from relevo.runtime.model import RunnableModel
    from relevo.serve.service import ModelService

T = TypeVar("T")
#: Seconds within which everything must have settled.
SOON = 10.0


def within(work: Coroutine[Any, Any, T]) -> T:
    """What a coroutine gives, in a loop of its own; fails when it hangs."""

    async def limited() -> T:
        async with asyncio.timeout(SOON):
            return await work

    return asyncio.run(limited())


def route_to(model: str, version: int, digest: str, *, epoch: int = 1) -> TrafficSplit:
    """One champion for a model."""
    return TrafficSplit(
        model=model, epoch=epoch, targets=(RouteTarget(version=version, digest=digest, arm=Arm.CHAMPION, weight=1.0),), salt=model
    )


def install(service: ModelService, model: RunnableModel, journal: Journal, *, version: int = 1, **options: Any) -> LoadedVersion:
    """Put one version in force as champion; needs a running event loop."""
    loaded = LoadedVersion(
        model=model, version=version, digest=str(version), write=journal.write, options=ServingOptions(**options)
    )
    service.set_route(Router(route_to(model.manifest.name, version, str(version)), {str(version): loaded}))
    return loaded


class Packages:
    """Stands where the store's shelf does: routes and packages as a test says them; lives as long as the test."""

    def __init__(self, journal: Journal, service: ModelService, **by_digest: Package) -> None:
        self.by_digest = by_digest
        self.routes: list[TrafficSplit] = []
        self.away = False
        self.loads: list[str] = []
        self.clock = 0.0
        self.watcher = ModelLoader(
            service,
            routes=self._routes,
            load=self._load,
            write=journal.write,
            options=ServingOptions(),
            monotonic=lambda: self.clock,
        )

    def _routes(self) -> list[TrafficSplit]:
        if self.away:
            raise DatabaseUnavailableError
        return self.routes

    def _load(self, leg: RouteTarget) -> WarmModel:
        self.loads.append(leg.digest)
        if leg.digest not in self.by_digest:
            raise MissingFileError(path="model.onnx")
        return WarmModel(model=load_runnable(self.by_digest[leg.digest]), row_cost_s=0.0001)
