"""Users: made, listed, given roles, switched off. For admins; one's own password is one's own affair."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi import Path as InPath
from starlette.concurrency import run_in_threadpool

from relevo.domain.access import Action, AuthMethod, Role
from relevo.errors import LastAdminError
from relevo.store.auth.users import UserChange
from relevo.web.auth.guard import address_of_caller, audit_actor, principal_of, require
from relevo.web.auth.password_login import Applicant
from relevo.web.auth.sessions import cookie_value, device_cookie_name
from relevo.web.routes.login import renew_session
from relevo.web.routes.responses import error_responses
from relevo.web.schemas.users import AddUser, ChangeUser, SetPassword, Users, UserShape, UserWindow

if TYPE_CHECKING:
    from relevo.web.context import AppContext

router = APIRouter(prefix="/users", tags=["people"])

UserId = Annotated[str, InPath(description="Id of a user, 32 hex digits", max_length=64)]


@router.get("", summary="Users, by name", responses=error_responses(403, 422, 503))
def some(request: Request, narrow: Annotated[UserWindow, Query()]) -> Users:
    """A page of them. Raises FieldTypeError for a foreign cursor."""
    page = request.app.state.parts.people.page(**narrow.model_dump(exclude={"lang"}))
    return Users(users=[UserShape.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.post("", summary="Make a user", status_code=201, responses=error_responses(400, 403, 409, 422, 503))
async def add(request: Request, wanted: AddUser) -> UserShape:
    """The first one must be an admin with a password. Raises NameTakenError, WeakPasswordError, LastAdminError."""
    parts = request.app.state.parts
    first = principal_of(request).way is AuthMethod.OPEN
    if first and (wanted.role is not Role.ADMIN or wanted.password is None):
        raise LastAdminError
    kept = None
    if wanted.password is not None:
        kept = await request.app.state.sign_ins.hashed(wanted.password, wanted.name, await _names_of_models(parts))
    facts = {"password_hash": kept, "grants": wanted.grants, "at": parts.now(), "by": audit_actor(request)}
    made = await run_in_threadpool(parts.people.add_user, wanted.name, wanted.role, **facts)
    return UserShape.of(await run_in_threadpool(parts.people.one, made))


@router.get("/{user_id}", summary="One user", responses=error_responses(403, 404, 422, 503))
def one(request: Request, user_id: UserId) -> UserShape:
    """Raises UserNotFoundError."""
    return UserShape.of(request.app.state.parts.people.one(user_id))


@router.patch("/{user_id}", summary="Change a user", responses=error_responses(400, 403, 404, 409, 422, 503))
def change(request: Request, response: Response, user_id: UserId, wanted: ChangeUser) -> UserShape:
    """Whoever may do other things from now on signs in anew. Raises UserNotFoundError, NameTakenError, LastAdminError."""
    parts = request.app.state.parts
    given = wanted.model_fields_set
    told = UserChange(
        name=wanted.name,
        role=wanted.role,
        no_role="role" in given and wanted.role is None,
        grants=wanted.grants,
        disabled=wanted.disabled,
    )
    changed = parts.people.change_user(user_id, told, at=parts.now(), by=audit_actor(request))
    renew_session(request, response, changed)
    return UserShape.of(changed)


@router.post("/{user_id}/password", summary="Set a password", responses=error_responses(400, 403, 404, 422, 429, 503))
async def set_password(request: Request, response: Response, user_id: UserId, wanted: SetPassword) -> UserShape:
    """Every session of that user ends. Raises UserNotFoundError, WeakPasswordError, and InvalidCredentialsError for a wrong `current`."""
    parts, sign_ins = request.app.state.parts, request.app.state.sign_ins
    principal = principal_of(request)
    own = principal.way is AuthMethod.SESSION and principal.id == user_id
    if not own:
        require(principal, Action.ADMINISTER)
    user = await run_in_threadpool(parts.people.one, user_id)
    if own and user.has_password:
        # A session that was left open on somebody's desk is not enough to take the account over.
        applicant = Applicant(
            address=address_of_caller(request), recognised=cookie_value(request.scope, device_cookie_name(request.scope))
        )
        await sign_ins.check(user.name, wanted.current or "", applicant)
    kept = await sign_ins.hashed(wanted.password, user.name, await _names_of_models(parts))
    await run_in_threadpool(parts.people.set_password, user.id, kept, at=parts.now(), by=audit_actor(request))
    changed = await run_in_threadpool(parts.people.one, user.id)
    await run_in_threadpool(renew_session, request, response, changed)
    return UserShape.of(changed)


async def _names_of_models(parts: AppContext) -> list[str]:
    """What whoever guesses a password of this server would try, too."""
    return [model.name for model in await run_in_threadpool(parts.registry.models)]
