"""Session cookies, CSRF tokens, and a short-lived cache of sessions in the worker.

    Set-Cookie ─► browser ─► Cookie ─ cookie_value ─► SessionCache.find ─ cached? ─► Principal
                                                        └ Sessions.find, in a thread ─► Principal | AuthenticationError
    csrf_token_for(token) ─► hidden field and X-CSRF-Token: readable by our own pages only, not by other origins

Over https the cookie names begin with __Host-, so that neither a sibling host nor plain http can set them.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from typing import TYPE_CHECKING

from relevo.errors import AuthenticationError, CsrfError, DatabaseUnavailableError
from relevo.web.request_info import header

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from starlette.types import Scope

    from relevo.domain.access import Principal
    from relevo.store.auth.sessions import Sessions

#: Form field and lower-case header that carry the CSRF token.
CSRF_FIELD = "csrf"
CSRF_HEADER = b"x-csrf-token"
#: Cache lifetime of a session: a closed session must be rejected by all workers in under a second.
_CACHE_TTL_S = 0.3
#: Cache lifetime while the database is unavailable; permissions cannot change then either.
_OFFLINE_CACHE_TTL_S = 600.0
_MAX_CACHED = 4096
_MAX_TOKEN_LENGTH = 128


def cookie_name(scope: Scope) -> str:
    """Name of the session cookie for the scheme of this request."""
    return "__Host-relevo" if scope.get("scheme") == "https" else "relevo_session"


def login_cookie_name(scope: Scope) -> str:
    """Name of the cookie that binds a login form to the browser that requested it."""
    return "__Host-relevo-form" if scope.get("scheme") == "https" else "relevo_form"


def device_cookie_name(scope: Scope) -> str:
    """Name of the cookie that marks a browser in which a user has logged in before."""
    return "__Host-relevo-known" if scope.get("scheme") == "https" else "relevo_known"


def cookie_value(scope: Scope, name: str) -> str | None:
    """Value of the first cookie of this name, or None."""
    for pair in (header(scope, b"cookie") or "").split(";"):
        key, _, value = pair.strip().partition("=")
        if key == name and 0 < len(value) <= _MAX_TOKEN_LENGTH:
            return value
    return None


def set_cookie(scope: Scope, name: str, value: str, *, lives_s: int | None = None) -> str:
    """Value of a Set-Cookie header; an empty value deletes the cookie. lives_s: in s; None for a session cookie."""
    secure = "; Secure" if scope.get("scheme") == "https" else ""
    age = "; Max-Age=0" if not value else f"; Max-Age={lives_s}" if lives_s else ""
    return f"{name}={value}; Path=/; HttpOnly; SameSite=Lax{secure}{age}"


def csrf_token_for(token: str) -> str:
    """CSRF token of a session, derived from its token without revealing it."""
    return hmac.new(token.encode(), b"relevo csrf", hashlib.sha256).hexdigest()


def check_csrf(token: str, received: str | None) -> None:
    """Compares the received CSRF token with that of the session, in constant time. Raises CsrfError."""
    if received is None or not hmac.compare_digest(csrf_token_for(token).encode(), received.encode("utf-8", "replace")):
        raise CsrfError


class SessionCache:
    """Recently used sessions. Lifetime: the worker."""

    def __init__(self, sessions: Sessions, now: Callable[[], datetime]) -> None:
        self._sessions = sessions
        self._now = now
        self._cached: dict[str, tuple[float, Principal]] = {}

    async def find(self, token: str) -> Principal:
        """The principal of the session with this token. Raises AuthenticationError, DatabaseUnavailableError."""
        key = _cache_key(token)
        read_at, principal = self._cached.get(key, (float("-inf"), None))
        age = time.monotonic() - read_at
        if principal is not None and age < _CACHE_TTL_S:
            return principal
        try:
            fresh = await asyncio.to_thread(self._sessions.find, token, at=self._now())
        except AuthenticationError:
            self._cached.pop(key, None)
            raise
        except DatabaseUnavailableError:
            if principal is not None and age < _OFFLINE_CACHE_TTL_S:
                return principal
            raise
        self._store(key, fresh)
        return fresh

    def forget(self, token: str | None) -> None:
        """Removes a session that has just been closed."""
        self._cached.pop(_cache_key(token or ""), None)

    def _store(self, key: str, principal: Principal) -> None:
        if len(self._cached) >= _MAX_CACHED:
            self._cached.pop(next(iter(self._cached)))
        self._cached[key] = (time.monotonic(), principal)


def _cache_key(token: str) -> str:
    # Hashed, so that a memory dump of the worker contains no usable token.
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
