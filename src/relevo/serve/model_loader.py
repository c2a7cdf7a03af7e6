"""Follows the stored routes: what the store wants is loaded, warmed, and only then put in force.

    routes() ─ changed? ─► load + golden replay + warm-up, on a thread ─► install ─► the replaced lanes end their tickets and go
        └─ store away ─► everything stays as it is

A version that cannot be loaded is reported and tried again later; the old one serves on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relevo.errors import DatabaseUnavailableError, RelevoError
from relevo.serve.loaded_version import LoadedVersion
from relevo.serve.router import Router
from relevo.util.files import read_error_text

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence

    from relevo.domain.prediction import PredictionRecord
    from relevo.domain.routing import RouteTarget, TrafficSplit
    from relevo.runtime.model import RunnableModel
    from relevo.serve.loaded_version import ServingOptions
    from relevo.serve.service import ModelService

log = logging.getLogger(__name__)

#: Seconds before a version that failed to load is tried again.
_TRY_AGAIN_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmModel:
    """A version that has replayed its golden examples, and what a row costs it."""

    model: RunnableModel
    row_cost_s: float


class ModelLoader:
    """Keeps a worker's lanes as the stored routes say; lives as long as the worker."""

    def __init__(
        self,
        service: ModelService,
        *,
        routes: Callable[[], Sequence[TrafficSplit]],
        load: Callable[[RouteTarget], WarmModel],
        write: Callable[[Sequence[PredictionRecord]], None],
        options: ServingOptions,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """routes: what the store wants, may raise DatabaseUnavailableError. load: opens, verifies, replays; may raise RelevoError."""
        self._service = service
        self._routes = routes
        self._load = load
        self._write = write
        self._options = options
        self._monotonic = monotonic
        self._failed: dict[str, tuple[TrafficSplit, float]] = {}
        self._away = False
        self._retiring: set[asyncio.Task[None]] = set()

    async def run(self, every_s: float) -> None:
        """Look for ever."""
        while True:
            await self.look()
            await asyncio.sleep(every_s)

    async def look(self) -> None:
        """One look at the routes; brings each model to what is wanted."""
        try:
            routes = await asyncio.to_thread(self._routes)
        except DatabaseUnavailableError as cause:
            self._tell_away(str(cause))
            return
        self._tell_away("")
        self._service.wanted = tuple(route.model for route in routes)
        for route in routes:
            if self._is_news(route):
                await self._bring(route)
        wanted = {route.model for route in routes}
        for state in self._service.models():
            if state.name not in wanted:
                self._retire(self._service.remove(state.name), keep=())

    def _tell_away(self, away: str) -> None:
        """One line when the store goes away, saying why, and one when it is back, however long it takes."""
        self._service.store_trouble = away
        if away and not self._away:
            log.warning("routes stay as they are: %s", away, extra={"action": "routes_kept"})
        elif self._away and not away:
            log.warning("the store answers again", extra={"action": "store_back"})
        self._away = bool(away)

    def _is_news(self, route: TrafficSplit) -> bool:
        router = self._service.router(route.model)
        if router is not None and router.route == route:
            return False
        failed = self._failed.get(route.model)
        return failed is None or failed[0] != route or self._monotonic() >= failed[1]

    async def _bring(self, route: TrafficSplit) -> None:
        before = self._service.router(route.model)
        kept = dict(before.lanes) if before is not None else {}
        try:
            lanes = {leg.digest: kept.get(leg.digest) or await self._lane(leg) for leg in route.legs}
        except (RelevoError, OSError, MemoryError) as cause:
            log.error(  # noqa: TRY400 - the sentence says it all; a trace would not
                "version not loaded: %s", cause, extra={"action": "load_failed", "model": route.model, "epoch": route.epoch}
            )
            self._failed[route.model] = (route, self._monotonic() + _TRY_AGAIN_S)
            self._service.report_failure(route.model, _why(cause))
            return
        self._failed.pop(route.model, None)
        self._retire(self._service.install(Router(route, lanes)), keep=lanes.keys())
        log.info("route in force", extra={"action": "swapped", "model": route.model, "epoch": route.epoch})

    async def _lane(self, leg: RouteTarget) -> LoadedVersion:
        loaded = await asyncio.to_thread(self._load, leg)
        lane = LoadedVersion(model=loaded.model, version=leg.version, digest=leg.digest, write=self._write, options=self._options)
        lane.batcher.expect(loaded.row_cost_s)
        return lane

    def _retire(self, router: Router | None, *, keep: Container[str]) -> None:
        if router is None:
            return
        for digest, lane in router.lanes.items():
            if digest not in keep:
                # The loop keeps only weak references to tasks.
                task = asyncio.ensure_future(lane.retire())
                self._retiring.add(task)
                task.add_done_callback(self._retiring.discard)


def _why(cause: Exception) -> str:
    """Why a version was not loaded, as callers may hear it: where its files lie is for the log."""
    if isinstance(cause, MemoryError):
        return "there is not enough memory for it"
    if isinstance(cause, OSError):
        return f"its package cannot be read ({read_error_text(cause)})"
    return str(cause)
