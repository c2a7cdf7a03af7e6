"""Health: alive while the process lives; ready only when a prediction would be answered now."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from relevo.web.shapes import Live, ModelHealth, Ready

router = APIRouter(prefix="/health", tags=["health"])


@router.get("/live", summary="Whether the process lives")
async def live() -> Live:
    """Answer 200 for as long as the process can answer at all."""
    return Live()


@router.get("/ready", summary="Whether a prediction would be answered now", responses={503: {"model": Ready}})
async def ready(request: Request, response: Response) -> Ready:
    """Answer 200 or 503, with the reason and the state of each model."""
    service = request.app.state.parts.service
    is_ready, reason = service.ready()
    response.status_code = 200 if is_ready else 503
    models = [ModelHealth(name=one.name, version=one.version, ready=one.ready, reason=one.reason) for one in service.models()]
    return Ready(ready=is_ready, reason=reason, models=models)
