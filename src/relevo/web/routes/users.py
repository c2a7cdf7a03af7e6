"""Endpoints of users: create, list, change, set a password. For admins, except one's own password."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi import Path as InPath
from starlette.concurrency import run_in_threadpool

from relevo.domain.access import Action, AuthMethod, Role
from relevo.errors import LastAdminError
from relevo.store.auth.users import UserChange
from relevo.web.auth.guard import address_of_caller, audit_actor, principal_of, require_permission
from relevo.web.auth.password_login import Applicant
from relevo.web.auth.sessions import cookie_value, device_cookie_name
from relevo.web.context import app_context
from relevo.web.routes.login import renew_session
from relevo.web.routes.responses import error_responses
from relevo.web.schemas.users import AddUser, ChangeUser, SetPassword, UserOut, UserPage, UserQuery

if TYPE_CHECKING:
    from relevo.web.context import AppContext

router = APIRouter(prefix="/users", tags=["people"])

UserId = Annotated[str, InPath(description="Id of a user, 32 hex digits", max_length=64)]


@router.get("", summary="Users, by name", responses=error_responses(403, 422, 503))
def list_users(request: Request, query: Annotated[UserQuery, Query()]) -> UserPage:
    """A page of them. Raises FieldTypeError for a foreign cursor."""
    page = app_context(request).users.page(**query.model_dump(exclude={"lang"}))
    return UserPage(users=[UserOut.from_domain(user) for user in page.items], next_cursor=page.next_cursor)


@router.post("", summary="Make a user", status_code=201, responses=error_responses(400, 403, 409, 422, 503))
async def create_user(request: Request, body: AddUser) -> UserOut:
    """The first one must be an admin with a password. Raises NameTakenError, WeakPasswordError, LastAdminError."""
    context = app_context(request)
    first = principal_of(request).auth_method is AuthMethod.OPEN
    if first and (body.role is not Role.ADMIN or body.password is None):
        raise LastAdminError
    password_hash = None
    if body.password is not None:
        password_hash = await request.app.state.passwords.hash_new(body.password, body.name, await _model_names(context))
    user_id = await run_in_threadpool(
        context.users.add_user,
        body.name,
        body.role,
        password_hash=password_hash,
        grants=body.grants,
        at=context.now(),
        by=audit_actor(request),
    )
    return UserOut.from_domain(await run_in_threadpool(context.users.get, user_id))


@router.get("/{user_id}", summary="One user", responses=error_responses(403, 404, 422, 503))
def get_user(request: Request, user_id: UserId) -> UserOut:
    """Raises UserNotFoundError."""
    return UserOut.from_domain(app_context(request).users.get(user_id))


@router.patch("/{user_id}", summary="Change a user", responses=error_responses(400, 403, 404, 409, 422, 503))
def change_user(request: Request, response: Response, user_id: UserId, body: ChangeUser) -> UserOut:
    """Whoever may do other things from now on signs in anew. Raises UserNotFoundError, NameTakenError, LastAdminError."""
    context = app_context(request)
    fields_set = body.model_fields_set
    changes = UserChange(
        name=body.name,
        role=body.role,
        no_role="role" in fields_set and body.role is None,
        grants=body.grants,
        disabled=body.disabled,
    )
    changed = context.users.change_user(user_id, changes, at=context.now(), by=audit_actor(request))
    renew_session(request, response, changed)
    return UserOut.from_domain(changed)


@router.post("/{user_id}/password", summary="Set a password", responses=error_responses(400, 403, 404, 422, 429, 503))
async def set_password(request: Request, response: Response, user_id: UserId, body: SetPassword) -> UserOut:
    """Every session of that user ends. Raises UserNotFoundError, WeakPasswordError, and InvalidCredentialsError for a wrong `current`."""
    context, passwords = app_context(request), request.app.state.passwords
    principal = principal_of(request)
    own = principal.auth_method is AuthMethod.SESSION and principal.id == user_id
    if not own:
        require_permission(principal, Action.ADMINISTER)
    user = await run_in_threadpool(context.users.get, user_id)
    if own and user.has_password:
        # An unattended session must not suffice to take over the account.
        applicant = Applicant(
            address=address_of_caller(request), recognised=cookie_value(request.scope, device_cookie_name(request.scope))
        )
        await passwords.verify(user.name, body.current or "", applicant)
    password_hash = await passwords.hash_new(body.password, user.name, await _model_names(context))
    await run_in_threadpool(context.users.set_password, user.id, password_hash, at=context.now(), by=audit_actor(request))
    changed = await run_in_threadpool(context.users.get, user.id)
    await run_in_threadpool(renew_session, request, response, changed)
    return UserOut.from_domain(changed)


async def _model_names(context: AppContext) -> list[str]:
    """Names of the models, which must not be passwords."""
    return [model.name for model in await run_in_threadpool(context.registry.models)]
