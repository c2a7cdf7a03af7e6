"""The label queue over HTTP: what a person is asked about next, and what they would rather not say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from relevo.domain.access import Action
from relevo.errors import ModelNotFoundError
from relevo.web.auth.guard import principal_of, require
from relevo.web.routes.predictions import QueryId, found
from relevo.web.routes.responses import error_responses
from relevo.web.schemas.labels import Asked, Queue, QueueWindow

if TYPE_CHECKING:
    from relevo.web.context import AppContext

router = APIRouter(prefix="/queue", tags=["labels"])


@router.get("", summary="What to label next", responses=error_responses(404, 422, 503))
def queue(request: Request, narrow: Annotated[QueueWindow, Query()]) -> Queue:
    """Uncertain answers first, then disputed ones, then some drawn by lot; each with why, and how likely it was to be asked.

    What was asked stays in the queue of whoever asked until it is labelled or skipped. Raises ModelNotFoundError, PermissionDeniedError.
    """
    parts: AppContext = request.app.state.parts
    principal = principal_of(request)
    model = narrow.model or parts.service.default_model()
    if model is None:
        raise ModelNotFoundError(model="")
    require(principal, Action.LABEL, model)
    asks = parts.asking.slate(model, principal.id, narrow.limit, now=parts.now())
    return Queue(items=[Asked.of(ask, parts.history.get(ask.prediction)) for ask in asks])


@router.post("/{query_id}/skip", summary="Leave one out", status_code=204, responses=error_responses(404, 422, 503))
async def skip(request: Request, query_id: QueryId) -> Response:
    """It is asked of others instead. Raises PredictionNotFoundError, also when it was never in the caller's queue."""
    parts: AppContext = request.app.state.parts
    principal = principal_of(request)
    stored = await found(parts, query_id, principal, Action.LABEL)
    await run_in_threadpool(parts.asking.skip, stored.prediction.id, principal.id, now=parts.now())
    return Response(status_code=204)
