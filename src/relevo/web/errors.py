"""The one place where an error becomes an HTTP answer.

    RelevoError ─ for_callers ─► what is wrong with this server's own files is told to its log alone
                ├ status_of ─► 4xx | 5xx
                └ problem ───► (status, headers, {"error": "<sentence>", "code": "…", "field"?: "…", "row"?: 0, "request_id": "…"})

Pure functions: the raw predict handlers and every other route answer through them alike. The body's type is exactly
`application/json`, since KServe's client compares the whole string. The core knows codes; nobody else knows status numbers.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any
from zlib import crc32

import msgspec

from relevo.errors import ConfigError, PromotionRefusedError, RelevoError
from relevo.i18n.catalog import sentence

if TYPE_CHECKING:
    from collections.abc import Mapping

Header = tuple[bytes, bytes]
log = logging.getLogger(__name__)

#: Status by code. A class without a row of its own answers as its parent does.
STATUS: Mapping[str, int] = {
    "internal": 500,
    # the caller's input
    "input_refused": 422,
    "bad_json": 400,
    "bad_form": 400,
    "body_too_slow": 408,
    "http_malformed": 400,
    "too_large": 413,
    "head_too_large": 431,
    "unsupported_input": 415,
    "broken_image": 422,
    # not there, not allowed
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
    # not now
    "unavailable": 503,
    # the model
    "model_failed": 500,
    # A version replays finite golden answers before it serves: what makes it answer infinity is the input.
    "output_not_finite": 422,
    # package, import and setting errors reach a command line, hardly ever a request
    "package_refused": 422,
    "import_refused": 422,
    "training_failed": 500,
    "config_refused": 500,
}

#: Answers that the same request may outlive, so they say when to come back.
_RETRIABLE = frozenset({429, 503})
#: Whole seconds; which one is drawn by the request id, so that those refused together do not return together.
_RETRY_AFTER = (1, 2, 3)
_NOT_FOR_CALLERS = "The server's own files or settings cannot be used; its log says why."


def status_of(kind: type[RelevoError]) -> int:
    """The HTTP status of an error class: its own, or that of the nearest parent that has one."""
    for ancestor in kind.__mro__:
        if issubclass(ancestor, RelevoError) and ancestor.code in STATUS:
            return STATUS[ancestor.code]
    return STATUS[RelevoError.code]


def for_callers(error: RelevoError) -> RelevoError:
    """The error without where this server's keys and settings lie: no caller can mend them, and its owner reads the log."""
    if not isinstance(error, ConfigError) or str(error) == _NOT_FOR_CALLERS:
        return error
    log.error("%s", error, extra={"action": "web.server_files"})
    return ConfigError.told(_NOT_FOR_CALLERS)


def error_body(error: RelevoError, language: str, request_id: str) -> dict[str, Any]:
    """The facts of an error as a caller may see them: no input values, no traces, no files of this machine."""
    error = for_callers(error)
    body: dict[str, Any] = {"error": sentence(error, language), "code": error.code, "request_id": request_id}
    if error.field is not None:
        body["field"] = error.field
    row = error.facts.get("row")
    if isinstance(row, int):
        # Position in the batch, from 0.
        body["row"] = row
    if isinstance(error, PromotionRefusedError):
        compared = error.facts.get("rows")
        # Both versions side by side.
        body["compared"] = [list(it) for it in compared] if isinstance(compared, tuple) else []
    return body


def error_response(error: RelevoError, language: str, request_id: str) -> tuple[int, list[Header], bytes]:
    """Status, headers and body of an error, in a language of the catalogue."""
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
    """When the same request is worth repeating, as the header says it; nothing where it never is."""
    if status_of(type(error)) not in _RETRIABLE:
        return []
    told = error.facts.get("retry_after")
    seconds = told if isinstance(told, int) else _RETRY_AFTER[crc32(request_id.encode()) % len(_RETRY_AFTER)]
    return [(b"retry-after", b"%d" % seconds)]
