"""Authenticates and authorizes every request. A request that matches no access rule is denied.

    scope ─ find_rule ─┬ public ─────────────────────────────► app
                       └ authenticate(scope) ─┬ no identity ───────────► 401 not_known; browsers are redirected to /login
                                              ├ the users were lost ───► 503 users_lost
                                              ├ CSRF check fails ──────► 403 not_your_page
                                              ├ no rule ───────────────► 404 not_found, 405 method_not_allowed
                                              ├ model not visible ─────► 404 model_not_found, as if it did not exist
                                              ├ action not permitted ──► 403 not_allowed
                                              └ principal in the scope ► app

Where the path names an object but not its model, a prediction for example, the route checks the permission.
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
from relevo.web.auth.sessions import CSRF_FIELD, CSRF_HEADER, SessionCache, check_csrf, cookie_name, cookie_value, csrf_token_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

_BEARER = b"bearer "
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
#: Before the store has been read, no request is authenticated.
NOT_LOADED = AccessSnapshot(revision=-1, no_users=False)


class Authenticator:
    """Authenticates requests. Lifetime: the worker. `server.sync` replaces `access` whenever users or keys change."""

    def __init__(self, access: AccessSnapshot = NOT_LOADED, *, sessions: SessionCache | None = None) -> None:
        """sessions: None where no one can log in, as without a store."""
        self.access = access
        self.sessions = sessions

    def forget_session(self, token: str | None) -> None:
        """Drops a closed session from the cache."""
        if self.sessions is not None and token is not None:
            self.sessions.forget(token)

    def authenticate_key(self, headers: Iterable[tuple[bytes, bytes]]) -> Principal | None:
        """The principal of the API key in these headers, without a database query; None without a key.

        Raises AuthenticationError for an invalid key, DatabaseUnavailableError while users have never been read from the store,
        UsersLostError after the users were lost, unless the key was known before.
        """
        access = self.access
        if access.no_users:
            return ANONYMOUS_ADMIN
        if access.revision < 0:
            raise DatabaseUnavailableError
        for name, value in headers:
            if name == b"authorization":
                return self._find_key(access, value)
        if access.lost:
            raise UsersLostError
        return None

    def _find_key(self, access: AccessSnapshot, value: bytes) -> Principal:
        if value[: len(_BEARER)].lower() != _BEARER:
            raise AuthenticationError
        principal = access.find_key(value[len(_BEARER) :].strip(), time.time_ns() // 1000)
        if principal is None:
            raise UsersLostError if access.lost else AuthenticationError
        return principal

    def check_users(self) -> None:
        """Raises UsersLostError if the users were lost, so that no one could log in."""
        if self.access.lost:
            raise UsersLostError

    async def authenticate(self, scope: Scope) -> Principal:
        """The principal of the key or session of this request. Raises AuthenticationError."""
        principal = self.authenticate_key(scope["headers"])
        if principal is not None:
            return principal
        token = cookie_value(scope, cookie_name(scope))
        if token is None or self.sessions is None:
            raise AuthenticationError
        return await self.sessions.find(token)

    async def authenticate_optional(self, scope: Scope) -> Principal | None:
        """The principal on a public path; None without one, or if it cannot be determined now."""
        try:
            return await self.authenticate(scope)
        except (AuthenticationError, DatabaseUnavailableError):
            return None


class AuthMiddleware:
    """Lets a request pass if its access rule permits it. Lifetime: the app."""

    def __init__(self, app: ASGIApp, authenticator: Authenticator) -> None:
        self._app = app
        self._authenticator = authenticator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises AuthenticationError, CsrfError, PermissionDeniedError, ModelNotFoundError, NotFoundError, MethodNotAllowedError."""
        if scope["type"] == "http":
            rule, model = find_rule(scope["method"], scope["path"])
            if rule is None or not rule.public:
                try:
                    principal = await self._authenticator.authenticate(scope)
                except AuthenticationError:
                    if not wants_html(scope):
                        raise
                    await redirect_to_login(scope, send)
                    return
                _authorize(scope, principal, rule, model)
        await self._app(scope, receive, send)


