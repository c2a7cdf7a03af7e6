"""The audit over HTTP: pages of who changed what, newest first. It is written by the changes themselves."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request

from relevo.domain.people import Action, Principal, Role
from relevo.web.guard import principal_of
from relevo.web.routes.refusals import refusals
from relevo.web.trail_shapes import TrailView, TrailWindow

router = APIRouter(prefix="/audit", tags=["audit"])


@router.get("", summary="Who changed what, newest first", responses=refusals(422, 503))
def trail(request: Request, narrow: Annotated[TrailWindow, Query()]) -> TrailView:
    """A page of the audit. Who operates some models sees what was done to those."""
    page = request.app.state.parts.trail.page(**narrow.model_dump(exclude={"lang"}), models=read_by(principal_of(request)))
    return TrailView.of(page)


def read_by(principal: Principal) -> list[str] | None:
    """The models whose changes may be read; None for everything."""
    if principal.only_model is not None:
        return [principal.only_model]
    if principal.role is not None and principal.role.includes(Role.OPERATOR):
        return None
    return sorted(model for model in principal.grants if principal.may(Action.READ_AUDIT, model))
