"""A browser's session as HTTP has it: its cookie, the token that its forms carry, and the worker's short memory of who it is.

    Set-Cookie ─► browser ─► Cookie ─ token_of ─► SessionCache.who ─ seen a moment ago? ─► Principal
                                                       └ Sessions.find, in a thread ────► Principal | AuthenticationError
    csrf_of(token) ─► hidden field and X-CSRF-Token: known to our own pages alone, since a page elsewhere cannot read them

Over https the cookie's name begins with __Host-, so that no neighbour's host and no plain http can set it.
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

#: The form field, and the header in lower case, in which a session's own pages send its token.
CSRF_FIELD = "csrf"
CSRF_HEADER = b"x-csrf-token"
#: How long a worker may go without asking the store for a session that it has seen: a closed one must be dead in under a second.
_REMEMBERED_S = 0.3
#: How long it may while the store does not answer: then nobody can be taken their rights either.
_REMEMBERED_IN_NEED_S = 600.0
_MOST_REMEMBERED = 4096
_MOST_TOKEN = 128


def cookie_name(scope: Scope) -> str:
    """What the session's cookie is called on this way in."""
    return "__Host-relevo" if scope.get("scheme") == "https" else "relevo_session"


def login_cookie_name(scope: Scope) -> str:
    """What the cookie is called that ties a sign-in form to the browser that asked for it."""
    return "__Host-relevo-form" if scope.get("scheme") == "https" else "relevo_form"


def device_cookie_name(scope: Scope) -> str:
    """What the cookie is called by which a browser is recognised that somebody has signed in at before."""
    return "__Host-relevo-known" if scope.get("scheme") == "https" else "relevo_known"


def cookie_value(scope: Scope, name: str) -> str | None:
    """The value of a cookie, the first of that name; None without."""
    for pair in (header(scope, b"cookie") or "").split(";"):
        key, _, value = pair.strip().partition("=")
        if key == name and 0 < len(value) <= _MOST_TOKEN:
            return value
    return None


def set_cookie(scope: Scope, name: str, value: str, *, lives_s: int | None = None) -> str:
    """A Set-Cookie header's value; without a value the cookie goes. lives_s: None until the browser is closed."""
    secure = "; Secure" if scope.get("scheme") == "https" else ""
    age = "; Max-Age=0" if not value else f"; Max-Age={lives_s}" if lives_s else ""
    return f"{name}={value}; Path=/; HttpOnly; SameSite=Lax{secure}{age}"


def csrf_of(token: str) -> str:
    """What the pages of a session send along; made from its token, which it does not give away."""
    return hmac.new(token.encode(), b"relevo csrf", hashlib.sha256).hexdigest()


def check_csrf(token: str, sent: str | None) -> None:
    """Hold what came against what the pages of a signed-in visitor send, in constant time. Raises CsrfError."""
    if sent is None or not hmac.compare_digest(csrf_of(token).encode(), sent.encode("utf-8", "replace")):
        raise CsrfError


class SessionCache:
    """Who a worker has just seen; lives as long as the worker."""

    def __init__(self, sessions: Sessions, now: Callable[[], datetime]) -> None:
        self._sessions = sessions
        self._now = now
        self._seen: dict[str, tuple[float, Principal]] = {}

    async def who(self, token: str) -> Principal:
        """Whoever signed in with this token. Raises AuthenticationError, DatabaseUnavailableError."""
        mark = _mark(token)
        read_at, principal = self._seen.get(mark, (float("-inf"), None))
        age = time.monotonic() - read_at
        if principal is not None and age < _REMEMBERED_S:
            return principal
        try:
            found = await asyncio.to_thread(self._sessions.find, token, at=self._now())
        except AuthenticationError:
            self._seen.pop(mark, None)
            raise
        except DatabaseUnavailableError:
            if principal is not None and age < _REMEMBERED_IN_NEED_S:
                return principal
            raise
        self._remember(mark, found)
        return found

    def forget(self, token: str | None) -> None:
        """It has just been closed here."""
        self._seen.pop(_mark(token or ""), None)

    def _remember(self, mark: str, principal: Principal) -> None:
        if len(self._seen) >= _MOST_REMEMBERED:
            self._seen.pop(next(iter(self._seen)))
        self._seen[mark] = (time.monotonic(), principal)


def _mark(token: str) -> str:
    # What lies in the memory of a worker lets nobody in either.
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
