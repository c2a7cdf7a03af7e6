"""What a request meets, told in one place: find the model, prepare the input, wait for the recorded answer.

    predict(model, payload) ─ router.pick ─► lane ─ prepare ─► Asked ─ lane.ask ─► Reply
    predict_many            the same for a batch: one ticket, one answer a record

Small inputs are prepared on the event loop; a large picture is decoded on a side thread, one at a time, since it takes long
and much memory.
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

    Gone = Callable[[], Awaitable[object]]

#: Large pictures decoded at one time in a worker.
_LARGE_AT_ONCE = 1
#: Seconds for which the rows of one batch are prepared before others get their turn.
_TURN_S = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelState:
    """How one model stands in this worker."""

    name: str
    version: int | None
    manifest: Manifest | None
    ready: bool
    reason: str


class PredictRequest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One request for answers, parsed; lives as long as the request."""

    model: str | None
    key: bytes = b""  # what keeps a caller on one arm
    caller: str = ""  # whose turn it takes where many wait: a key, a user, an address
    subject: str | None = None
    asked_by: str | None = None
    begun_ns: int = msgspec.field(default_factory=time.perf_counter_ns)


class ModelService:
    """All models of one worker; lives as long as the worker."""

    def __init__(
        self, *, default_model: str = "", max_records_per_request: int = 1000, journal_trouble: Callable[[], str] = str
    ) -> None:
        """default_model: who answers when a request names nobody; empty: the first of `wanted`.

        journal_trouble: tells why recording is impossible; empty when it is possible.
        """
        self._default = default_model
        self._max_records_per_request = max_records_per_request
        self._journal_trouble = journal_trouble
        self._routers: dict[str, Router] = {}
        self._failures: dict[str, str] = {}
        self._synonyms: dict[str, str] = {}
        self._encode = msgspec.json.Encoder().encode
        self._side = ThreadPoolExecutor(max_workers=_LARGE_AT_ONCE, thread_name_prefix="decode")
        #: Names of the models that the store wants served, the one registered first ahead; told by the watcher.
        self.wanted: tuple[str, ...] = ()
        #: Why the store cannot say what is wanted; empty while it can.
        self.store_trouble = ""
        #: Shared with those who read bodies.
        self.room = ByteBudget()
        self.draining = False
        self.swaps = 0

    # --- what the watcher does ----------------------------------------------------------------------------------------

    def install(self, router: Router) -> Router | None:
        """Put a loaded route in force; gives back the one it replaces."""
        name = router.route.model
        before = self._routers.get(name)
        self._routers[name] = router
        self._failures.pop(name, None)
        if before is not None:
            self.swaps += 1
        self._call_by_synonyms()
        return before

    def remove(self, name: str) -> Router | None:
        """Take a model out of service."""
        self._failures.pop(name, None)
        removed = self._routers.pop(name, None)
        self._call_by_synonyms()
        return removed

    def _call_by_synonyms(self) -> None:
        """Lay out who is called how; a synonym of two models names neither."""
        called: dict[str, set[str]] = {}
        for name, router in self._routers.items():
            for synonym in {*router.route.synonyms, *router.pick(b"").lane.manifest.synonyms}:
                called.setdefault(synonym, set()).add(name)
        self._synonyms = {synonym: min(names) for synonym, names in called.items() if len(names) == 1}

    def report_failure(self, name: str, reason: str) -> None:
        """Say why a wanted version could not be loaded; an older one, if any, serves on."""
        self._failures[name] = reason

    def named(self, name: str) -> str:
        """The name of the model that a caller calls so: its own, or the only one with that synonym; else what was said."""
        if name in self._routers or name in self._failures:
            return name
        return self._synonyms.get(name) or name

    def router(self, name: str) -> Router | None:
        """The route in force for a model."""
        return self._routers.get(name)

    # --- what a request does --------------------------------------------------------------------------------------------

    def choose(self, question: PredictRequest) -> RouteChoice:
        """The lane that will answer. Raises ModelNotFoundError, NotReadyError, ShuttingDownError."""
        if self.draining:
            raise ShuttingDownError
        name = question.model or self.default_model()
        router = self._routers.get(name) if name else None
        if router is None:
            raise self._absent(name)
        return router.pick(question.key)

    async def predict(
        self, question: PredictRequest, payload: bytes | Mapping[str, Any], *, gone: Gone | None = None
    ) -> PredictionResult:
        """Answer one image (its bytes) or one record, recorded.

        gone: completes when the caller has hung up; asked only where the model is slow enough for that to matter.
        Raises InvalidInputError and UnavailableError of many kinds, ModelError.
        """
        chosen = self.choose(question)
        if isinstance(payload, bytes):
            row = await self._picture(chosen.lane, payload)
            if chosen.lane.retired:
                # Race: swapped while the picture was decoded aside; what was prepared for the old version may not fit the new one.
                return await self.predict(question, payload, gone=gone)
            asked = _asked(question, chosen, row, InputKind.IMAGE, payload)
        else:
            asked = self._record(question, chosen, payload)
        return (await _answered(chosen.lane, (asked,), question.caller, gone))[0]

    def ask(self, question: PredictRequest, payload: bytes | Mapping[str, Any]) -> asyncio.Future[list[PredictionResult]] | None:
        """The same without a task of its own; None for a large picture, which is decoded aside.

        Cancel the future when the caller has hung up. Raises like `predict`.
        """
        chosen = self.choose(question)
        lane = chosen.lane
        if isinstance(payload, bytes):
            if is_expensive(payload):
                return None
            asked = _asked(question, chosen, lane.model.prepare(payload), InputKind.IMAGE, payload)
        else:
            asked = self._record(question, chosen, payload)
        return lane.ask((asked,), question.caller)

    async def predict_many(
        self, question: PredictRequest, records: Sequence[Mapping[str, Any]], *, gone: Gone | None = None
    ) -> list[PredictionResult]:
        """Answer a batch of records, in order; one bad record refuses the batch before anything is recorded.

        One that fails the model is named by its row as well.
        """
        chosen = self.choose(question)
        if len(records) > self._max_records_per_request:
            raise TooManyRecordsError(rows=len(records), limit=self._max_records_per_request)
        if not records:
            return []
        asked, begun = [], time.perf_counter()
        for place, record in enumerate(records):
            try:
                asked.append(self._record(question, chosen, record))
            except InvalidInputError as error:
                # The caller has to know which of the rows to mend.
                error.facts["row"] = place
                raise
            if time.perf_counter() - begun > _TURN_S:
                # Others are served between the rows of a large batch.
                await asyncio.sleep(0)
                begun = time.perf_counter()
        if chosen.lane.retired:
            # Race: swapped meanwhile; what was prepared for the old version may not fit the new one.
            return await self.predict_many(question, records, gone=gone)
        try:
            return await _answered(chosen.lane, asked, question.caller, gone)
        except ModelError as error:
            if len(asked) == 1:
                error.facts["row"] = 0
            raise

    def _record(self, question: PredictRequest, chosen: RouteChoice, record: Mapping[str, Any]) -> PendingRow:
        """One record, prepared. Raises InvalidInputError of many kinds."""
        model = chosen.lane.model
        row = model.prepare(record)
        return _asked(question, chosen, row, InputKind.RECORD, self._encode(record), model.remarks(record))

    async def _picture(self, lane: LoadedVersion, payload: bytes) -> Any:
        if is_expensive(payload) and isinstance(lane.manifest.input, ImageInput):
            with self.room.holding(len(payload)):
                return await asyncio.get_running_loop().run_in_executor(self._side, lane.model.prepare, payload)
        return lane.model.prepare(payload)

    def _absent(self, name: str | None) -> ModelNotFoundError | NotReadyError:
        if name is None:
            reason = next(iter(self._failures.values()), "no model is registered yet; `relevo train` or `relevo import` makes one")
            return NotReadyError(reason=reason)
        if name in self._failures:
            return NotReadyError(reason=self._failures[name])
        return ModelNotFoundError(model=name[:64])

    # --- how it stands ----------------------------------------------------------------------------------------------------

    def default_model(self) -> str | None:
        """Who answers when nobody is named. One that could not be loaded stays it: another model's answer would be wrong."""
        return self._default or next(iter(self.wanted), None) or min(self._routers, default=None)

    def models(self) -> list[ModelState]:
        """Every model known to this worker, by name."""
        return [self.state(name) for name in sorted(self._routers.keys() | self._failures.keys())]

    def state(self, name: str) -> ModelState:
        """How the model of that name stands; one that nobody knows is not ready."""
        router = self._routers.get(name)
        reason = self._failures.get(name, "")
        if router is None:
            return ModelState(name=name, version=None, manifest=None, ready=False, reason=reason)
        lane = router.pick(b"").lane
        return ModelState(name=name, version=lane.version, manifest=lane.manifest, ready=True, reason=reason)

    def ready(self) -> tuple[bool, str]:
        """Whether a request would be answered now, and if not, why."""
        if self.draining:
            return False, "the server is stopping"
        trouble = self._journal_trouble()
        if trouble:
            return False, f"predictions cannot be recorded: {trouble}"
        name = self.default_model()
        if name is None or name not in self._routers:
            return False, self.store_trouble or str(self._absent(name))
        return True, ""

    def rows_waiting(self) -> int:
        """Rows in all waiting rooms."""
        return sum(lane.batcher.rows_waiting for router in self._routers.values() for lane in router.lanes.values())

    async def drain(self) -> None:
        """Refuse new work, end what was taken."""
        self.draining = True
        for router in self._routers.values():
            for lane in router.lanes.values():
                await lane.retire()
        self._side.shutdown(wait=False)


def _asked(
    question: PredictRequest,
    chosen: RouteChoice,
    row: Any,
    kind: InputKind,
    stored: bytes,
    remarks: tuple[Remark, ...] = (),
) -> PendingRow:
    return PendingRow(
        row=row,
        kind=kind,
        input=stored,
        arm=chosen.arm,
        propensity=chosen.propensity,
        epoch=chosen.epoch,
        begun_ns=question.begun_ns,
        subject=question.subject,
        asked_by=question.asked_by,
        remarks=remarks,
    )


async def _answered(lane: LoadedVersion, asked: Sequence[PendingRow], caller: str, gone: Gone | None) -> list[PredictionResult]:
    """Wait for the answers; where the model is slow, a caller who hangs up takes the rows back."""
    ticket = lane.ask(asked, caller)
    if gone is None or not lane.batcher.is_dear(len(asked)):
        return await ticket
    watch: asyncio.Future[object] = asyncio.ensure_future(gone())
    try:
        await asyncio.wait((ticket, watch), return_when=asyncio.FIRST_COMPLETED)
        if not ticket.done():
            ticket.cancel()
            raise ClientDisconnectedError
        return await ticket
    finally:
        watch.cancel()
