"""Endpoints of the OpenAPI document and of its HTML page, which loads nothing from other hosts."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from relevo.web.auth.guard import principal_of
from relevo.web.context import app_context
from relevo.web.openapi import chapters, document
from relevo.web.pages.model_page import base_context
from relevo.web.pages.templating import render
from relevo.web.routes.model_page import html_response, page_context

router = APIRouter(include_in_schema=False)


@router.get("/openapi.json")
def get_openapi(request: Request) -> Response:
    """Describe every route, the predict paths by the signatures of the models now served."""
    return Response(msgspec.json.encode(_document(request)), headers={"content-type": "application/json"})


@router.get("/docs")
def docs_page(request: Request) -> Response:
    """Make a page of the document; it is complete without JavaScript."""
    schema_doc = _document(request)
    context = page_context(request)
    body = render("docs.html", context.language, **base_context(None, context), chapters=chapters(schema_doc, context.language))
    return html_response(request, body)


def _document(request: Request) -> dict[str, Any]:
    service, sees = app_context(request).service, principal_of(request).can_see
    default = service.default_model()
    visible = [state for state in service.models() if sees(state.name)]
    return document(request.app, visible, default if default and sees(default) else None)
