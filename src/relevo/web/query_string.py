"""The query string of a request: bounded, read once, and held against what its route knows.

    ?lang=en&model=digits ─ Queries: at most 100 parameters ─► route ─ refuse_unknown ─► 422 that names the nearest known one

Nothing that a caller asks for is passed over: `?version=99` is refused rather than answered by another version.
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

#: Parameters of one address; no route knows a tenth of them.
MOST = 100
#: What every route knows: the language of its answer.
LANGUAGE = "lang"
_NAME_LENGTH_SHOWN = 64


class Queries:
    """Refuses a query string of too many parameters before anybody reads it; lives as long as the app."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises TooManyParametersError."""
        if scope["type"] == "http" and scope.get("query_string", b"").count(b"&") >= MOST:
            raise TooManyParametersError(limit=MOST)
        await self._app(scope, receive, send)


def query_of(scope: Scope) -> dict[str, str]:
    """The parameters; of one that stands twice the first counts, and of too many none, since they are refused."""
    query: bytes = scope.get("query_string", b"")
    if not query or query.count(b"&") >= MOST:
        return {}
    return dict(reversed(parse_qsl(query.decode("latin-1"), keep_blank_values=True)))


def refuse_unknown(given: Iterable[str], known: Iterable[str]) -> None:
    """Raises UnknownParameterError for the first parameter that is not known, the language's apart."""
    names = [*known, LANGUAGE]
    for name in given:
        if name not in names:
            shown = name[:_NAME_LENGTH_SHOWN]
            raise UnknownParameterError(field=shown, nearest=difflib.get_close_matches(shown, names, n=1, cutoff=0.0)[0])


def only_known(request: Request) -> None:
    """For routes of the framework: refuse what none of the route's own parameters is. Raises UnknownParameterError."""
    route = request.scope.get("route")
    if isinstance(route, APIRoute):
        refuse_unknown(query_of(request.scope), _names(route))


def _names(route: APIRoute) -> Iterator[str]:
    """What the route's own function takes of the query, by itself or as a model of several."""
    for parameter in route.dependant.query_params:
        kind = parameter.field_info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from (field.alias or name for name, field in kind.model_fields.items())
        else:
            yield parameter.alias
