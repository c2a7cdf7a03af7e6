"""The history as a file, streamed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import StreamingResponse

from relevo.domain.access import Action
from relevo.web.csv_export import csv_lines, name_of
from relevo.web.routes.predictions import seen
from relevo.web.routes.responses import error_responses
from relevo.web.schemas.common import ExportWindow  # noqa: TC001 - FastAPI reads it at run time

if TYPE_CHECKING:
    from relevo.web.context import AppContext

router = APIRouter(tags=["history"])


@router.get(
    "/predictions.csv",
    summary="The history as CSV, newest first",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}, **error_responses(403, 404, 422, 503)},
)
def export(request: Request, narrow: Annotated[ExportWindow, Query()]) -> StreamingResponse:
    """All of it, with the label that counts for each; narrowed as the history is. Raises ModelNotFoundError, PermissionDeniedError."""
    parts: AppContext = request.app.state.parts
    wanted = narrow.model_dump(exclude={"lang"})
    rows = csv_lines(parts.history, parts.labels, parts.asking, **wanted, models=seen(request, narrow.model, Action.EXPORT))
    return StreamingResponse(
        rows,
        media_type="text/csv; charset=utf-8",
        headers={"content-disposition": f'attachment; filename="{name_of(narrow.model, parts.now())}"'},
    )
