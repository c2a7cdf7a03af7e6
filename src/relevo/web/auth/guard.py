"""The one door: who asks, and whether they may. Everything that no rule lets in stays out.

    scope ─ rule_of ─┬ public ──────────────────────────────► on
                     └ who(scope) ─┬ nobody ────────────────► 401 not_known; people with a browser are led to /login
                                   ├ the users were lost ───► 503 users_lost
                                   ├ a form not ours ───────► 403 not_your_page
                                   ├ in no row ─────────────► 404 not_found, 405 method_not_allowed
                                   ├ may not see the model ─► 404 model_not_found, as if it were not there
                                   ├ may not do it ─────────► 403 not_allowed
                                   └ principal in the scope ► on

What a path names without naming its model, a prediction for one, is held against the principal by its route.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from relevo.domain.access import ANONYMOUS_ADMIN, MIN_ROLE, AccessSnapshot, Action, AuthMethod, Principal
from relevo.domain.audit import Actor
from relevo.errors import (
    AuthenticationError,
    CsrfError,
    DatabaseUnavailableError,
    MethodNotAllowedError,
    ModelNotFoundError,
    NotFoundError,
    PermissionDeniedError,
    RelevoError,
    UsersLostError,
)
from relevo.web.auth.access_rules import AccessRule, allowed_methods, find_rule
from relevo.web.auth.sessions import CSRF_FIELD, CSRF_HEADER, SessionCache, check_csrf, cookie_name, cookie_value, csrf_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

_BEARER = b"bearer "
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
#: Until the store has told who there is, nobody is let in.
NOBODY_YET = AccessSnapshot(epoch=-1, open=False)


class Authenticator:
    """Knows who may come in; lives as long as the worker. Whoever follows the store puts a new roll here when people change."""

    def __init__(self, roll: AccessSnapshot = NOBODY_YET, *, sessions: SessionCache | None = None) -> None:
        """sessions: None where nobody can sign in, as without a store."""
        self.roll = roll
        self.sessions = sessions

    def by_key(self, headers: Iterable[tuple[bytes, bytes]]) -> Principal | None:
        """Whoever these headers name without a look into the store.

        Raises AuthenticationError for a key that does not count, DatabaseUnavailableError while the store has never told who
        there is, UsersLostError for
        whoever was not known before the users were lost.
        """
        roll = self.roll
        if roll.open:
            return ANONYMOUS_ADMIN
        if roll.epoch < 0:
            raise DatabaseUnavailableError
        for name, value in headers:
            if name == b"authorization":
                return self._by_key(roll, value)
        if roll.lost:
            raise UsersLostError
        return None

    def _by_key(self, roll: AccessSnapshot, value: bytes) -> Principal:
        if value[: len(_BEARER)].lower() != _BEARER:
            raise AuthenticationError
        principal = roll.by_key(value[len(_BEARER) :].strip(), time.time_ns() // 1000)
        if principal is None:
            raise UsersLostError if roll.lost else AuthenticationError
        return principal

    def check_users(self) -> None:
        """See that there is somebody who could sign in. Raises UsersLostError."""
        if self.roll.lost:
            raise UsersLostError

    async def who(self, scope: Scope) -> Principal:
        """Whoever asks. Raises AuthenticationError."""
        principal = self.by_key(scope["headers"])
        if principal is not None:
            return principal
        token = cookie_value(scope, cookie_name(scope))
        if token is None or self.sessions is None:
            raise AuthenticationError
        return await self.sessions.who(token)

    async def maybe(self, scope: Scope) -> Principal | None:
        """Whoever asks, on an address that is open to all; None for nobody, or nobody that can be found now."""
        try:
            return await self.who(scope)
        except (AuthenticationError, DatabaseUnavailableError):
            return None


class AuthMiddleware:
    """Lets in whom a rule lets in; lives as long as the app."""

    def __init__(self, app: ASGIApp, door: Authenticator) -> None:
        self._app = app
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises AuthenticationError, CsrfError, PermissionDeniedError, ModelNotFoundError, NotFoundError, MethodNotAllowedError."""
        if scope["type"] == "http":
            rule, model = find_rule(scope["method"], scope["path"])
            if rule is None or not rule.public:
                try:
                    principal = await self._door.who(scope)
                except AuthenticationError:
                    if not wants_html(scope):
                        raise
                    await redirect_to_login(scope, send)
                    return
                _hold(scope, principal, rule, model)
        await self._app(scope, receive, send)