def _authorize(scope: Scope, principal: Principal, rule: AccessRule | None, model: str | None) -> None:
    scope["state"]["principal"] = principal
    check_request_csrf(scope, principal, may_be_form=rule is not None and rule.csrf_in_form)
    if rule is None:
        # Not passed on: a router may match more paths than the rules do.
        raise _no_rule_error(scope["path"])
    if rule.action is not None and not (rule.enough_for_own and principal.can(rule.enough_for_own)):
        require_permission(principal, rule.action, model)


def _no_rule_error(path: str) -> RelevoError:
    methods = allowed_methods(path)
    return MethodNotAllowedError(allowed=", ".join(methods)) if methods else NotFoundError()


def check_request_csrf(scope: Scope, principal: Principal, *, may_be_form: bool) -> None:
    """Requires a same-origin request and the session's CSRF token for unsafe methods of a session.

    Browsers send the session cookie with every request. The Origin header must be present; `trusted_host` has checked its value. The
    token is in a header, or in the form of a route that reads it. Raises CsrfError.
    """
    if principal.auth_method is not AuthMethod.SESSION or scope["method"] in _SAFE:
        return
    headers = dict(scope["headers"])
    if b"origin" not in headers and headers.get(b"sec-fetch-site") != b"same-origin":
        raise CsrfError
    token = headers.get(CSRF_HEADER)
    if token is None and may_be_form:
        scope["state"]["csrf_token_in_form"] = True
        return
    check_csrf(_session(scope), None if token is None else token.decode("latin-1"))


def check_form(scope: Scope, form: Mapping[str, str]) -> None:
    """Checks the CSRF token of a form if no header carried one; for routes with `csrf_in_form`. Raises CsrfError."""
    if scope["state"].get("csrf_token_in_form"):
        check_csrf(_session(scope), form.get(CSRF_FIELD))


def csrf_token(scope: Scope) -> str:
    """CSRF token for the forms of a page; "" without a session."""
    principal: Principal | None = scope["state"].get("principal")
    return csrf_token_for(_session(scope)) if principal is not None and principal.auth_method is AuthMethod.SESSION else ""


def signed_in_as(scope: Scope) -> str:
    """User name for the top of the page; "" without a session."""
    principal: Principal | None = scope["state"].get("principal")
    return principal.name if principal is not None and principal.auth_method is AuthMethod.SESSION else ""


def wants_html(scope: Scope) -> bool:
    """Whether the client is a browser showing a page, not a program or a script of a page."""
    headers = dict(scope["headers"])
    return b"text/html" in headers.get(b"accept", b"") and b"authorization" not in headers


async def redirect_to_login(scope: Scope, send: Send) -> None:
    """Redirects to the login page, with `next` set to the requested URL if the method is safe."""
    back = scope["path"] if scope["method"] in _SAFE else "/"
    query = scope.get("query_string", b"").decode("latin-1") if scope["method"] in _SAFE else ""
    location = "/login?" + urlencode({"next": f"{back}?{query}" if query else back})
    headers = [(b"location", location.encode("latin-1")), (b"content-length", b"0"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 303, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _session(scope: Scope) -> str:
    return cookie_value(scope, cookie_name(scope)) or ""


def require_permission(principal: Principal, action: Action, model: str | None = None) -> None:
    """Raises ModelNotFoundError if the principal may not see the model, PermissionDeniedError if the action is denied."""
    if model is not None and not principal.can_see(model):
        raise ModelNotFoundError(model=model)
    if not principal.can(action, model):
        raise PermissionDeniedError(who=principal.name or "You", role=MIN_ROLE[action].value, action=action.value)


def audit_actor(request: Request) -> Actor:
    """The actor of this request, as the audit log names it."""
    return Actor(actor=principal_of(request).actor, address=address_of_caller(request))


def address_of_caller(request: Request) -> str:
    """Client address, as trusted proxies report it; "" if unknown."""
    return request.client.host if request.client else ""


def principal_of(request: Request) -> Principal:
    """The principal that AuthMiddleware stored for this route."""
    principal: Principal = request.scope["state"]["principal"]
    return principal
