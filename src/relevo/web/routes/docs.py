"""The OpenAPI document, and a page that shows it without any outside host."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from relevo.web.auth.guard import principal_of
from relevo.web.openapi import chapters, document
from relevo.web.pages.model_page import frame
from relevo.web.pages.templating import render
from relevo.web.routes.model_page import html, visit_of

router = APIRouter(include_in_schema=False)


@router.get("/openapi.json")
def openapi(request: Request) -> Response:
    """Describe every route, the predict paths by the signatures of the models now served."""
    return Response(msgspec.json.encode(_document(request)), headers={"content-type": "application/json"})


@router.get("/docs")
def docs(request: Request) -> Response:
    """Make a page of the document; it is complete without JavaScript."""
    whole = _document(request)
    visit = visit_of(request)
    body = render("docs.html", visit.language, **frame(None, visit), chapters=chapters(whole, visit.language))
    return html(request, body)


def _document(request: Request) -> dict[str, Any]:
    service, sees = request.app.state.parts.service, principal_of(request).sees
    default = service.default_model()
    shown = [one for one in service.models() if sees(one.name)]
    return document(request.app, shown, default if default and sees(default) else None)
