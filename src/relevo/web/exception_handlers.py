"""What routes and the framework raise, as errors of ours, so that one map answers them all.

RelevoError ────────────────────────────┐
HTTPException (404, 405, broken body) ──┼─► RelevoError ─► refusing.refusal
RequestValidationError ─────────────────┘
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.routing import Match

from relevo.errors import (
    InvalidInputError,
    InvalidJsonError,
    InvalidParameterError,
    MethodNotAllowedError,
    NotFoundError,
    RelevoError,
)
from relevo.web.pages.error_page import refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import Request

_FIELD_LENGTH_SHOWN = 64

#: What a parameter should have been, by the validator's type of complaint. The catalogues translate the words.
_EXPECTED: Mapping[str, str] = {
    "missing": "a value",
    "extra_forbidden": "to be left out: it is not known",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text of the documented form (see /docs)",
    "greater": "a number in the documented range (see /docs)",
    "less": "a number in the documented range (see /docs)",
    "model": "an object",
    "dict": "an object",
    "datetime": "a time, like 2026-01-31, 2026-01-31T12:00:00Z or 2026-01-31T12:00:00+01:00",
    "timezone": "a time, like 2026-01-31, 2026-01-31T12:00:00Z or 2026-01-31T12:00:00+01:00",
    "value": "the documented form (see /docs)",
}


async def answer_failure(request: Request, failure: Exception) -> Response:
    """The exception handler of the whole API."""
    error = as_error(failure, request)
    status, headers, body = refusal(error, request.scope, request.app.state.parts.settings.language)
    response = Response(body, status_code=status)
    response.raw_headers = headers
    return response


def as_error(failure: Exception, request: Request) -> RelevoError:
    """The error of ours that says what happened."""
    if isinstance(failure, RelevoError):
        return failure
    if isinstance(failure, RequestValidationError):
        return _wrong_parameter(failure)
    if isinstance(failure, HTTPException):
        return _refused_by_framework(failure, request)
    return RelevoError()


def _refused_by_framework(failure: HTTPException, request: Request) -> RelevoError:
    if failure.status_code == 404:
        return NotFoundError()
    if failure.status_code == 405:
        return MethodNotAllowedError(allowed=", ".join(methods_at(request)))
    if failure.status_code == 400:
        return InvalidJsonError(reason="it cannot be parsed")
    return InvalidInputError()


def methods_at(request: Request) -> list[str]:
    """Every method that this path takes. The framework names only those of the first route that fits."""
    methods: set[str] = set()
    for room in request.app.state.rooms:
        for route in room.routes:
            if route.matches(request.scope)[0] is not Match.NONE:
                methods |= route.methods
    return sorted(methods)


def _wrong_parameter(failure: RequestValidationError) -> RelevoError:
    first: dict[str, Any] = failure.errors()[0]
    if first["type"] == "json_invalid":
        return InvalidJsonError(reason="it cannot be parsed")
    names = [part for part in first["loc"][1:] if isinstance(part, str)]
    # After a field's own name come the validator's names for what it tried there.
    field = names[0] if names else str(first["loc"][0])
    return InvalidParameterError(field=field[:_FIELD_LENGTH_SHOWN], expected=_expected(first["type"]))


def _expected(complaint: str) -> str:
    return _EXPECTED.get(complaint) or _EXPECTED.get(complaint.partition("_")[0]) or _EXPECTED["value"]
