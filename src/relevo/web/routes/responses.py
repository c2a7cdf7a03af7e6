"""OpenAPI `responses` of the errors that a route may return."""

from __future__ import annotations

from typing import Any

from relevo.web.schemas.common import ErrorBody

_DESCRIPTIONS = {
    400: "The body cannot be read",
    401: "Nobody said who asks, or with what does not count",
    403: "Not allowed",
    404: "There is no such thing",
    409: "Against what else is there",
    412: "It was changed meanwhile",
    413: "Larger than this server takes",
    415: "A kind of input that is not taken",
    422: "Read and refused",
    429: "Over the caller's share; see Retry-After",
    500: "The model failed",
    503: "Not now; see Retry-After",
}


def error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` argument of a route: each status with the common error body."""
    return {status: {"model": ErrorBody, "description": _DESCRIPTIONS[status]} for status in statuses}
