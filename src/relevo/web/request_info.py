"""What a request asks for beside its body: a language, and its own name.

?lang= ─► cookie ─► Accept-Language ─► setting        the first that names a spoken language wins
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from relevo.i18n.catalog import known, negotiate_language
from relevo.web.query_string import LANGUAGE, query_of

if TYPE_CHECKING:
    from starlette.types import Scope

COOKIE = "relevo_lang"
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_HOST = re.compile(r"[A-Za-z0-9.\-]{1,253}(:\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:\d{1,5})?")


def header(scope: Scope, name: bytes) -> str | None:
    """The first header of that lower-case name, or None."""
    for key, value in scope["headers"]:
        if key == name:
            text: str = value.decode("latin-1")
            return text
    return None


def language_of(scope: Scope, default: str) -> str:
    """The language of an answer to this request, one of catalog.LANGUAGES."""
    return _asked_for(scope) or _remembered(scope) or negotiate_language(header(scope, b"accept-language"), default)


def _asked_for(scope: Scope) -> str | None:
    query: bytes = scope.get("query_string", b"")
    if b"lang=" not in query:
        return None
    return known(query_of(scope).get(LANGUAGE, ""))


def _remembered(scope: Scope) -> str | None:
    for pair in (header(scope, b"cookie") or "").split(";"):
        name, _, value = pair.strip().partition("=")
        if name == COOKIE:
            return known(value)
    return None


def request_id_of(scope: Scope) -> str:
    """The caller's X-Request-Id where it is a plain word, else a new random one."""
    for key, value in scope["headers"]:
        if key == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            own: str = value.decode("ascii")
            return own
    return os.urandom(8).hex()


def address_of(scope: Scope) -> str:
    """Scheme and host as the caller wrote them, for lines to be copied; a Host that is none is not repeated."""
    host = header(scope, b"host") or ""
    return f"{scope.get('scheme', 'http')}://{host if _HOST.fullmatch(host) else 'localhost'}"
