"""A loaded model version: the model, its batcher, and the recording of its predictions.

    prepared rows ─► batcher ─► model.run ─ model.finish ─ journal.write ─► PredictionResult for each row

The journal is written inside the batch: one transaction for all its rows, and no result is returned before it.
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
    """A prepared row with the metadata of its request. Lifetime: from parsing the request to writing the journal."""

    row: Any  # result of model.prepare
    kind: InputKind
    input: bytes
    arm: Arm
    propensity: float
    epoch: int
    begun_ns: int  # monotonic time at which the request was parsed
    subject: str | None = None
    requested_by: str | None = None
    #: Values of the input that were ignored or converted.
    remarks: tuple[Remark, ...] = ()


class PredictionResult(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A recorded prediction. Lifetime: until the response is sent."""

    id: bytes
    model: str
    version: int
    answer: DecisionResult
    recorded: bool
    seconds: float
    #: Additional fields of the response; None if there are none.
    fields: ExtraFields | None = None
    #: Values of the input that were ignored or converted; the response has them as `warnings`.
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingOptions:
    """Settings of a loaded version."""

    max_batch_size: int = 64
    max_queue_size: int = 2000
    max_queue_seconds: float = 25.0
    durability: str = "process"
    log_inputs: InputLogging = InputLogging.ALL
    log_inputs_rate: float = 0.1


class LoadedVersion:
    """A loaded version. Lifetime: from the swap that installs it to the swap that replaces it."""

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
            self._run_batch,
            max_batch_size=options.max_batch_size,
            max_waiting=options.max_queue_size,
            max_wait_s=options.max_queue_seconds,
            # An fsync takes milliseconds, however fast the model is.
            always_in_thread=options.durability == "full",
            on_failure=self._record_failure,
        )

    @property
    def manifest(self) -> Manifest:
        """The manifest of this version."""
        return self.model.manifest

    def submit(self, rows: Sequence[PendingRow], caller: str = "") -> asyncio.Future[list[PredictionResult]]:
        """Queue the rows of one request. caller: identity for fair queueing.

        Raises BatchTooLongError, OverloadedError, QueueTooLongError, ShuttingDownError.
        """
        return self.batcher.submit(rows, caller)

    async def drain(self) -> None:
        """Finish the accepted requests, then release the batcher's thread."""
        self.retired = True
        await self.batcher.close()

    def _run_batch(self, pending: list[PendingRow]) -> list[PredictionResult]:
        self.batches += 1
        answers = self.model.postprocess(self.model.run([item.row for item in pending]))
        now_us = self._now_ns() // 1000
        end = self._monotonic_ns()
        predictions = [self._prediction_record(item, answer, now_us, end) for item, answer in zip(pending, answers, strict=True)]
        recorded = self._record(predictions)
        return [
            PredictionResult(
                id=prediction.id,
                model=self._name,
                version=self.version,
                answer=answer,
                recorded=recorded,
                seconds=(end - item.begun_ns) / 1e9,
                fields=self._fields,
                remarks=item.remarks,
            )
            for item, answer, prediction in zip(pending, answers, predictions, strict=True)
        ]

    def _record(self, predictions: list[PredictionRecord]) -> bool:
        try:
            self._write(predictions)
        except JournalUnavailableError:
            if self._options.durability != "relaxed":
                raise
            return False
        return True

    def _record_failure(self, pending: list[PendingRow], failure: ModelError) -> None:
        """Log and record the final failure of a batch: only the failing row if one can be found, which is added to the error."""
        facts = {"action": "model_failed", "model": self._name, "version": self.version, "rows": len(pending)}
        row = self._find_failing_row(pending)
        if row is not None:
            failure.facts["row"] = row
            pending = pending[row : row + 1]
        log.warning("the model failed: %s", _redacted_message(failure), extra=facts)
        now_us = self._now_ns() // 1000
        end = self._monotonic_ns()
        try:
            self._write([self._prediction_record(item, _NO_DECISION, now_us, end, error=failure.code) for item in pending])
        except JournalUnavailableError:
            # The caller receives the model's error either way, and no prediction was acknowledged.
            return

    def _find_failing_row(self, pending: list[PendingRow]) -> int | None:
        """Index of the first row for which the model fails, by bisection; None if no row fails alone."""
        start, stop = 0, len(pending)
        while stop - start > 1:
            middle = (start + stop) // 2
            start, stop = (start, middle) if self._fails(pending[start:middle]) else (middle, stop)
        # The last half was chosen because the other did not fail: it may not fail alone either.
        return start if len(pending) == 1 or self._fails(pending[start:stop]) else None

    def _fails(self, pending: list[PendingRow]) -> bool:
        try:
            self.model.postprocess(self.model.run([item.row for item in pending]))
        except ModelError:
            return True
        return False

    def _prediction_record(
        self, item: PendingRow, answer: DecisionResult, now_us: int, end_ns: int, *, error: str | None = None
    ) -> PredictionRecord:
        prediction_id = new_id(now_us // 1000)
        options = self._options
        log_input = should_log_input(
            options.log_inputs, options.log_inputs_rate, uncertain=answer.uncertain, prediction_id=prediction_id
        )
        return PredictionRecord(
            id=prediction_id,
            at_us=now_us,
            model=self._name,
            version=self.version,
            arm=item.arm,
            propensity=item.propensity,
            epoch=item.epoch,
            kind=item.kind,
            input=item.input if log_input else None,
            input_bytes=len(item.input),
            predicted_label=answer.predicted_label,
            confidence=answer.confidence,
            uncertain=answer.uncertain,
            value=answer.value,
            scores=_encode_scores(answer.probabilities),
            latency_us=(end_ns - item.begun_ns) // 1000,
            error=error,
            subject=item.subject,
            requested_by=item.requested_by,
        )


_NO_DECISION = DecisionResult()


def _redacted_message(failure: ModelError) -> str:
    """The message of ONNX Runtime without the part that may quote the input, or else the type of the error."""
    cause = failure.__cause__
    message = str(cause).partition("Status Message")[0] if cause is not None else failure.code
    return message.strip() if "Status Message" in str(cause) else type(cause or failure).__name__


def _encode_scores(probabilities: tuple[float, ...]) -> bytes:
    """Probabilities as little-endian float32."""
    encoded = array("f", probabilities)
    if sys.byteorder == "big":
        encoded.byteswap()
    return encoded.tobytes()
