"""A refusal as whoever asked can read it: JSON for programs and scripts, a page with *sign out* for a person with a browser.

error, scope ─ reads_pages? ─┬ no, or at /predict, whose answers are JSON for everybody ──► problems.problem ─► JSON
                             └ yes ─► empty.html in the caller's language, with status and headers of the same problem
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from relevo.web.auth.guard import csrf_token, signed_in_as, wants_html
from relevo.web.errors import error_response, for_callers
from relevo.web.pages import model_page
from relevo.web.request_info import address_of, language_of

if TYPE_CHECKING:
    from starlette.types import Scope

    from relevo.errors import RelevoError
    from relevo.web.errors import Header

#: A form that is sent here gets its answer as JSON, so it gets a refusal as JSON, too.
_JSON_ALONE = re.compile(r"(/models/[^/]*)?/predict/?")
_OF_THE_BODY = frozenset({b"content-type", b"content-length"})


def refusal(error: RelevoError, scope: Scope, default_language: str) -> tuple[int, list[Header], bytes]:
    """Status, headers and body of an error."""
    error = for_callers(error)
    status, headers, body = error_response(error, language_of(scope, default_language), scope["state"]["request_id"])
    if not wants_html(scope) or _JSON_ALONE.fullmatch(scope["path"]):
        return status, headers, body
    _, shown, text = model_page.render_refusal(error, None, plain_visit(scope, default_language))
    kept = {name for name, _ in shown}
    return status, [*shown, *(pair for pair in headers if pair[0] not in _OF_THE_BODY | kept)], text


def plain_visit(scope: Scope, default_language: str) -> model_page.PageContext:
    """What a page needs to know of a request where no models are listed at the top."""
    return model_page.PageContext(
        language=language_of(scope, default_language),
        address=address_of(scope),
        request_id=scope["state"]["request_id"],
        models=[],
        signed_in=signed_in_as(scope),
        csrf=csrf_token(scope),
    )
