"""Endpoint that lists all labels, newest first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request

from relevo.web.context import app_context
from relevo.web.routes.predictions import visible_models
from relevo.web.routes.responses import error_responses
from relevo.web.schemas.labels import LabelEntryOut, LabelPage, LabelQuery

if TYPE_CHECKING:
    from relevo.web.context import AppContext

router = APIRouter(prefix="/labels", tags=["labels"])


@router.get("", summary="The labels, newest first", responses=error_responses(404, 422, 503))
def list_labels(request: Request, query: Annotated[LabelQuery, Query()]) -> LabelPage:
    """Corrections and rejected ones are among them. Raises ModelNotFoundError, PermissionDeniedError."""
    context: AppContext = app_context(request)
    page = context.labels.page(**query.model_dump(exclude={"lang"}), models=visible_models(request, query.model))
    return LabelPage(items=[LabelEntryOut.from_entry(entry) for entry in page.items], next_cursor=page.next_cursor)
