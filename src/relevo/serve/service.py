"""Handles prediction requests: selects the version, prepares the input, waits for the recorded prediction.

    predict(request, payload) ─ router.pick ─► version ─ prepare ─► PendingRow ─ version.ask ─► PredictionResult
    predict_many              the same for a batch: one pending request, one result per record

Small inputs are prepared on the event loop; a large image is decoded in a thread, one at a time, because it takes much time and
memory.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from relevo.domain.prediction import InputKind
from relevo.domain.signature import ImageInput
from relevo.errors import (
    ClientDisconnectedError,
    InvalidInputError,
    ModelError,
    ModelNotFoundError,
    NotReadyError,
    ShuttingDownError,
    TooManyRecordsError,
)
from relevo.runtime.image import is_expensive
from relevo.serve.byte_budget import ByteBudget
from relevo.serve.loaded_version import PendingRow, PredictionResult

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from relevo.domain.manifest import Manifest
    from relevo.runtime.record_encoder import Remark
    from relevo.serve.loaded_version import LoadedVersion
    from relevo.serve.router import RouteChoice, Router

    WaitDisconnect = Callable[[], Awaitable[object]]

#: Large images that a worker decodes at the same time.
_DECODE_THREADS = 1
#: Seconds of preparing the rows of one batch after which the event loop handles other requests.
_YIELD_AFTER_S = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelState:
    """State of one model in this worker."""

    name: str
    version: int | None
    manifest: Manifest | None
    ready: bool
    reason: str


class PredictRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A parsed prediction request. Lifetime: the request."""

    model: str | None
    key: bytes = b""  # routing key that keeps a caller on one arm
    caller: str = ""  # identity for fair queueing: a key, a user, an address
    subject: str | None = None
    requested_by: str | None = None
    begun_ns: int = msgspec.field(default_factory=time.perf_counter_ns)


