"""Endpoints of the label queue: the next predictions to label, and skipping one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from relevo.domain.access import Action
from relevo.errors import ModelNotFoundError
from relevo.web.auth.guard import principal_of, require_permission
from relevo.web.context import app_context
from relevo.web.routes.predictions import QueryId, get_visible_prediction
from relevo.web.routes.responses import error_responses
from relevo.web.schemas.labels import QueueItemOut, QueueOut, QueueQuery

if TYPE_CHECKING:
    from relevo.web.context import AppContext

router = APIRouter(prefix="/queue", tags=["labels"])


@router.get("", summary="What to label next", responses=error_responses(404, 422, 503))
def get_label_queue(request: Request, query: Annotated[QueueQuery, Query()]) -> QueueOut:
    """Uncertain answers first, then disputed ones, then some drawn by lot; each with why, and how likely it was to be asked.

    What was asked stays in the queue of whoever asked until it is labelled or skipped. Raises ModelNotFoundError, PermissionDeniedError.
    """
    context: AppContext = app_context(request)
    principal = principal_of(request)
    model = query.model or context.service.default_model()
    if model is None:
        raise ModelNotFoundError(model="")
    require_permission(principal, Action.LABEL, model)
    items = context.label_queue.next_items(model, principal.id, query.limit, now=context.now())
    return QueueOut(items=[QueueItemOut.from_domain(item, context.predictions.get(item.prediction)) for item in items])


@router.post("/{query_id}/skip", summary="Leave one out", status_code=204, responses=error_responses(404, 422, 503))
async def skip_queue_item(request: Request, query_id: QueryId) -> Response:
    """It is asked of others instead. Raises PredictionNotFoundError, also when it was never in the caller's queue."""
    context: AppContext = app_context(request)
    principal = principal_of(request)
    stored = await get_visible_prediction(context, query_id, principal, Action.LABEL)
    await run_in_threadpool(context.label_queue.skip, stored.prediction.id, principal.id, now=context.now())
    return Response(status_code=204)
