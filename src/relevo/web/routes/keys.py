"""Keys for programs: made, listed, rotated, revoked. A key itself is shown once, when it is made."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi import Path as InPath

from relevo.web.auth.guard import audit_actor, principal_of
from relevo.web.routes.responses import error_responses
from relevo.web.schemas.users import AddKey, Keys, KeyShape, KeyWindow, MadeKey, RotateKey

if TYPE_CHECKING:
    from datetime import datetime

router = APIRouter(prefix="/keys", tags=["people"])

KeyId = Annotated[str, InPath(description="Id of a key, the part of it that can be read", max_length=64)]


@router.get("", summary="Keys, the newest first", responses=error_responses(403, 422, 503))
def some(request: Request, narrow: Annotated[KeyWindow, Query()]) -> Keys:
    """A page of them, those that ended among them. Raises FieldTypeError for a foreign cursor."""
    page = request.app.state.parts.people.keys.page(**narrow.model_dump(exclude={"lang"}))
    return Keys(keys=[KeyShape.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.post("", summary="Make a key", status_code=201, responses=error_responses(400, 403, 404, 422, 503))
def add(request: Request, response: Response, wanted: AddKey) -> MadeKey:
    """The answer alone holds the key. Raises UserNotFoundError."""
    parts = request.app.state.parts
    now = parts.now()
    response.headers["cache-control"] = "no-store"
    owner = wanted.user if wanted.user is not None else principal_of(request).id
    facts = {"model": wanted.model, "ends": _after(now, wanted.days), "at": now, "by": audit_actor(request)}
    return MadeKey.of_new(parts.people.keys.add(owner, wanted.name, wanted.scopes, **facts))


@router.delete("/{key_id}", summary="Revoke a key", responses=error_responses(403, 404, 503))
def revoke(request: Request, key_id: KeyId) -> KeyShape:
    """Every worker refuses it within a second. Raises ApiKeyNotFoundError."""
    parts = request.app.state.parts
    return KeyShape.of(parts.people.keys.revoke(key_id, at=parts.now(), by=audit_actor(request)))


@router.post(
    "/{key_id}/rotate", summary="Change a key for a new one", status_code=201, responses=error_responses(400, 403, 404, 422, 503)
)
def rotate(request: Request, response: Response, key_id: KeyId, wanted: RotateKey) -> MadeKey:
    """The old one goes on for as long as asked, so that programs can change over. Raises ApiKeyNotFoundError, OriginError."""
    parts = request.app.state.parts
    now = parts.now()
    response.headers["cache-control"] = "no-store"
    old_ends = now + timedelta(hours=wanted.overlap_hours)
    new = parts.people.keys.rotate(key_id, at=now, old_ends=old_ends, ends=_after(now, wanted.days), by=audit_actor(request))
    return MadeKey.of_new(new)


def _after(now: datetime, days: int | None) -> datetime | None:
    return None if days is None else now + timedelta(days=days)
