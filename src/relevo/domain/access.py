"""Role-based access control: principals, roles, scopes and the permissions of each role.

    Principal(role, grants, scopes) ─ may(action, model) ─► bool          an action without a permission is denied

A role holds for every model, a grant for one model; the higher of the two applies. An API key restricts its owner to the actions of
its scopes and, optionally, to one model. No scope allows administration.

Keys are looked up by their hash, so the lookup time reveals nothing about a key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping  # noqa: TC003 - the snapshot is decoded from a file by its types
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache


class Role(StrEnum):
    """What a person is to a model; each may do all that those before it may."""

    VIEWER = "viewer"
    LABELER = "labeler"
    OPERATOR = "operator"
    ADMIN = "admin"

    def includes(self, other: Role) -> bool:
        """Whether this role has all permissions of the other."""
        return _RANK[self] >= _RANK[other]


class Action(StrEnum):
    """Every action that needs a permission."""

    VIEW_MODEL = "view_model"  # models, versions, metrics, traffic
    PREDICT = "predict"
    READ_PREDICTIONS = "read_predictions"  # predictions without their inputs
    READ_INPUTS = "read_inputs"  # images and records that clients sent
    LABEL = "label"  # and see the inputs of one's own label queue
    REVIEW_LABELS = "review_labels"  # accept and reject labels of other users
    EXPORT = "export"
    MANAGE_MODEL = "manage_model"  # upload versions, move aliases, change gates
    READ_AUDIT = "read_audit"
    TRUST_CODE = "trust_code"  # import a file that may run code
    ADMINISTER = "administer"  # users, keys, retention, erasure


class Scope(StrEnum):
    """What a key is for."""

    PREDICT = "predict"
    LABEL = "label"
    READ = "read"
    OPERATE = "operate"


class AuthMethod(StrEnum):
    """How a request was authenticated."""

    OPEN = "open"  # no user exists yet, so requests of this machine need no credentials
    SESSION = "session"
    KEY = "key"


_RANK = {role: rank for rank, role in enumerate(Role)}

#: Minimum role for each action.
MIN_ROLE = {
    Action.VIEW_MODEL: Role.VIEWER,
    Action.PREDICT: Role.VIEWER,
    Action.READ_PREDICTIONS: Role.VIEWER,
    Action.LABEL: Role.LABELER,
    Action.READ_INPUTS: Role.OPERATOR,
    Action.REVIEW_LABELS: Role.OPERATOR,
    Action.EXPORT: Role.OPERATOR,
    Action.MANAGE_MODEL: Role.OPERATOR,
    Action.READ_AUDIT: Role.OPERATOR,
    Action.TRUST_CODE: Role.ADMIN,
    Action.ADMINISTER: Role.ADMIN,
}

#: Actions that concern all models, for which a grant for one model is not enough.
_GLOBAL_ACTIONS = frozenset({Action.ADMINISTER, Action.TRUST_CODE})

#: Actions of each scope; an action in no scope needs a session.
SCOPE_ACTIONS = {
    Scope.PREDICT: frozenset({Action.PREDICT}),
    Scope.LABEL: frozenset({Action.LABEL}),
    Scope.READ: frozenset({Action.VIEW_MODEL, Action.READ_PREDICTIONS, Action.READ_INPUTS, Action.EXPORT, Action.READ_AUDIT}),
    Scope.OPERATE: frozenset({Action.MANAGE_MODEL, Action.REVIEW_LABELS}),
}


@cache
def _is_scoped(scopes: frozenset[Scope], action: Action) -> bool:
    return any(action in SCOPE_ACTIONS[scope] for scope in scopes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """The authenticated caller. Lifetime: the request."""

    id: str  # user id, 32 hex digits; "" while there are no users
    name: str
    auth_method: AuthMethod
    role: Role | None = None  # for all models
    grants: Mapping[str, Role] = field(default_factory=dict)  # model → role
    key: str | None = None  # id of the API key
    scopes: frozenset[Scope] | None = None  # None: not restricted
    restricted_to: str | None = None  # restriction of an API key

    @property
    def actor(self) -> str:
        """Name of the caller in the history and the audit log."""
        return f"key:{self.key}" if self.key else f"user:{self.id}" if self.id else self.auth_method.value

    def can(self, action: Action, model: str | None = None) -> bool:
        """Whether the action is allowed. model None: on no particular model, for example to list them."""
        if self.scopes is not None and not _is_scoped(self.scopes, action):
            return False
        if model is not None and self.restricted_to not in (None, model):
            return False
        role = self.role if action in _GLOBAL_ACTIONS else self.role_for(model)
        return role is not None and role.includes(MIN_ROLE[action])

    def role_for(self, model: str | None) -> Role | None:
        """The effective role for this model; for None, the highest role for any model that the key allows."""
        target = self.restricted_to if model is None else model
        if target is None:
            return max(filter(None, (self.role, *self.grants.values())), key=_RANK.__getitem__, default=None)
        granted = self.grants.get(target)
        # Fast path without max(): this runs for every prediction.
        if granted is None or self.role is None:
            return granted or self.role
        return max(granted, self.role, key=_RANK.__getitem__)

    def can_see(self, model: str) -> bool:
        """Whether the model is visible to the caller; an invisible one is reported as not found, not as forbidden."""
        return self.restricted_to in (None, model) and self.role_for(model) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeyEntry:
    """A valid API key."""

    principal: Principal
    expires_us: int | None = None  # microseconds since 1970; None: never


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessSnapshot:
    """All API keys at one time, as read from the store. Lifetime: in a worker, until the next change."""

    revision: int  # grows with every change to users, grants and keys
    no_users: bool  # no user was ever created
    lost: bool = False  # the database has lost its users: only the keys of this snapshot are accepted
    keys: Mapping[str, ApiKeyEntry] = field(default_factory=dict)  # SHA-256 of the key, in hex

    def find_key(self, secret: bytes, now_us: int) -> Principal | None:
        """The principal of this key; None if it is unknown or expired."""
        entry = self.keys.get(hashlib.sha256(secret).hexdigest())
        if entry is None or (entry.expires_us is not None and entry.expires_us <= now_us):
            return None
        return entry.principal


#: The caller while there are no users and only this machine can reach the server.
ANONYMOUS_ADMIN = Principal(id="", name="", auth_method=AuthMethod.OPEN, role=Role.ADMIN)
