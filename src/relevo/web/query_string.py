"""Parses query strings, limits their size, and rejects parameters that the route does not know.

    ?lang=en&model=digits ─ QueryLimitMiddleware: at most 100 parameters ─► route ─ check_parameters ─► 422 with the closest known name

Unknown parameters are never ignored: `?version=99` is an error on a route that cannot select a version.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from fastapi import Request  # noqa: TC002 - FastAPI reads the type at run time
from fastapi.routing import APIRoute
from pydantic import BaseModel

from relevo.errors import TooManyParametersError, UnknownParameterError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from starlette.types import ASGIApp, Receive, Scope, Send

#: Parameters of one query string; no route has a tenth of them.
MAX_PARAMETERS = 100
#: Known to all routes: the language of the response.
LANGUAGE = "lang"
_NAME_LENGTH_SHOWN = 64


class QueryLimitMiddleware:
    """Rejects query strings with too many parameters before they are parsed. Lifetime: the app."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises TooManyParametersError."""
        if scope["type"] == "http" and scope.get("query_string", b"").count(b"&") >= MAX_PARAMETERS:
            raise TooManyParametersError(limit=MAX_PARAMETERS)
        await self._app(scope, receive, send)


def query_parameters(scope: Scope) -> dict[str, str]:
    """Parameters by name; the first of a repeated name wins. Empty above MAX_PARAMETERS: the middleware rejects that request."""
    query: bytes = scope.get("query_string", b"")
    if not query or query.count(b"&") >= MAX_PARAMETERS:
        return {}
    return dict(reversed(parse_qsl(query.decode("latin-1"), keep_blank_values=True)))


def check_parameters(names: Iterable[str], known: Iterable[str]) -> None:
    """Raises UnknownParameterError for the first parameter that is neither known nor the language."""
    allowed = [*known, LANGUAGE]
    for name in names:
        if name not in allowed:
            shown = name[:_NAME_LENGTH_SHOWN]
            raise UnknownParameterError(field=shown, nearest=difflib.get_close_matches(shown, allowed, n=1, cutoff=0.0)[0])


def reject_unknown_parameters(request: Request) -> None:
    """FastAPI dependency: rejects query parameters that the route does not declare. Raises UnknownParameterError."""
    route = request.scope.get("route")
    if isinstance(route, APIRoute):
        check_parameters(query_parameters(request.scope), _declared_names(route))


def _declared_names(route: APIRoute) -> Iterator[str]:
    """Names of the route's query parameters, including the fields of query models."""
    for parameter in route.dependant.query_params:
        annotation = parameter.field_info.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from (field.alias or name for name, field in annotation.model_fields.items())
        else:
            yield parameter.alias
