"""Schemas of users, API keys and the current principal. Hashes are never sent."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - the types are read at run time
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, StringConstraints
from pydantic import Field as Limit

from relevo.domain.access import Role, Scope  # noqa: TC001 - the same
from relevo.web.schemas.common import PLAIN, Lang, ModelName

if TYPE_CHECKING:
    from collections.abc import Iterable

    from relevo.domain.access import Principal
    from relevo.store.auth.api_keys import ApiKey, NewKey
    from relevo.store.auth.users import User

PersonName = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=PLAIN)]
Password = Annotated[str, StringConstraints(max_length=4096)]
Cursor = Annotated[str, StringConstraints(min_length=1, max_length=500)]
#: A century: databases limit the range of dates.
_MAX_DAYS = 36_500


class Me(BaseModel):
    """Whoever asks: who, by which way, and what they may."""

    id: str
    name: str
    role: Role | None
    grants: dict[str, Role]
    auth_method: str
    scopes: list[Scope] | None
    model: str | None = None
    csrf: str | None = None
    #: Protections that the server lacks although other machines can reach it: users, encryption.
    insecure: list[str] = []

    @classmethod
    def from_domain(cls, principal: Principal, csrf: str | None = None, insecure: Iterable[str] = ()) -> Me:
        """From the principal of the request; csrf: token of the session, if there is one."""
        return cls(
            id=principal.id,
            name=principal.name,
            role=principal.role,
            grants={model: role for model, role in principal.grants.items() if principal.can_see(model)},
            auth_method=principal.auth_method.value,
            scopes=None if principal.scopes is None else sorted(principal.scopes),
            model=principal.restricted_to,
            csrf=csrf,
            insecure=sorted(insecure),
        )


class SignedIn(BaseModel):
    """The answer to a sign-in by a program; the session itself is in the cookie."""

    user: Me
    csrf: str


class SignIn(BaseModel):
    """Name and password."""

    model_config = ConfigDict(extra="forbid")
    name: Annotated[str, StringConstraints(max_length=200)]
    password: Password


class UserOut(BaseModel):
    """A user."""

    id: str
    name: str
    role: Role | None
    grants: dict[str, Role]
    made: datetime
    disabled: datetime | None
    has_password: bool
    issuer: str | None

    @classmethod
    def from_domain(cls, user: User) -> UserOut:
        """From a stored user."""
        return cls(
            id=user.id,
            name=user.name,
            role=user.role,
            grants=dict(user.grants),
            made=user.made,
            disabled=user.disabled,
            has_password=user.has_password,
            issuer=user.issuer,
        )


class UserPage(BaseModel):
    """Some users, by name; `next_cursor` asks for those that follow and is null on the last page."""

    users: list[UserOut]
    next_cursor: str | None


class UserQuery(BaseModel):
    """Which users: those whose name has this in it, and where to begin."""

    model_config = ConfigDict(extra="forbid")
    name: Annotated[str, StringConstraints(max_length=64)] = ""
    cursor: Cursor | None = None
    limit: Annotated[int, Limit(ge=1, le=200)] = 50
    lang: Lang = None


class AddUser(BaseModel):
    """A new user; without a role only by grants, without a password only by signing in elsewhere."""

    model_config = ConfigDict(extra="forbid")
    name: PersonName
    role: Role | None = None
    grants: dict[ModelName, Role] = {}
    password: Password | None = None


class ChangeUser(BaseModel):
    """What is to become of a user; what is left out stays. role null: only by grants; a grant of null is taken away.

    A grant may name a model that is registered later.
    """

    model_config = ConfigDict(extra="forbid")
    name: PersonName | None = None
    role: Role | None = None
    grants: dict[ModelName, Role | None] = {}
    disabled: bool | None = None


class SetPassword(BaseModel):
    """A new password; `current` is asked of whoever sets their own."""

    model_config = ConfigDict(extra="forbid")
    password: Password
    current: Password | None = None


class ApiKeyOut(BaseModel):
    """A key, without the key."""

    id: str
    name: str
    user: str
    owner: str
    owner_disabled: datetime | None
    scopes: list[Scope]
    model: str | None
    made: datetime
    ends: datetime | None
    revoked: datetime | None

    @classmethod
    def from_domain(cls, key: ApiKey) -> ApiKeyOut:
        """From a stored key."""
        return cls(**_key_fields(key))


class ApiKeyPage(BaseModel):
    """Some keys, the newest first; `next_cursor` asks for the older ones and is null on the last page."""

    keys: list[ApiKeyOut]
    next_cursor: str | None


class ApiKeyQuery(BaseModel):
    """Which keys: those of one user, by id, and where to begin."""

    model_config = ConfigDict(extra="forbid")
    user: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None
    cursor: Cursor | None = None
    limit: Annotated[int, Limit(ge=1, le=200)] = 50
    lang: Lang = None


class NewApiKeyOut(ApiKeyOut):
    """A key with the key itself: shown this once."""

    key: str

    @classmethod
    def of_new(cls, new: NewKey) -> NewApiKeyOut:
        """From a new key and its secret."""
        return cls(**_key_fields(new.key), key=new.secret)


class AddKey(BaseModel):
    """A new key. user: its owner, else whoever asks; model: the only one it is for; days: until it ends, else never."""

    model_config = ConfigDict(extra="forbid")
    name: PersonName
    scopes: Annotated[list[Scope], Limit(min_length=1, max_length=4)]
    user: Annotated[str, StringConstraints(max_length=64)] | None = None
    model: ModelName | None = None
    days: Annotated[int, Limit(ge=1, le=_MAX_DAYS)] | None = None


class RotateKey(BaseModel):
    """How long the old key goes on counting beside the new one, in hours; days: of the new one, else as long as the old one."""

    model_config = ConfigDict(extra="forbid")
    overlap_hours: Annotated[float, Limit(ge=0, le=24 * 365)] = 24
    days: Annotated[int, Limit(ge=1, le=_MAX_DAYS)] | None = None


def _key_fields(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "user": key.user,
        "owner": key.owner,
        "owner_disabled": key.owner_disabled,
        "scopes": list(key.scopes),
        "model": key.model,
        "made": key.made,
        "ends": key.ends,
        "revoked": key.revoked,
    }
