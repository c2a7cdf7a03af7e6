"""Who asks, and what they may do: one table, pure, asked by every door.

    Principal(role, grants, scopes) ─ may(action, model) ─► yes or no          everything the table does not name is a no

A role stands for every model, a grant for one; the higher of the two counts. A key narrows its owner: to the actions of its scopes,
and to one model. Nobody's key administers.

A key is looked up by its hash, so the time that takes tells nothing of the key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping  # noqa: TC003 - a roll is read back from a file by its types
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
        """Whether this role may do all that the other may."""
        return _RANK[self] >= _RANK[other]


class Action(StrEnum):
    """Everything that somebody may be allowed."""

    LOOK = "look"  # models, versions, metrics, traffic
    PREDICT = "predict"
    SEE_ANSWERS = "see_answers"  # the history without its inputs
    SEE_INPUTS = "see_inputs"  # pictures and rows that somebody sent
    LABEL = "label"  # and see the inputs of one's own queue
    JUDGE_LABELS = "judge_labels"  # accept and reject those of others
    EXPORT = "export"
    OPERATE = "operate"  # upload, move an alias, change gates
    READ_AUDIT = "read_audit"
    TRUST = "trust"  # a file that may run code
    ADMINISTER = "administer"  # users, keys, retention, erasure


class Scope(StrEnum):
    """What a key is for."""

    PREDICT = "predict"
    LABEL = "label"
    READ = "read"
    OPERATE = "operate"


class AuthMethod(StrEnum):
    """How somebody came in."""

    OPEN = "open"  # nobody is a user yet, so this machine is asked nothing
    SESSION = "session"
    KEY = "key"


_RANK = {role: rank for rank, role in enumerate(Role)}

#: The least role that may do it.
MIN_ROLE = {
    Action.LOOK: Role.VIEWER,
    Action.PREDICT: Role.VIEWER,
    Action.SEE_ANSWERS: Role.VIEWER,
    Action.LABEL: Role.LABELER,
    Action.SEE_INPUTS: Role.OPERATOR,
    Action.JUDGE_LABELS: Role.OPERATOR,
    Action.EXPORT: Role.OPERATOR,
    Action.OPERATE: Role.OPERATOR,
    Action.READ_AUDIT: Role.OPERATOR,
    Action.TRUST: Role.ADMIN,
    Action.ADMINISTER: Role.ADMIN,
}

#: What concerns every model at once, so that no grant for one is enough.
_EVERYWHERE = frozenset({Action.ADMINISTER, Action.TRUST})

#: What a key of that scope is for; what stands in none is for people alone.
SCOPE_ACTIONS = {
    Scope.PREDICT: frozenset({Action.PREDICT}),
    Scope.LABEL: frozenset({Action.LABEL}),
    Scope.READ: frozenset({Action.LOOK, Action.SEE_ANSWERS, Action.SEE_INPUTS, Action.EXPORT, Action.READ_AUDIT}),
    Scope.OPERATE: frozenset({Action.OPERATE, Action.JUDGE_LABELS}),
}


@cache
def _is_scoped(scopes: frozenset[Scope], action: Action) -> bool:
    return any(action in SCOPE_ACTIONS[scope] for scope in scopes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Whoever asks; lives as long as a request."""

    id: str  # of the user, 32 hex digits; "" while there are no users
    name: str
    way: AuthMethod
    role: Role | None = None  # everywhere
    grants: Mapping[str, Role] = field(default_factory=dict)  # model → role there
    key: str | None = None  # id of the key
    scopes: frozenset[Scope] | None = None  # None: not narrowed
    only_model: str | None = None  # of a key

    @property
    def actor(self) -> str:
        """How histories and the audit call whoever it was."""
        return f"key:{self.key}" if self.key else f"user:{self.id}" if self.id else self.way.value

    def may(self, action: Action, model: str | None = None) -> bool:
        """Whether this is allowed. model None: for no model in particular, as a list of them is."""
        if self.scopes is not None and not _is_scoped(self.scopes, action):
            return False
        if model is not None and self.only_model not in (None, model):
            return False
        role = self.role if action in _EVERYWHERE else self.role_on(model)
        return role is not None and role.includes(MIN_ROLE[action])

    def role_on(self, model: str | None) -> Role | None:
        """The highest role that counts for this model; for None the highest anywhere, which for a key of one model is there."""
        asked = self.only_model if model is None else model
        if asked is None:
            return max(filter(None, (self.role, *self.grants.values())), key=_RANK.__getitem__, default=None)
        granted = self.grants.get(asked)
        # The usual cases are told apart without sorting: this is asked of every prediction.
        if granted is None or self.role is None:
            return granted or self.role
        return max(granted, self.role, key=_RANK.__getitem__)

    def sees(self, model: str) -> bool:
        """Whether this model exists for whoever asks; what does not is not found, rather than forbidden."""
        return self.only_model in (None, model) and self.role_on(model) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeyEntry:
    """A key that lets somebody in."""

    principal: Principal
    ends_us: int | None = None  # microseconds since 1970; None: never


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessSnapshot:
    """Everybody who may come in by a key, as one reading of the store found them; a worker holds the newest."""

    epoch: int  # grows with every change to users, grants and keys
    open: bool  # no user was ever made
    lost: bool = False  # there were users, and the database knows of none: only keys that were known before let in
    keys: Mapping[str, ApiKeyEntry] = field(default_factory=dict)  # SHA-256 of the key, in hex

    def by_key(self, secret: bytes, now_us: int) -> Principal | None:
        """Whom this key stands for, unless it is unknown or over."""
        known = self.keys.get(hashlib.sha256(secret).hexdigest())
        if known is None or (known.ends_us is not None and known.ends_us <= now_us):
            return None
        return known.principal


#: While there are no users, and only this machine can reach the server.
ANONYMOUS_ADMIN = Principal(id="", name="", way=AuthMethod.OPEN, role=Role.ADMIN)
