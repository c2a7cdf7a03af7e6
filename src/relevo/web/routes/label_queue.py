"""Endpoints of the label queue: the next predictions to label, and skipping one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from relevo.domain.access import Action
from relevo.errors import ModelNotFoundError
from relevo.web.auth.guard import principal_of, require_permission
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
    parts: AppContext = request.app.state.parts
    principal = principal_of(request)
    model = query.model or parts.service.default_model()
    if model is None:
        raise ModelNotFoundError(model="")
    require_permission(principal, Action.LABEL, model)
    items = parts.asking.slate(model, principal.id, query.limit, now=parts.now())
    return QueueOut(items=[QueueItemOut.from_domain(item, parts.history.get(item.prediction)) for item in items])


@router.post("/{query_id}/skip", summary="Leave one out", status_code=204, responses=error_responses(404, 422, 503))
async def skip_queue_item(request: Request, query_id: QueryId) -> Response:
    """It is asked of others instead. Raises PredictionNotFoundError, also when it was never in the caller's queue."""
    parts: AppContext = request.app.state.parts
    principal = principal_of(request)
    stored = await get_visible_prediction(parts, query_id, principal, Action.LABEL)
    await run_in_threadpool(parts.asking.skip, stored.prediction.id, principal.id, now=parts.now())
    return Response(status_code=204)
