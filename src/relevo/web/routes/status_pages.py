"""Read-only HTML pages of the newest predictions and of the models' state, linked from the footer of every page.

    GET /history ─► history.html     GET /health ─► health.html          for programs: /predictions, /health/ready

The console has filters, labels and plots.
"""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response

from relevo.errors import RelevoError
from relevo.web.context import app_context
from relevo.web.pages import model_page
from relevo.web.pages.templating import render
from relevo.web.routes.model_page import error_page, html_response, page_context
from relevo.web.routes.predictions import visible_models
from relevo.web.schemas.common import PredictionOut

router = APIRouter(include_in_schema=False)

_ROWS = 25


@router.get("/history")
def history_page(
    request: Request,
    model: Annotated[str | None, Query(max_length=64)] = None,
    cursor: Annotated[str | None, Query(max_length=64)] = None,
) -> Response:
    """A page of the predictions that whoever asks may see, newest first; or one that says why there is none."""
    context = page_context(request)
    app = app_context(request)
    try:
        page = app.predictions.page(cursor=cursor, limit=_ROWS, model=model, models=visible_models(request, model))
        labels = app.labels.resolved_many([stored.prediction.id for stored in page.items])
    except RelevoError as error:
        return error_page(request, error, context)
    rows = [PredictionOut.from_domain(stored, labels.get(stored.prediction.id)) for stored in page.items]
    model_filter = {} if model is None else {"model": model}
    older = "/history?" + urlencode({**model_filter, "cursor": page.next_cursor}) if page.next_cursor else None
    return html_response(
        request, render("history.html", context.language, **model_page.base_context(None, context), rows=rows, older=older)
    )


@router.get("/health")
def health_page(request: Request) -> Response:
    """How the server and each model stand, in words."""
    context = page_context(request)
    is_ready, reason = app_context(request).service.ready()
    body = render("health.html", context.language, **model_page.base_context(None, context), ready=is_ready, reason=reason)
    return html_response(request, body, 200 if is_ready else 503)
