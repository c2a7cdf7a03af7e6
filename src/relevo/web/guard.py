"""The one door: who asks, and whether they may. Everything that no rule lets in stays out.

scope ─ rule_of ─┬ public ──────────────────────────────► on
└ who(scope) ─┬ nobody ────────────────► 401 not_known
├ may not see the model ─► 404 model_not_found, as if it were not there
├ may not do it ─────────► 403 not_allowed
└ principal in the scope ► on; what the path names is held against it by the route
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from relevo.domain.audit import By
from relevo.domain.people import EVERYBODY, LEAST, Action, Principal, Roll
from relevo.errors import ModelNotFound, NotAllowed, NotKnown
from relevo.web.classified import rule_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

_BEARER = b"bearer "
#: Until the store has told who there is, nobody is let in.
NOBODY_YET = Roll(epoch=-1, open=False)


class Door:
    """Knows who may come in; lives as long as the worker. Whoever follows the store puts a new roll here when people change."""

    def __init__(self, roll: Roll = NOBODY_YET) -> None:
        self.roll = roll

    def by_key(self, headers: Iterable[tuple[bytes, bytes]]) -> Principal | None:
        """Whoever these headers name without a look into the store. Raises NotKnown for a key that does not count."""
        roll = self.roll
        if roll.open:
            return EVERYBODY
        for name, value in headers:
            if name == b"authorization":
                return self._by_key(roll, value)
        return None

    def _by_key(self, roll: Roll, value: bytes) -> Principal:
        if value[: len(_BEARER)].lower() != _BEARER:
            raise NotKnown
        principal = roll.by_key(value[len(_BEARER) :].strip(), time.time_ns() // 1000)
        if principal is None:
            raise NotKnown
        return principal

    async def who(self, scope: Scope) -> Principal:
        """Whoever asks. Raises NotKnown."""
        principal = self.by_key(scope["headers"])
        if principal is None:
            raise NotKnown
        return principal


class Guard:
    """Lets in whom a rule lets in; lives as long as the app."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app = app
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises NotKnown, NotAllowed, ModelNotFound."""
        if scope["type"] == "http":
            rule, model = rule_of(scope["method"], scope["path"])
            if rule is None or not rule.public:
                principal = await self._door.who(scope)
                scope["state"]["principal"] = principal
                if rule is not None and rule.action is not None and not (rule.own and principal.may(rule.own)):
                    require(principal, rule.action, model)
        await self._app(scope, receive, send)


def require(principal: Principal, action: Action, model: str | None = None) -> None:
    """Hold somebody against the table. Raises ModelNotFound for a model not theirs to see, NotAllowed."""
    if model is not None and not principal.sees(model):
        raise ModelNotFound(model=model)
    if not principal.may(action, model):
        raise NotAllowed(who=principal.name or "You", role=LEAST[action].value, action=action.value)


def by_of(request: Request) -> By:
    """How the audit calls whoever asks on this route."""
    return By(actor=principal_of(request).actor, address=request.client.host if request.client else "")


def principal_of(request: Request) -> Principal:
    """Whoever the guard let in to this route."""
    principal: Principal = request.scope["state"]["principal"]
    return principal
