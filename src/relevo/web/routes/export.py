"""Endpoint that streams the prediction history as CSV."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import StreamingResponse

from relevo.domain.access import Action
from relevo.web.context import app_context
from relevo.web.csv_export import csv_lines, file_name
from relevo.web.routes.predictions import visible_models
from relevo.web.routes.responses import error_responses
from relevo.web.schemas.common import ExportQuery  # noqa: TC001 - FastAPI reads it at run time

if TYPE_CHECKING:
    from relevo.web.context import AppContext

router = APIRouter(tags=["history"])


@router.get(
    "/predictions.csv",
    summary="The history as CSV, newest first",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}, **error_responses(403, 404, 422, 503)},
)
def export_predictions(request: Request, query: Annotated[ExportQuery, Query()]) -> StreamingResponse:
    """All of it, with the label that counts for each; narrowed as the history is. Raises ModelNotFoundError, PermissionDeniedError."""
    context: AppContext = app_context(request)
    filters = query.model_dump(exclude={"lang"})
    rows = csv_lines(
        context.predictions,
        context.labels,
        context.label_queue,
        **filters,
        models=visible_models(request, query.model, Action.EXPORT),
    )
    return StreamingResponse(
        rows,
        media_type="text/csv; charset=utf-8",
        headers={"content-disposition": f'attachment; filename="{file_name(query.model, context.now())}"'},
    )