class ModelService:
    """All models of one worker. Lifetime: the worker."""

    def __init__(
        self, *, default_model: str = "", max_records_per_request: int = 1000, journal_trouble: Callable[[], str] = str
    ) -> None:
        """default_model: used if a request names no model; empty: the first of `wanted`.

        journal_trouble: returns why recording is impossible; empty if it is possible.
        """
        self._default = default_model
        self._max_records_per_request = max_records_per_request
        self._journal_problem = journal_trouble
        self._routers: dict[str, Router] = {}
        self._failures: dict[str, str] = {}
        self._synonyms: dict[str, str] = {}
        self._encode = msgspec.json.Encoder().encode
        self._decode_executor = ThreadPoolExecutor(max_workers=_DECODE_THREADS, thread_name_prefix="decode")
        #: Names of the models in the stored routes, in the order of registration; set by the model loader.
        self.desired_models: tuple[str, ...] = ()
        #: Why the stored routes cannot be read; empty if they can.
        self.store_trouble = ""
        #: Shared with the code that reads request bodies.
        self.byte_budget = ByteBudget()
        self.draining = False
        self.swaps = 0

    # --- called by the model loader -----------------------------------------------------------------------------------

    def set_route(self, router: Router) -> Router | None:
        """Put a loaded route in force; returns the one it replaces."""
        name = router.route.model
        previous = self._routers.get(name)
        self._routers[name] = router
        self._failures.pop(name, None)
        if previous is not None:
            self.swaps += 1
        self._index_synonyms()
        return previous

    def remove_model(self, name: str) -> Router | None:
        """Take a model out of service; returns its route."""
        self._failures.pop(name, None)
        removed = self._routers.pop(name, None)
        self._index_synonyms()
        return removed

    def _index_synonyms(self) -> None:
        """Index the synonyms; a synonym of two models is ambiguous and names neither."""
        owners: dict[str, set[str]] = {}
        for name, router in self._routers.items():
            for synonym in {*router.route.synonyms, *router.choose(b"").loaded.manifest.synonyms}:
                owners.setdefault(synonym, set()).add(name)
        self._synonyms = {synonym: min(names) for synonym, names in owners.items() if len(names) == 1}

    def report_failure(self, name: str, reason: str) -> None:
        """Report why a stored version could not be loaded; a previous one, if any, keeps serving."""
        self._failures[name] = reason

    def named(self, name: str) -> str:
        """Resolves a model name or an unambiguous synonym; any other name is returned unchanged."""
        if name in self._routers or name in self._failures:
            return name
        return self._synonyms.get(name) or name

    def router(self, name: str) -> Router | None:
        """The route in force for a model."""
        return self._routers.get(name)

    # --- called for a request -------------------------------------------------------------------------------------------

    def select_version(self, request: PredictRequest) -> RouteChoice:
        """The version that will answer. Raises ModelNotFoundError, NotReadyError, ShuttingDownError."""
        if self.draining:
            raise ShuttingDownError
        name = request.model or self.default_model()
        router = self._routers.get(name) if name else None
        if router is None:
            raise self._unavailable_error(name)
        return router.choose(request.key)

    async def predict(
        self, request: PredictRequest, payload: bytes | Mapping[str, Any], *, gone: WaitDisconnect | None = None
    ) -> PredictionResult:
        """Predict for one image (its bytes) or one record, and record it.

        gone: completes when the client disconnects; awaited only if the model is slow enough for that to matter.
        Raises subclasses of InvalidInputError and UnavailableError, and ModelError.
        """
        choice = self.select_version(request)
        if isinstance(payload, bytes):
            row = await self._prepare_image(choice.loaded, payload)
            if choice.loaded.retired:
                # Race: swapped while the image was decoded; the row was prepared for the old version and may not fit the new one.
                return await self.predict(request, payload, gone=gone)
            pending = _pending_row(request, choice, row, InputKind.IMAGE, payload)
        else:
            pending = self._prepare_record(request, choice, payload)
        return (await _await_results(choice.loaded, (pending,), request.caller, gone))[0]

    def submit(self, request: PredictRequest, payload: bytes | Mapping[str, Any]) -> asyncio.Future[list[PredictionResult]] | None:
        """Like `predict`, but without a task; None for a large image, which is decoded in a thread.

        Cancel the future when the client disconnects. Raises like `predict`.
        """
        choice = self.select_version(request)
        loaded = choice.loaded
        if isinstance(payload, bytes):
            if is_expensive(payload):
                return None
            pending = _pending_row(request, choice, loaded.model.preprocess(payload), InputKind.IMAGE, payload)
        else:
            pending = self._prepare_record(request, choice, payload)
        return loaded.submit((pending,), request.caller)

    async def predict_many(
        self, request: PredictRequest, records: Sequence[Mapping[str, Any]], *, gone: WaitDisconnect | None = None
    ) -> list[PredictionResult]:
        """Predict for a batch of records, in order; one invalid record rejects the batch before anything is recorded.

        The error for an invalid record, or for a record on which the model fails, has the index of its row.
        """
        choice = self.select_version(request)
        if len(records) > self._max_records_per_request:
            raise TooManyRecordsError(rows=len(records), limit=self._max_records_per_request)
        if not records:
            return []
        pending, turn_start = [], time.perf_counter()
        for index, record in enumerate(records):
            try:
                pending.append(self._prepare_record(request, choice, record))
            except InvalidInputError as error:
                # The client needs to know which row to correct.
                error.facts["row"] = index
                raise
            if time.perf_counter() - turn_start > _YIELD_AFTER_S:
                # Other requests are served between the rows of a large batch.
                await asyncio.sleep(0)
                turn_start = time.perf_counter()
        if choice.loaded.retired:
            # Race: swapped meanwhile; the rows were prepared for the old version and may not fit the new one.
            return await self.predict_many(request, records, gone=gone)
        try:
            return await _await_results(choice.loaded, pending, request.caller, gone)
        except ModelError as error:
            if len(pending) == 1:
                error.facts["row"] = 0
            raise

    def _prepare_record(self, request: PredictRequest, choice: RouteChoice, record: Mapping[str, Any]) -> PendingRow:
        """Prepares one record. Raises subclasses of InvalidInputError."""
        model = choice.loaded.model
        row = model.preprocess(record)
        return _pending_row(request, choice, row, InputKind.RECORD, self._encode(record), model.remarks(record))

    async def _prepare_image(self, loaded: LoadedVersion, payload: bytes) -> Any:
        if is_expensive(payload) and isinstance(loaded.manifest.input, ImageInput):
            with self.byte_budget.reserve(len(payload)):
                return await asyncio.get_running_loop().run_in_executor(self._decode_executor, loaded.model.preprocess, payload)
        return loaded.model.preprocess(payload)

    def _unavailable_error(self, name: str | None) -> ModelNotFoundError | NotReadyError:
        if name is None:
            reason = next(iter(self._failures.values()), "no model is registered yet; `relevo train` or `relevo import` makes one")
            return NotReadyError(reason=reason)
        if name in self._failures:
            return NotReadyError(reason=self._failures[name])
        return ModelNotFoundError(model=name[:64])

    # --- status -----------------------------------------------------------------------------------------------------------

    def default_model(self) -> str | None:
        """The model used if a request names none. Also if it could not be loaded: another model's answer would be wrong."""
        return self._default or next(iter(self.desired_models), None) or min(self._routers, default=None)

    def models(self) -> list[ModelState]:
        """State of every model known to this worker, by name."""
        return [self.state(name) for name in sorted(self._routers.keys() | self._failures.keys())]

    def state(self, name: str) -> ModelState:
        """State of the model with that name; an unknown model is not ready."""
        router = self._routers.get(name)
        reason = self._failures.get(name, "")
        if router is None:
            return ModelState(name=name, version=None, manifest=None, ready=False, reason=reason)
        loaded = router.choose(b"").loaded
        return ModelState(name=name, version=loaded.version, manifest=loaded.manifest, ready=True, reason=reason)

    def ready(self) -> tuple[bool, str]:
        """Whether a request would be answered now, and if not, why."""
        if self.draining:
            return False, "the server is stopping"
        problem = self._journal_problem()
        if problem:
            return False, f"predictions cannot be recorded: {problem}"
        name = self.default_model()
        if name is None or name not in self._routers:
            return False, self.store_trouble or str(self._unavailable_error(name))
        return True, ""

    def rows_waiting(self) -> int:
        """Rows that wait in all batchers."""
        return sum(loaded.batcher.rows_waiting for router in self._routers.values() for loaded in router.loaded_versions.values())

    async def drain(self) -> None:
        """Reject new requests, finish the accepted ones."""
        self.draining = True
        for router in self._routers.values():
            for loaded in router.loaded_versions.values():
                await loaded.drain()
        self._decode_executor.shutdown(wait=False)


def _pending_row(
    request: PredictRequest,
    choice: RouteChoice,
    row: Any,
    kind: InputKind,
    data: bytes,
    remarks: tuple[Remark, ...] = (),
) -> PendingRow:
    return PendingRow(
        row=row,
        kind=kind,
        input=data,
        arm=choice.arm,
        propensity=choice.propensity,
        epoch=choice.epoch,
        begun_ns=request.begun_ns,
        subject=request.subject,
        requested_by=request.requested_by,
        remarks=remarks,
    )


async def _await_results(
    loaded: LoadedVersion, pending: Sequence[PendingRow], caller: str, gone: WaitDisconnect | None
) -> list[PredictionResult]:
    """Waits for the results; if the model is slow, a disconnect cancels the request."""
    future = loaded.submit(pending, caller)
    if gone is None or not loaded.batcher.runs_in_thread(len(pending)):
        return await future
    disconnect: asyncio.Future[object] = asyncio.ensure_future(gone())
    try:
        await asyncio.wait((future, disconnect), return_when=asyncio.FIRST_COMPLETED)
        if not future.done():
            future.cancel()
            raise ClientDisconnectedError
        return await future
    finally:
        disconnect.cancel()
