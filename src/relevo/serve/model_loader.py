"""Polls the stored routes: loads and warms up new versions, then swaps them in.

    routes() ─ changed? ─► load + golden replay + warm-up, in a thread ─► install ─► the replaced versions finish their requests
        └─ database unavailable ─► the routes in force stay

A version that cannot be loaded is reported and retried later; the previous one keeps serving.
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

#: Seconds until a version that failed to load is retried.
_RETRY_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmModel:
    """A version that has replayed its golden examples, with the cost of a row."""

    model: RunnableModel
    row_cost_s: float


class ModelLoader:
    """Keeps the loaded versions of a worker in line with the stored routes. Lifetime: the worker."""

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
        """routes: the stored routes; may raise DatabaseUnavailableError. load: opens, verifies, replays; may raise RelevoError."""
        self._service = service
        self._routes = routes
        self._load = load
        self._write = write
        self._options = options
        self._monotonic = monotonic
        self._failed: dict[str, tuple[TrafficSplit, float]] = {}
        self._unavailable = False
        self._retiring: set[asyncio.Task[None]] = set()

    async def run(self, every_s: float) -> None:
        """Poll forever."""
        while True:
            await self.poll()
            await asyncio.sleep(every_s)

    async def poll(self) -> None:
        """Read the routes once, and load, swap or remove models accordingly."""
        try:
            routes = await asyncio.to_thread(self._routes)
        except DatabaseUnavailableError as cause:
            self._log_store_state(str(cause))
            return
        self._log_store_state("")
        self._service.desired_models = tuple(route.model for route in routes)
        for route in routes:
            if self._has_changed(route):
                await self._load_route(route)
        routed = {route.model for route in routes}
        for state in self._service.models():
            if state.name not in routed:
                self._retire(self._service.remove_model(state.name), keep=())

    def _log_store_state(self, problem: str) -> None:
        """Log once when the database becomes unavailable, with the reason, and once when it is available again."""
        self._service.store_trouble = problem
        if problem and not self._unavailable:
            log.warning("routes stay as they are: %s", problem, extra={"action": "routes_kept"})
        elif self._unavailable and not problem:
            log.warning("the store answers again", extra={"action": "store_back"})
        self._unavailable = bool(problem)

    def _has_changed(self, route: TrafficSplit) -> bool:
        router = self._service.router(route.model)
        if router is not None and router.route == route:
            return False
        failed = self._failed.get(route.model)
        return failed is None or failed[0] != route or self._monotonic() >= failed[1]

    async def _load_route(self, route: TrafficSplit) -> None:
        previous = self._service.router(route.model)
        loaded_before = dict(previous.loaded_versions) if previous is not None else {}
        try:
            versions = {
                target.digest: loaded_before.get(target.digest) or await self._load_version(target) for target in route.targets
            }
        except (RelevoError, OSError, MemoryError) as cause:
            log.error(  # noqa: TRY400 - the message is complete; a traceback adds nothing
                "version not loaded: %s", cause, extra={"action": "load_failed", "model": route.model, "epoch": route.epoch}
            )
            self._failed[route.model] = (route, self._monotonic() + _RETRY_S)
            self._service.report_failure(route.model, _failure_reason(cause))
            return
        self._failed.pop(route.model, None)
        self._retire(self._service.set_route(Router(route, versions)), keep=versions.keys())
        log.info("route in force", extra={"action": "swapped", "model": route.model, "epoch": route.epoch})

    async def _load_version(self, target: RouteTarget) -> LoadedVersion:
        warm = await asyncio.to_thread(self._load, target)
        version = LoadedVersion(
            model=warm.model, version=target.version, digest=target.digest, write=self._write, options=self._options
        )
        version.batcher.set_row_cost(warm.row_cost_s)
        return version

    def _retire(self, router: Router | None, *, keep: Container[str]) -> None:
        if router is None:
            return
        for digest, version in router.loaded_versions.items():
            if digest not in keep:
                # The event loop keeps only weak references to tasks.
                task = asyncio.ensure_future(version.drain())
                self._retiring.add(task)
                task.add_done_callback(self._retiring.discard)


def _failure_reason(cause: Exception) -> str:
    """Reason for clients why a version was not loaded; the paths of its files are only logged."""
    if isinstance(cause, MemoryError):
        return "there is not enough memory for it"
    if isinstance(cause, OSError):
        return f"its package cannot be read ({read_error_text(cause)})"
    return str(cause)
