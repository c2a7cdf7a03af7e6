"""One live version inside a worker: its model, its waiting room, and the record of what it answered.

    prepared rows ─► batcher ─► model.run ─ model.finish ─ journal.write ─► Reply for each row

The journal is written inside the batch: one transaction for all its rows, and no answer leaves before it.
"""

from __future__ import annotations

import logging
import sys
import time
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from relevo.domain.decision import DecisionResult
from relevo.domain.extra_fields import ExtraFields
from relevo.domain.ids import new_id
from relevo.domain.prediction import Arm, InputKind, InputLogging, PredictionRecord, should_log_input
from relevo.errors import JournalUnavailableError, ModelError
from relevo.serve.batcher import Batcher

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from relevo.domain.manifest import Manifest
    from relevo.runtime.model import RunnableModel
    from relevo.runtime.record_encoder import Remark


log = logging.getLogger(__name__)


class PendingRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One row with what must be remembered of its request; lives from the parsed request to the journal."""

    row: Any  # what model.prepare gave
    kind: InputKind
    input: bytes
    arm: Arm
    propensity: float
    epoch: int
    begun_ns: int  # monotonic, when the request was parsed
    subject: str | None = None
    asked_by: str | None = None
    #: What of the input was taken otherwise than it came.
    remarks: tuple[Remark, ...] = ()


class PredictionResult(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One recorded answer; lives until it is sent."""

    id: bytes
    model: str
    version: int
    answer: DecisionResult
    recorded: bool
    seconds: float
    #: What it is told beside its own fields; None when nothing is.
    fields: ExtraFields | None = None
    #: What of the input was taken otherwise than it came; told as `warnings`.
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingOptions:
    """What a lane is told by the settings."""

    max_batch_size: int = 64
    max_queue_size: int = 2000
    max_queue_seconds: float = 25.0
    durability: str = "process"
    log_inputs: InputLogging = InputLogging.ALL
    log_inputs_rate: float = 0.1


class LoadedVersion:
    """A loaded version; lives from the swap that brings it to the one that replaces it."""

    def __init__(
        self,
        *,
        model: RunnableModel,
        version: int,
        digest: str,
        write: Callable[[Sequence[PredictionRecord]], None],
        options: ServingOptions,
        now_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self.model = model
        self.version = version
        self.digest = digest
        self._name = model.manifest.name
        fields = ExtraFields(model.manifest.answer, model.manifest.output)
        self._fields = fields if fields.any else None
        self._write = write
        self._options = options
        self._now_ns = now_ns
        self._monotonic_ns = monotonic_ns
        self.batches = 0
        self.retired = False
        self.batcher: Batcher[PendingRow, PredictionResult] = Batcher(
            self._work,
            max_batch_size=options.max_batch_size,
            max_waiting=options.max_queue_size,
            max_wait_s=options.max_queue_seconds,
            # An fsync takes milliseconds whatever the model costs.
            always_aside=options.durability == "full",
            failed=self._record_failure,
        )

    @property
    def manifest(self) -> Manifest:
        """What this version is."""
        return self.model.manifest

    def ask(self, rows: Sequence[PendingRow], caller: str = "") -> asyncio.Future[list[PredictionResult]]:
        """Queue one caller's rows. caller: whose turn they take.

        Raises BatchTooLongError, OverloadedError, QueueTooLongError, ShuttingDownError.
        """
        return self.batcher.submit(rows, caller)

    async def retire(self) -> None:
        """Answer what was taken, then let go."""
        self.retired = True
        await self.batcher.close()

    def _work(self, asked: list[PendingRow]) -> list[PredictionResult]:
        self.batches += 1
        answers = self.model.finish(self.model.run([one.row for one in asked]))
        now_us = self._now_ns() // 1000
        end = self._monotonic_ns()
        predictions = [self._prediction(one, answer, now_us, end) for one, answer in zip(asked, answers, strict=True)]
        recorded = self._record(predictions)
        return [
            PredictionResult(
                id=prediction.id,
                model=self._name,
                version=self.version,
                answer=answer,
                recorded=recorded,
                seconds=(end - one.begun_ns) / 1e9,
                fields=self._fields,
                remarks=one.remarks,
            )
            for one, answer, prediction in zip(asked, answers, predictions, strict=True)
        ]

    def _record(self, predictions: list[PredictionRecord]) -> bool:
        try:
            self._write(predictions)
        except JournalUnavailableError:
            if self._options.durability != "relaxed":
                raise
            return False
        return True

    def _record_failure(self, asked: list[PendingRow], failure: ModelError) -> None:
        """Log and record what failed for good: the one row where it is told apart, which the failure then names, else all."""
        facts = {"action": "model_failed", "model": self._name, "version": self.version, "rows": len(asked)}
        row = self._failing(asked)
        if row is not None:
            failure.facts["row"] = row
            asked = asked[row : row + 1]
        log.warning("the model failed: %s", _without_values(failure), extra=facts)
        now_us = self._now_ns() // 1000
        end = self._monotonic_ns()
        try:
            self._write([self._prediction(one, _NO_ANSWER, now_us, end, error=failure.code) for one in asked])
        except JournalUnavailableError:
            # The caller gets the model's failure either way, and nothing was acknowledged.
            return

    def _failing(self, asked: list[PendingRow]) -> int | None:
        """The place of the first row that the model fails, by halving; None where none fails without the others."""
        start, stop = 0, len(asked)
        while stop - start > 1:
            middle = (start + stop) // 2
            start, stop = (start, middle) if self._fails(asked[start:middle]) else (middle, stop)
        # The last half was blamed for what the halves before it did not do: it may not fail alone either.
        return start if len(asked) == 1 or self._fails(asked[start:stop]) else None

    def _fails(self, asked: list[PendingRow]) -> bool:
        try:
            self.model.finish(self.model.run([one.row for one in asked]))
        except ModelError:
            return True
        return False

    def _prediction(
        self, one: PendingRow, answer: DecisionResult, now_us: int, end_ns: int, *, error: str | None = None
    ) -> PredictionRecord:
        prediction_id = new_id(now_us // 1000)
        options = self._options
        kept = should_log_input(
            options.log_inputs, options.log_inputs_rate, uncertain=answer.uncertain, prediction_id=prediction_id
        )
        return PredictionRecord(
            id=prediction_id,
            at_us=now_us,
            model=self._name,
            version=self.version,
            arm=one.arm,
            propensity=one.propensity,
            epoch=one.epoch,
            kind=one.kind,
            input=one.input if kept else None,
            input_bytes=len(one.input),
            label=answer.label,
            confidence=answer.confidence,
            uncertain=answer.uncertain,
            value=answer.value,
            scores=_packed(answer.probabilities),
            latency_us=(end_ns - one.begun_ns) // 1000,
            error=error,
            subject=one.subject,
            asked_by=one.asked_by,
        )


_NO_ANSWER = DecisionResult()


def _without_values(failure: ModelError) -> str:
    """What ONNX Runtime says of a failure, as far as it is of the model: what follows may quote the input."""
    cause = failure.__cause__
    told = str(cause).partition("Status Message")[0] if cause is not None else failure.code
    return told.strip() if "Status Message" in str(cause) else type(cause or failure).__name__


def _packed(probabilities: tuple[float, ...]) -> bytes:
    """Probabilities as little-endian float32."""
    packed = array("f", probabilities)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()
