"""Endpoints of the audit log: changes, and rejected logins, newest first."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request

from relevo.domain.access import Action, Principal, Role
from relevo.web.auth.guard import principal_of
from relevo.web.context import app_context
from relevo.web.routes.responses import error_responses
from relevo.web.schemas.audit import AuditPageOut, AuditQuery, LoginAttemptPage, LoginAttemptQuery

router = APIRouter(prefix="/audit", tags=["audit"])


@router.get("", summary="Who changed what, newest first", responses=error_responses(422, 503))
def list_audit_entries(request: Request, query: Annotated[AuditQuery, Query()]) -> AuditPageOut:
    """A page of the audit. Who operates some models sees what was done to those."""
    page = app_context(request).audit_reader.page(
        **query.model_dump(exclude={"lang"}), models=audited_models(principal_of(request))
    )
    return AuditPageOut.from_domain(page)


@router.get("/sign-ins", summary="Who tried to sign in and was refused, newest first", responses=error_responses(422, 503))
def list_login_attempts(request: Request, query: Annotated[LoginAttemptQuery, Query()]) -> LoginAttemptPage:
    """Alike ones of an hour stand together. No name is told that nobody has, for people type passwords there by mistake."""
    page = app_context(request).users.attempts.page(**query.model_dump(exclude={"lang"}))
    return LoginAttemptPage.from_domain(page)


def audited_models(principal: Principal) -> list[str] | None:
    """The models whose changes the principal may read; None for all."""
    if principal.restricted_to is not None:
        return [principal.restricted_to]
    if principal.role is not None and principal.role.includes(Role.OPERATOR):
        return None
    return sorted(model for model in principal.grants if principal.can(Action.READ_AUDIT, model))
