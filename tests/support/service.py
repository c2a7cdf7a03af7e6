"""A service with real lanes and a real journal, inside one event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from relevo.domain.prediction import Arm
from relevo.domain.routing import Leg, Route
from relevo.errors import FileMissing, StoreUnavailable
from relevo.package.package import load_runnable
from relevo.serve.loaded_version import Lane, LaneOptions
from relevo.serve.model_loader import Loaded, Watcher
from relevo.serve.router import Router

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from relevo.package.package import Package
    from relevo.recording.journal import Journal
    from relevo.runtime.model import RunnableModel
    from relevo.serve.service import Service

T = TypeVar("T")
#: Seconds within which everything must have settled.
SOON = 10.0


def within(work: Coroutine[Any, Any, T]) -> T:
    """What a coroutine gives, in a loop of its own; fails when it hangs."""

    async def limited() -> T:
        async with asyncio.timeout(SOON):
            return await work

    return asyncio.run(limited())


def route_to(model: str, version: int, digest: str, *, epoch: int = 1) -> Route:
    """One champion for a model."""
    return Route(model=model, epoch=epoch, legs=(Leg(version=version, digest=digest, arm=Arm.CHAMPION, weight=1.0),), salt=model)


def install(service: Service, model: RunnableModel, journal: Journal, *, version: int = 1, **options: Any) -> Lane:
    """Put one version in force as champion; needs a running event loop."""
    lane = Lane(model=model, version=version, digest=str(version), write=journal.write, options=LaneOptions(**options))
    service.install(Router(route_to(model.manifest.name, version, str(version)), {str(version): lane}))
    return lane


class Packages:
    """Stands where the store's shelf does: routes and packages as a test says them; lives as long as the test."""

    def __init__(self, journal: Journal, service: Service, **by_digest: Package) -> None:
        self.by_digest = by_digest
        self.routes: list[Route] = []
        self.away = False
        self.loads: list[str] = []
        self.clock = 0.0
        self.watcher = Watcher(
            service,
            routes=self._routes,
            load=self._load,
            write=journal.write,
            options=LaneOptions(),
            monotonic=lambda: self.clock,
        )

    def _routes(self) -> list[Route]:
        if self.away:
            raise StoreUnavailable
        return self.routes

    def _load(self, leg: Leg) -> Loaded:
        self.loads.append(leg.digest)
        if leg.digest not in self.by_digest:
            raise FileMissing(path="model.onnx")
        return Loaded(model=load_runnable(self.by_digest[leg.digest]), row_cost_s=0.0001)
