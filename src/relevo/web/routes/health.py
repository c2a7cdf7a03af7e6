"""Health: alive while the process lives; ready only when a prediction would be answered now."""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi import APIRouter, Request, Response

from relevo.domain.access import Action
from relevo.i18n.catalog import sentence
from relevo.recording.journal import exchanged_at
from relevo.store.db.identity import error_of, read_state
from relevo.web.request_info import language_of
from relevo.web.schemas.common import Live, ModelHealth, Ready, StoreHealth

#: A reason may name a model.
_NOT_FOR_ALL = "the reason is told to whoever says who they are"

router = APIRouter(prefix="/health", tags=["health"])


@router.get("/live", summary="Whether the process lives")
async def live() -> Live:
    """Answer 200 for as long as the process can answer at all."""
    return Live()


@router.get("/ready", summary="Whether a prediction would be answered now", responses={503: {"model": Ready}})
async def ready(request: Request, response: Response) -> Ready:
    """Answer 200 or 503; with the reason and the state of each model to whoever may see them."""
    service, door = request.app.state.parts.service, request.app.state.parts.door
    is_ready, reason = service.ready()
    store = _store(request)
    response.status_code = 200 if is_ready else 503
    whoever = await door.maybe(request.scope)
    if whoever is None or not whoever.may(Action.LOOK):
        return Ready(ready=is_ready, reason=reason and _NOT_FOR_ALL, models=[], store=store)
    seen = [one for one in service.models() if whoever.sees(one.name)]
    models = [ModelHealth(name=one.name, version=one.version, ready=one.ready, reason=one.reason) for one in seen]
    return Ready(ready=is_ready, reason=reason, models=models, store=store)


def _store(request: Request) -> StoreHealth:
    """What the background process found when it wanted to ship last."""
    settings = request.app.state.parts.settings
    state = read_state(settings.home)
    seconds = exchanged_at(settings.spool_folder)
    exchanged = None if seconds is None else datetime.fromtimestamp(int(seconds), UTC)
    if state is None:
        return StoreHealth(ok=True, code="", reason="", exchanged=exchanged)
    error = error_of(state)
    reason = sentence(error, language_of(request.scope, settings.language))
    return StoreHealth(ok=False, code=error.code, reason=reason, exchanged=exchanged)
