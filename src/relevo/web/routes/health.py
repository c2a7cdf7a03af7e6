"""Health endpoints: liveness of the process, and readiness for predictions."""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi import APIRouter, Request, Response

from relevo.domain.access import Action
from relevo.i18n.catalog import sentence
from relevo.recording.journal import exchanged_at
from relevo.store.db.identity import error_of, read_state
from relevo.web.context import app_context
from relevo.web.request_info import language_of
from relevo.web.schemas.common import Live, ModelHealth, Ready, StoreHealth

#: Replaces the reason for unauthenticated requests: a reason may name a model.
_HIDDEN_REASON = "the reason is told to whoever says who they are"

router = APIRouter(prefix="/health", tags=["health"])


@router.get("/live", summary="Whether the process lives")
async def get_liveness() -> Live:
    """Answer 200 for as long as the process can answer at all."""
    return Live()


@router.get("/ready", summary="Whether a prediction would be answered now", responses={503: {"model": Ready}})
async def get_readiness(request: Request, response: Response) -> Ready:
    """Answer 200 or 503; with the reason and the state of each model to whoever may see them."""
    service, authenticator = app_context(request).service, app_context(request).authenticator
    is_ready, reason = service.ready()
    store = _database_health(request)
    response.status_code = 200 if is_ready else 503
    principal = await authenticator.authenticate_optional(request.scope)
    if principal is None or not principal.can(Action.VIEW_MODEL):
        return Ready(ready=is_ready, reason=reason and _HIDDEN_REASON, models=[], store=store)
    models = [
        ModelHealth(name=state.name, version=state.version, ready=state.ready, reason=state.reason)
        for state in service.models()
        if principal.can_see(state.name)
    ]
    return Ready(ready=is_ready, reason=reason, models=models, store=store)


def _database_health(request: Request) -> StoreHealth:
    """The result of the background process's latest write."""
    settings = app_context(request).settings
    state = read_state(settings.home)
    seconds = exchanged_at(settings.spool_folder)
    exchanged = None if seconds is None else datetime.fromtimestamp(int(seconds), UTC)
    if state is None:
        return StoreHealth(ok=True, code="", reason="", exchanged=exchanged)
    error = error_of(state)
    reason = sentence(error, language_of(request.scope, settings.language))
    return StoreHealth(ok=False, code=error.code, reason=reason, exchanged=exchanged)
