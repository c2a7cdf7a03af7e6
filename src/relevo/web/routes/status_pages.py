"""Pages for looking, which the foot of every page leads to: the newest predictions, and how the models stand.

    GET /history ─► history.html     GET /health ─► health.html          the same for programs: /predictions, /health/ready

They only read; filters, labels and plots are the console's.
"""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response

from relevo.errors import RelevoError
from relevo.web.pages import model_page
from relevo.web.pages.templating import render
from relevo.web.routes.model_page import html, refused, visit_of
from relevo.web.routes.predictions import seen
from relevo.web.schemas.common import PredictionView

router = APIRouter(include_in_schema=False)

_ROWS = 25


@router.get("/history")
def history(
    request: Request,
    model: Annotated[str | None, Query(max_length=64)] = None,
    cursor: Annotated[str | None, Query(max_length=64)] = None,
) -> Response:
    """A page of the predictions that whoever asks may see, newest first; or one that says why there is none."""
    visit = visit_of(request)
    parts = request.app.state.parts
    try:
        only = {} if model is None else {"model": model}
        found = parts.history.window(cursor=cursor, limit=_ROWS, models=seen(request, model), **only)
        labels = parts.labels.current_many([one.prediction.id for one in found.items])
    except RelevoError as error:
        return refused(request, error, visit)
    rows = [PredictionView.of(one, labels.get(one.prediction.id)) for one in found.items]
    older = "/history?" + urlencode({**only, "cursor": found.next_cursor}) if found.next_cursor else None
    return html(request, render("history.html", visit.language, **model_page.frame(None, visit), rows=rows, older=older))


@router.get("/health")
def health(request: Request) -> Response:
    """How the server and each model stand, in words."""
    visit = visit_of(request)
    ready, reason = request.app.state.parts.service.ready()
    body = render("health.html", visit.language, **model_page.frame(None, visit), ready=ready, reason=reason)
    return html(request, body, 200 if ready else 503)
