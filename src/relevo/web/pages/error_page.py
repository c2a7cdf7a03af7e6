"""Error responses: JSON for programs, an HTML page with *sign out* for browsers.

error, scope ─ wants_html? ─┬ no, or a predict path (always JSON) ─► errors.error_response ─► JSON
                            └ yes ─► no_model.html in the request's language, with the status and headers of the same error
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fastapi.responses import Response

from relevo.web.auth.guard import csrf_token, signed_in_as, wants_html
from relevo.web.context import app_context
from relevo.web.errors import as_error, error_response, hide_server_details
from relevo.web.pages import model_page
from relevo.web.request_info import address_of, language_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Scope

    from relevo.errors import RelevoError
    from relevo.web.errors import Header

#: Paths that answer a form with JSON, so errors are JSON too.
_JSON_ONLY = re.compile(r"(/models/[^/]*)?/predict/?")
_BODY_HEADERS = frozenset({b"content-type", b"content-length"})


async def handle_exception(request: Request, exception: Exception) -> Response:
    """Exception handler of the FastAPI app."""
    error = as_error(exception, request)
    status, headers, body = negotiated_error(error, request.scope, app_context(request).settings.language)
    response = Response(body, status_code=status)
    response.raw_headers = headers
    return response


def negotiated_error(error: RelevoError, scope: Scope, default_language: str) -> tuple[int, list[Header], bytes]:
    """Status, headers and body of an error, as JSON or as a page."""
    error = hide_server_details(error)
    status, headers, body = error_response(error, language_of(scope, default_language), scope["state"]["request_id"])
    if not wants_html(scope) or _JSON_ONLY.fullmatch(scope["path"]):
        return status, headers, body
    _, page_headers, page = model_page.render_refusal(error, None, bare_page_context(scope, default_language))
    page_names = {name for name, _ in page_headers}
    return status, [*page_headers, *(pair for pair in headers if pair[0] not in _BODY_HEADERS | page_names)], page


def bare_page_context(scope: Scope, default_language: str) -> model_page.PageContext:
    """Page context of a request, with an empty model list."""
    return model_page.PageContext(
        language=language_of(scope, default_language),
        address=address_of(scope),
        request_id=scope["state"]["request_id"],
        models=[],
        signed_in=signed_in_as(scope),
        csrf=csrf_token(scope),
    )
