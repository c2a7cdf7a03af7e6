"""Endpoints of API keys: create, list, rotate, revoke. The key itself is in the response of its creation only."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi import Path as InPath

from relevo.web.auth.guard import audit_actor, principal_of
from relevo.web.context import app_context
from relevo.web.routes.responses import error_responses
from relevo.web.schemas.users import AddKey, ApiKeyOut, ApiKeyPage, ApiKeyQuery, NewApiKeyOut, RotateKey

if TYPE_CHECKING:
    from datetime import datetime

router = APIRouter(prefix="/keys", tags=["people"])

KeyId = Annotated[str, InPath(description="Id of a key, the part of it that can be read", max_length=64)]


@router.get("", summary="Keys, the newest first", responses=error_responses(403, 422, 503))
def list_keys(request: Request, query: Annotated[ApiKeyQuery, Query()]) -> ApiKeyPage:
    """A page of them, those that ended among them. Raises FieldTypeError for a foreign cursor."""
    page = app_context(request).users.keys.page(**query.model_dump(exclude={"lang"}))
    return ApiKeyPage(keys=[ApiKeyOut.from_domain(key) for key in page.items], next_cursor=page.next_cursor)


@router.post("", summary="Make a key", status_code=201, responses=error_responses(400, 403, 404, 422, 503))
def create_key(request: Request, response: Response, body: AddKey) -> NewApiKeyOut:
    """The answer alone holds the key. Raises UserNotFoundError."""
    context = app_context(request)
    now = context.now()
    response.headers["cache-control"] = "no-store"
    owner = body.user if body.user is not None else principal_of(request).id
    ends = _expiry(now, body.days)
    key = context.users.keys.add(owner, body.name, body.scopes, model=body.model, ends=ends, at=now, by=audit_actor(request))
    return NewApiKeyOut.of_new(key)


@router.delete("/{key_id}", summary="Revoke a key", responses=error_responses(403, 404, 503))
def revoke_key(request: Request, key_id: KeyId) -> ApiKeyOut:
    """Every worker refuses it within a second. Raises ApiKeyNotFoundError."""
    context = app_context(request)
    return ApiKeyOut.from_domain(context.users.keys.revoke(key_id, at=context.now(), by=audit_actor(request)))


@router.post(
    "/{key_id}/rotate", summary="Change a key for a new one", status_code=201, responses=error_responses(400, 403, 404, 422, 503)
)
def rotate_key(request: Request, response: Response, key_id: KeyId, body: RotateKey) -> NewApiKeyOut:
    """The old one goes on for as long as asked, so that programs can change over. Raises ApiKeyNotFoundError, OriginError."""
    context = app_context(request)
    now = context.now()
    response.headers["cache-control"] = "no-store"
    old_ends = now + timedelta(hours=body.overlap_hours)
    new = context.users.keys.rotate(key_id, at=now, old_ends=old_ends, ends=_expiry(now, body.days), by=audit_actor(request))
    return NewApiKeyOut.of_new(new)


def _expiry(now: datetime, days: int | None) -> datetime | None:
    return None if days is None else now + timedelta(days=days)
