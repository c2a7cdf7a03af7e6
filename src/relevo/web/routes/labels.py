"""The truth of predictions: given by anyone who knows, checked against the model's labels, never overwritten."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool

from relevo.domain.people import Action
from relevo.domain.prediction import Label, Prediction
from relevo.domain.signature import Task
from relevo.errors import LabelNotNumber, LabelRefused
from relevo.web.guard import by_of, principal_of
from relevo.web.routes.predictions import QueryId, found
from relevo.web.routes.refusals import refusals
from relevo.web.shapes import GiveLabel, Truth, Truths

if TYPE_CHECKING:
    from relevo.domain.audit import By
    from relevo.web.parts import Parts

router = APIRouter(prefix="/predictions/{query_id}/label", tags=["labels"])

_CHOICES_SHOWN = 20


@router.put("", summary="Tell the truth of a prediction", responses=refusals(400, 404, 422, 503))
async def give(request: Request, query_id: QueryId, given: GiveLabel) -> Truth:
    """The same label again changes nothing; another one corrects it. Raises PredictionNotFound, LabelRefused."""
    parts = request.app.state.parts
    prediction = await keep_label(request, query_id, _text(given.value), source="api", note=given.note)
    label = await run_in_threadpool(parts.labels.current, prediction.id)
    return Truth.of(label)


@router.get("", summary="The labels of a prediction", responses=refusals(404, 422, 503))
async def given_so_far(request: Request, query_id: QueryId) -> Truths:
    """Raises PredictionNotFound."""
    parts = request.app.state.parts
    stored = await found(parts, query_id, principal_of(request), Action.SEE_ANSWERS)
    labels = await run_in_threadpool(parts.labels.of, stored.prediction.id)
    current = labels[-1].value if labels else None
    return Truths(query_id=query_id, label=current, history=[Truth.of(label) for label in labels])


async def keep_label(request: Request, query_id: str, value: str, *, source: str, note: str = "") -> Prediction:
    """Check and keep one label; gives back its prediction. Raises PredictionNotFound, NotAllowed, LabelRefused, LabelNotNumber."""
    parts = request.app.state.parts
    given_by = principal_of(request)
    prediction = (await found(parts, query_id, given_by, Action.LABEL)).prediction
    author = given_by.name or "anonymous"
    label = Label(prediction=prediction.id, value=value, author=author, source=source, at=parts.now(), note=note)
    await run_in_threadpool(_check_and_put, parts, prediction, label, by_of(request))
    return prediction


def _check_and_put(parts: Parts, prediction: Prediction, label: Label, by: By) -> None:
    task, labels = _expected(parts, prediction)
    check_label(label.value, task, labels)
    current = parts.labels.current(prediction.id)
    if current is not None and (current.value, current.note, current.source) == (label.value, label.note, label.source):
        return
    parts.labels.put(label, by=by)


def check_label(value: str, task: Task, labels: tuple[str, ...]) -> None:
    """Hold a label against what the model answers. Raises LabelRefused, LabelNotNumber."""
    if task is Task.REGRESSION:
        if not _finite(value):
            raise LabelNotNumber
    elif value not in labels:
        raise LabelRefused(choices=", ".join(labels[:_CHOICES_SHOWN]))


def _expected(parts: Parts, prediction: Prediction) -> tuple[Task, tuple[str, ...]]:
    """What the version that answered knows: from this worker when it still serves it, else from the registry."""
    for state in parts.service.models():
        if (state.name, state.version) == (prediction.model, prediction.version) and state.manifest is not None:
            return state.manifest.output.task, state.manifest.output.labels
    summary: dict[str, Any] = parts.registry.version(prediction.model, prediction.version).summary
    return Task(summary["task"]), tuple(summary["labels"])


def _finite(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else repr(value)
