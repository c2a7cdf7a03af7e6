"""Every label over HTTP, newest first, page by page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request

from relevo.web.routes.predictions import seen
from relevo.web.routes.responses import error_responses
from relevo.web.schemas.labels import LabelPage, LabelView, LabelWindow

if TYPE_CHECKING:
    from relevo.web.context import AppContext

router = APIRouter(prefix="/labels", tags=["labels"])


@router.get("", summary="The labels, newest first", responses=error_responses(404, 422, 503))
def window(request: Request, narrow: Annotated[LabelWindow, Query()]) -> LabelPage:
    """Corrections and rejected ones are among them. Raises ModelNotFoundError, PermissionDeniedError."""
    parts: AppContext = request.app.state.parts
    page = parts.labels.given(**narrow.model_dump(exclude={"lang"}), models=seen(request, narrow.model))
    return LabelPage(items=[LabelView.about(one) for one in page.items], next_cursor=page.next_cursor)
