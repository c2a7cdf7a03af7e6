"""Endpoints of a prediction's labels: set, list, review. Values are validated against the model; labels are never overwritten."""

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
from relevo.web.context import app_context
from relevo.web.routes.predictions import QueryId, get_visible_prediction
from relevo.web.routes.responses import error_responses
from relevo.web.schemas.common import LabelIn, LabelList, LabelOut
from relevo.web.schemas.labels import ReviewIn  # noqa: TC001 - FastAPI reads it at run time

if TYPE_CHECKING:
    from relevo.domain.audit import Actor
    from relevo.web.context import AppContext

router = APIRouter(prefix="/predictions/{query_id}/label", tags=["labels"])

_CHOICES_SHOWN = 20
_MAX_NUMBER_LENGTH = 200

Number = Annotated[int, InPath(description="The number of a label of this prediction", ge=1, le=2**63 - 1)]


@router.put("", summary="Tell the truth of a prediction", responses=error_responses(400, 404, 422, 503))
async def set_label(request: Request, query_id: QueryId, body: LabelIn) -> LabelOut:
    """The same label by the same person again changes nothing; another one corrects it.

    Raises PredictionNotFoundError, InvalidLabelError.
    """
    stored_label = await store_label(request, query_id, _text(body.value), source="api", note=body.note)
    return LabelOut.from_domain(stored_label.label)


@router.get("", summary="The labels of a prediction", responses=error_responses(404, 422, 503))
async def list_prediction_labels(request: Request, query_id: QueryId) -> LabelList:
    """Raises PredictionNotFoundError."""
    stored = await get_visible_prediction(app_context(request), query_id, principal_of(request), Action.READ_PREDICTIONS)
    return await run_in_threadpool(_label_list, app_context(request), stored.prediction.id)


@router.post("/{number}/judgement", summary="Accept or reject a label", responses=error_responses(400, 403, 404, 422, 503))
async def review_label(request: Request, query_id: QueryId, number: Number, body: ReviewIn) -> LabelList:
    """A rejected label never counts; once one is accepted, those that nobody accepted no longer do.

    Raises PredictionNotFoundError, LabelNotFoundError, PermissionDeniedError.
    """
    context, principal = app_context(request), principal_of(request)
    stored = await get_visible_prediction(context, query_id, principal, Action.REVIEW_LABELS)
    await run_in_threadpool(
        context.labels.review,
        stored.prediction.id,
        number,
        ReviewStatus(body.verdict),
        reviewer=principal.name or "anonymous",
        at=context.now(),
        reason=body.reason,
        by=audit_actor(request),
    )
    return await run_in_threadpool(_label_list, context, stored.prediction.id)


def _label_list(context: AppContext, prediction: bytes) -> LabelList:
    current = context.labels.resolved(prediction)
    history = [LabelOut.from_domain(label) for label in context.labels.for_prediction(prediction)]
    return LabelList(query_id=ids.text(prediction), label=None if current is None else current.value, history=history)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLabel:
    """A stored label and its prediction. Lifetime: the request."""

    label: Label
    prediction: PredictionRecord


async def store_label(request: Request, query_id: str, value: str, *, source: str, note: str = "") -> StoredLabel:
    """Validates and stores one label. Raises PredictionNotFoundError, PermissionDeniedError, InvalidLabelError, LabelNotNumberError."""
    context = app_context(request)
    principal = principal_of(request)
    prediction = (await get_visible_prediction(context, query_id, principal, Action.LABEL)).prediction
    author = principal.name or "anonymous"
    label = Label(prediction=prediction.id, value=value, author=author, source=source, at=context.now(), note=note)
    stored_label = await run_in_threadpool(_check_and_put, context, prediction, label, audit_actor(request), principal.id)
    return StoredLabel(label=stored_label, prediction=prediction)


def _check_and_put(context: AppContext, prediction: PredictionRecord, label: Label, by: Actor, user: str) -> Label:
    task, labels = _allowed_labels(context, prediction)
    check_label(label.value, task, labels)
    return context.labels.put(label, by=by, user=user)


def check_label(value: str, task: Task, labels: tuple[str, ...]) -> None:
    """Validates a label against the model's output. Raises InvalidLabelError, LabelNotNumberError."""
    if task is Task.REGRESSION:
        if not _is_finite_number(value):
            raise LabelNotNumberError
    elif value not in labels:
        raise InvalidLabelError(choices=", ".join(labels[:_CHOICES_SHOWN]))


def _allowed_labels(context: AppContext, prediction: PredictionRecord) -> tuple[Task, tuple[str, ...]]:
    """Task and labels of the version that predicted: from this worker if it still serves it, else from the registry."""
    for state in context.service.models():
        if (state.name, state.version) == (prediction.model, prediction.version) and state.manifest is not None:
            return state.manifest.output.task, state.manifest.output.labels
    summary: dict[str, Any] = context.registry.version(prediction.model, prediction.version).summary
    return Task(summary["task"]), tuple(summary["labels"])


def _is_finite_number(text: str) -> bool:
    try:
        return len(text) <= _MAX_NUMBER_LENGTH and math.isfinite(float(text))
    except ValueError:
        return False


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else repr(value)
