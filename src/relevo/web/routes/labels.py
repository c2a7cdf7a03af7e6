"""The truth of predictions: given by anyone who knows, checked against the model's labels, never overwritten."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Request
from fastapi import Path as InPath
from starlette.concurrency import run_in_threadpool

from relevo.domain import ids
from relevo.domain.access import Action
from relevo.domain.prediction import Label, PredictionRecord, ReviewStatus
from relevo.domain.signature import Task
from relevo.errors import InvalidLabelError, LabelNotNumberError
from relevo.web.auth.guard import audit_actor, principal_of
from relevo.web.routes.predictions import QueryId, found
from relevo.web.routes.responses import error_responses
from relevo.web.schemas.common import GiveLabel, Truth, Truths
from relevo.web.schemas.labels import Judge  # noqa: TC001 - FastAPI reads it at run time

if TYPE_CHECKING:
    from relevo.domain.audit import Actor
    from relevo.web.context import AppContext

router = APIRouter(prefix="/predictions/{query_id}/label", tags=["labels"])

_CHOICES_SHOWN = 20
_MOST_DIGITS = 200

Number = Annotated[int, InPath(description="The number of a label of this prediction", ge=1, le=2**63 - 1)]


@router.put("", summary="Tell the truth of a prediction", responses=error_responses(400, 404, 422, 503))
async def give(request: Request, query_id: QueryId, given: GiveLabel) -> Truth:
    """The same label by the same person again changes nothing; another one corrects it.

    Raises PredictionNotFoundError, InvalidLabelError.
    """
    kept = await keep_label(request, query_id, _text(given.value), source="api", note=given.note)
    return Truth.of(kept.label)


@router.get("", summary="The labels of a prediction", responses=error_responses(404, 422, 503))
async def given_so_far(request: Request, query_id: QueryId) -> Truths:
    """Raises PredictionNotFoundError."""
    stored = await found(request.app.state.parts, query_id, principal_of(request), Action.SEE_ANSWERS)
    return await run_in_threadpool(_truths, request.app.state.parts, stored.prediction.id)


@router.post("/{number}/judgement", summary="Accept or reject a label", responses=error_responses(400, 403, 404, 422, 503))
async def judge(request: Request, query_id: QueryId, number: Number, judged: Judge) -> Truths:
    """A rejected label never counts; once one is accepted, those that nobody accepted no longer do.

    Raises PredictionNotFoundError, LabelNotFoundError, PermissionDeniedError.
    """
    parts, principal = request.app.state.parts, principal_of(request)
    stored = await found(parts, query_id, principal, Action.JUDGE_LABELS)
    await run_in_threadpool(
        parts.labels.judge,
        stored.prediction.id,
        number,
        ReviewStatus(judged.verdict),
        judge=principal.name or "anonymous",
        at=parts.now(),
        reason=judged.reason,
        by=audit_actor(request),
    )
    return await run_in_threadpool(_truths, parts, stored.prediction.id)


def _truths(parts: AppContext, prediction: bytes) -> Truths:
    current = parts.labels.current(prediction)
    history = [Truth.of(label) for label in parts.labels.of(prediction)]
    return Truths(query_id=ids.text(prediction), label=None if current is None else current.value, history=history)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A label that was kept, and what it is about."""

    label: Label
    prediction: PredictionRecord


async def keep_label(request: Request, query_id: str, value: str, *, source: str, note: str = "") -> Kept:
    """Check and keep one label. Raises PredictionNotFoundError, PermissionDeniedError, InvalidLabelError, LabelNotNumberError."""
    parts = request.app.state.parts
    given_by = principal_of(request)
    prediction = (await found(parts, query_id, given_by, Action.LABEL)).prediction
    author = given_by.name or "anonymous"
    label = Label(prediction=prediction.id, value=value, author=author, source=source, at=parts.now(), note=note)
    kept = await run_in_threadpool(_check_and_put, parts, prediction, label, audit_actor(request), given_by.id)
    return Kept(label=kept, prediction=prediction)


def _check_and_put(parts: AppContext, prediction: PredictionRecord, label: Label, by: Actor, user: str) -> Label:
    task, labels = _expected(parts, prediction)
    check_label(label.value, task, labels)
    return parts.labels.put(label, by=by, user=user)


def check_label(value: str, task: Task, labels: tuple[str, ...]) -> None:
    """Hold a label against what the model answers. Raises InvalidLabelError, LabelNotNumberError."""
    if task is Task.REGRESSION:
        if not _finite(value):
            raise LabelNotNumberError
    elif value not in labels:
        raise InvalidLabelError(choices=", ".join(labels[:_CHOICES_SHOWN]))


def _expected(parts: AppContext, prediction: PredictionRecord) -> tuple[Task, tuple[str, ...]]:
    """What the version that answered knows: from this worker when it still serves it, else from the registry."""
    for state in parts.service.models():
        if (state.name, state.version) == (prediction.model, prediction.version) and state.manifest is not None:
            return state.manifest.output.task, state.manifest.output.labels
    summary: dict[str, Any] = parts.registry.version(prediction.model, prediction.version).summary
    return Task(summary["task"]), tuple(summary["labels"])


def _finite(text: str) -> bool:
    try:
        return len(text) <= _MOST_DIGITS and math.isfinite(float(text))
    except ValueError:
        return False


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else repr(value)
