"""Maps errors to HTTP responses: the only place that knows status codes. The core raises error codes.

    HTTPException, RequestValidationError ─ as_error ─► RelevoError

    RelevoError ─ hide_server_details ─► an error in the server's own files is logged, and its details are not sent
                ├ status_of ───────────► 4xx | 5xx
                └ error_response ──────► status, headers, {"error": "<sentence>", "code": "…", "field"?: "…", "row"?: 0, "request_id": "…"}

Pure functions, used by the raw predict handlers and by all other routes. The content type is exactly `application/json`, since
KServe's client compares the whole string.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any
from zlib import crc32

import msgspec
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from relevo.errors import (
    ConfigError,
    InvalidInputError,
    InvalidJsonError,
    InvalidParameterError,
    MethodNotAllowedError,
    NotFoundError,
    PromotionRefusedError,
    RelevoError,
)
from relevo.i18n.catalog import sentence

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

Header = tuple[bytes, bytes]
log = logging.getLogger(__name__)

#: HTTP status by error code. An error class without an entry inherits the status of its parent.
STATUS: Mapping[str, int] = {
    "internal": 500,
    # client input
    "input_refused": 422,
    "bad_json": 400,
    "bad_form": 400,
    "body_too_slow": 408,
    "http_malformed": 400,
    "too_large": 413,
    "head_too_large": 431,
    "unsupported_input": 415,
    "broken_image": 422,
    # not found, not allowed, conflicts
    "not_found": 404,
    "not_known": 401,
    "refused": 403,
    "method_not_allowed": 405,
    "rate_limited": 429,
    "label_refused": 422,
    "stale_state": 412,
    "takeover_refused": 409,
    "password_refused": 422,
    "name_taken": 409,
    "account_taken": 409,
    "last_admin": 409,
    "too_many_failures": 429,
    # temporary
    "unavailable": 503,
    # the model
    "model_failed": 500,
    # A version must reproduce finite golden outputs before it serves, so an infinite output is caused by the input.
    "output_not_finite": 422,
    # package, import and setting errors: mostly seen on the command line
    "package_refused": 422,
    "import_refused": 422,
    "training_failed": 500,
    "config_refused": 500,
}

#: Statuses of temporary errors: the response carries Retry-After.
_RETRIABLE = frozenset({429, 503})
#: In s. The request id selects one, so that clients refused at the same time do not retry at the same time.
_RETRY_AFTER_CHOICES = (1, 2, 3)
_SERVER_ERROR = "The server's own files or settings cannot be used; its log says why."
_FIELD_LENGTH_SHOWN = 64
#: What a parameter should have been, by the validator's error type. Keys of the translation catalogues.
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


def status_of(kind: type[RelevoError]) -> int:
    """HTTP status of an error class: its own entry, or that of its nearest ancestor."""
    for ancestor in kind.__mro__:
        if issubclass(ancestor, RelevoError) and ancestor.code in STATUS:
            return STATUS[ancestor.code]
    return STATUS[RelevoError.code]


def hide_server_details(error: RelevoError) -> RelevoError:
    """Logs a configuration error and returns one without paths of keys and settings; clients cannot fix these."""
    if not isinstance(error, ConfigError) or str(error) == _SERVER_ERROR:
        return error
    log.error("%s", error, extra={"action": "web.server_files"})
    return ConfigError.with_message(_SERVER_ERROR)


def error_body(error: RelevoError, language: str, request_id: str) -> dict[str, Any]:
    """JSON body of an error, without input values, tracebacks or paths of this machine."""
    error = hide_server_details(error)
    body: dict[str, Any] = {"error": sentence(error, language), "code": error.code, "request_id": request_id}
    if error.field is not None:
        body["field"] = error.field
    row = error.facts.get("row")
    if isinstance(row, int):
        # Position in the batch, 0-based.
        body["row"] = row
    if isinstance(error, PromotionRefusedError):
        compared = error.facts.get("rows")
        # Rows of (metric, current version, new version).
        body["compared"] = [list(row) for row in compared] if isinstance(compared, tuple) else []
    return body


def error_response(error: RelevoError, language: str, request_id: str) -> tuple[int, list[Header], bytes]:
    """Status, headers and body of an error; language: one of catalog.LANGUAGES."""
    status = status_of(type(error))
    body = msgspec.json.encode(error_body(error, language, request_id))
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    headers += retry_header(error, request_id)
    if status == STATUS["not_known"]:
        headers.append((b"www-authenticate", b'Bearer realm="relevo"'))
    if status == STATUS["method_not_allowed"]:
        headers.append((b"allow", str(error.facts["allowed"]).encode("ascii")))
    return status, headers, body


def retry_header(error: RelevoError, request_id: str) -> list[Header]:
    """The Retry-After header of a temporary error; empty for all others."""
    if status_of(type(error)) not in _RETRIABLE:
        return []
    retry_after = error.facts.get("retry_after")
    if not isinstance(retry_after, int):
        retry_after = _RETRY_AFTER_CHOICES[crc32(request_id.encode()) % len(_RETRY_AFTER_CHOICES)]
    return [(b"retry-after", b"%d" % retry_after)]


def as_error(exception: Exception, request: Request) -> RelevoError:
    """The RelevoError that corresponds to an exception of a route or of the framework."""
    if isinstance(exception, RelevoError):
        return exception
    if isinstance(exception, RequestValidationError):
        return _from_validation(exception)
    if isinstance(exception, HTTPException):
        return _from_http_exception(exception, request)
    return RelevoError()


def _from_http_exception(exception: HTTPException, request: Request) -> RelevoError:
    if exception.status_code == 404:
        return NotFoundError()
    if exception.status_code == 405:
        return MethodNotAllowedError(allowed=", ".join(methods_for_path(request)))
    if exception.status_code == 400:
        return InvalidJsonError(reason="it cannot be parsed")
    return InvalidInputError()


def methods_for_path(request: Request) -> list[str]:
    """All methods that the routes of this path accept. The framework reports only those of the first matching route."""
    methods: set[str] = set()
    for router in request.app.state.routers:
        for route in router.routes:
            if route.matches(request.scope)[0] is not Match.NONE:
                methods |= route.methods
    return sorted(methods)


def _from_validation(exception: RequestValidationError) -> RelevoError:
    first: dict[str, Any] = exception.errors()[0]
    if first["type"] == "json_invalid":
        return InvalidJsonError(reason="it cannot be parsed")
    names = [part for part in first["loc"][1:] if isinstance(part, str)]
    # The first name is the field; the validator appends the names of the union members that it tried.
    field = names[0] if names else str(first["loc"][0])
    return InvalidParameterError(field=field[:_FIELD_LENGTH_SHOWN], expected=_expected(first["type"]))


def _expected(error_type: str) -> str:
    return _EXPECTED.get(error_type) or _EXPECTED.get(error_type.partition("_")[0]) or _EXPECTED["value"]
