"""Reads the language, the request id and the base URL of a request.

?lang= ─► cookie ─► Accept-Language ─► setting `language`        the first that names an available language wins
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from relevo.i18n.catalog import known, negotiate_language
from relevo.web.query_string import LANGUAGE, query_parameters

if TYPE_CHECKING:
    from starlette.types import Scope

COOKIE = "relevo_lang"
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_HOST = re.compile(r"[A-Za-z0-9.\-]{1,253}(:\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:\d{1,5})?")


def header(scope: Scope, name: bytes) -> str | None:
    """Value of the first header with this lower-case name, or None."""
    for key, value in scope["headers"]:
        if key == name:
            text: str = value.decode("latin-1")
            return text
    return None


def language_of(scope: Scope, default: str) -> str:
    """Language of the response, one of catalog.LANGUAGES."""
    return _from_query(scope) or _from_cookie(scope) or negotiate_language(header(scope, b"accept-language"), default)


def _from_query(scope: Scope) -> str | None:
    query: bytes = scope.get("query_string", b"")
    if b"lang=" not in query:
        return None
    return known(query_parameters(scope).get(LANGUAGE, ""))


def _from_cookie(scope: Scope) -> str | None:
    for pair in (header(scope, b"cookie") or "").split(";"):
        name, _, value = pair.strip().partition("=")
        if name == COOKIE:
            return known(value)
    return None


def request_id_of(scope: Scope) -> str:
    """The client's X-Request-Id if it matches _REQUEST_ID, else a new random one."""
    for key, value in scope["headers"]:
        if key == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            request_id: str = value.decode("ascii")
            return request_id
    return os.urandom(8).hex()


def address_of(scope: Scope) -> str:
    """Base URL of the request, for example commands and redirects; localhost if the Host header is invalid."""
    host = header(scope, b"host") or ""
    return f"{scope.get('scheme', 'http')}://{host if _HOST.fullmatch(host) else 'localhost'}"