def _hold(scope: Scope, principal: Principal, rule: AccessRule | None, model: str | None) -> None:
    scope["state"]["principal"] = principal
    check_request_csrf(scope, principal, may_be_form=rule is not None and rule.form)
    if rule is None:
        # What stands in no row is not passed on: a router may be more generous about a path than the rows are.
        raise _nowhere(scope["path"])
    if rule.action is not None and not (rule.own and principal.may(rule.own)):
        require(principal, rule.action, model)


def _nowhere(path: str) -> RelevoError:
    methods = allowed_methods(path)
    return MethodNotAllowedError(allowed=", ".join(methods)) if methods else NotFoundError()


def check_request_csrf(scope: Scope, principal: Principal, *, may_be_form: bool) -> None:
    """A session comes along with whatever a browser sends, so what changes something must also show that a page of ours sent it.

    By its origin, whose being ours the wall has seen to, and by the session's token: in a header, or in the form of a route that
    reads it. Raises CsrfError.
    """
    if principal.way is not AuthMethod.SESSION or scope["method"] in _SAFE:
        return
    told = dict(scope["headers"])
    if b"origin" not in told and told.get(b"sec-fetch-site") != b"same-origin":
        raise CsrfError
    sent = told.get(CSRF_HEADER)
    if sent is None and may_be_form:
        scope["state"]["form_must_tell"] = True
        return
    check_csrf(_session(scope), None if sent is None else sent.decode("latin-1"))


def check_form(scope: Scope, form: Mapping[str, str]) -> None:
    """In a route whose rule says `form`: hold the form's token against the session's, if no header told it. Raises CsrfError."""
    if scope["state"].get("form_must_tell"):
        check_csrf(_session(scope), form.get(CSRF_FIELD))


def csrf_token(scope: Scope) -> str:
    """What the forms of this page must send along; empty where nobody came by a session."""
    principal: Principal | None = scope["state"].get("principal")
    return csrf_of(_session(scope)) if principal is not None and principal.way is AuthMethod.SESSION else ""


def signed_in_as(scope: Scope) -> str:
    """The name of whoever came by a session, for the top of the page; empty for everybody else."""
    principal: Principal | None = scope["state"].get("principal")
    return principal.name if principal is not None and principal.way is AuthMethod.SESSION else ""


def wants_html(scope: Scope) -> bool:
    """Whether a person with a browser asks, rather than a program or a script of a page."""
    told = dict(scope["headers"])
    return b"text/html" in told.get(b"accept", b"") and b"authorization" not in told


async def redirect_to_login(scope: Scope, send: Send) -> None:
    """To the sign-in page, and from there back to what was asked, unless that would be done by asking alone."""
    back = scope["path"] if scope["method"] in _SAFE else "/"
    query = scope.get("query_string", b"").decode("latin-1") if scope["method"] in _SAFE else ""
    there = "/login?" + urlencode({"next": f"{back}?{query}" if query else back})
    headers = [(b"location", there.encode("latin-1")), (b"content-length", b"0"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 303, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _session(scope: Scope) -> str:
    return cookie_value(scope, cookie_name(scope)) or ""


def require(principal: Principal, action: Action, model: str | None = None) -> None:
    """Hold somebody against the table. Raises ModelNotFoundError for a model not theirs to see, PermissionDeniedError."""
    if model is not None and not principal.sees(model):
        raise ModelNotFoundError(model=model)
    if not principal.may(action, model):
        raise PermissionDeniedError(who=principal.name or "You", role=MIN_ROLE[action].value, action=action.value)


def audit_actor(request: Request) -> Actor:
    """How the audit calls whoever asks on this route."""
    return Actor(actor=principal_of(request).actor, address=address_of_caller(request))


def address_of_caller(request: Request) -> str:
    """From where a request comes, as the proxies in front tell it; "" where the server does not know."""
    return request.client.host if request.client else ""


def principal_of(request: Request) -> Principal:
    """Whoever the guard let in to this route."""
    principal: Principal = request.scope["state"]["principal"]
    return principal
