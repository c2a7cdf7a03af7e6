"""Metrics: the Prometheus text of all workers."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

router = APIRouter(tags=["health"])

_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@router.get(
    "/metrics",
    summary="Counters in Prometheus' text format",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def metrics(request: Request) -> Response:
    """Read the counters of every worker, this one and the others."""
    return Response(request.app.state.parts.metrics(), headers={"content-type": _TYPE})
