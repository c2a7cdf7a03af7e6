"""The audit over HTTP: pages of who changed what, newest first, written by the changes themselves; and of who was not let in."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request

from relevo.domain.access import Action, Principal, Role
from relevo.web.auth.guard import principal_of
from relevo.web.routes.responses import error_responses
from relevo.web.schemas.audit import AttemptsView, AttemptWindow, TrailView, TrailWindow

router = APIRouter(prefix="/audit", tags=["audit"])


@router.get("", summary="Who changed what, newest first", responses=error_responses(422, 503))
def trail(request: Request, narrow: Annotated[TrailWindow, Query()]) -> TrailView:
    """A page of the audit. Who operates some models sees what was done to those."""
    page = request.app.state.parts.trail.page(**narrow.model_dump(exclude={"lang"}), models=read_by(principal_of(request)))
    return TrailView.of(page)


@router.get("/sign-ins", summary="Who tried to sign in and was refused, newest first", responses=error_responses(422, 503))
def sign_ins(request: Request, narrow: Annotated[AttemptWindow, Query()]) -> AttemptsView:
    """Alike ones of an hour stand together. No name is told that nobody has, for people type passwords there by mistake."""
    page = request.app.state.parts.people.attempts.page(**narrow.model_dump(exclude={"lang"}))
    return AttemptsView.of(page)


def read_by(principal: Principal) -> list[str] | None:
    """The models whose changes may be read; None for everything."""
    if principal.only_model is not None:
        return [principal.only_model]
    if principal.role is not None and principal.role.includes(Role.OPERATOR):
        return None
    return sorted(model for model in principal.grants if principal.may(Action.READ_AUDIT, model))
