"""Metrics: the Prometheus text of all workers.

text ─ a line with model="…" of a model that whoever asks does not see ─► left out; the rest as it is
"""

from __future__ import annotations

import re

from fastapi import APIRouter, Request, Response

from relevo.web.auth.guard import principal_of

router = APIRouter(tags=["health"])

_TYPE = "text/plain; version=0.0.4; charset=utf-8"
#: A model's name has nothing in it that Prometheus would escape.
_OF_MODEL = re.compile(rb'[{,]model="([^"]*)"')


@router.get(
    "/metrics",
    summary="Counters in Prometheus' text format",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def metrics(request: Request) -> Response:
    """Read the counters of every worker, this one and the others; those of models that whoever asks may see."""
    sees, lines = principal_of(request).sees, request.app.state.parts.metrics().splitlines(keepends=True)
    told = b"".join(line for line in lines if not (named := _OF_MODEL.search(line)) or sees(named[1].decode()))
    return Response(told, headers={"content-type": _TYPE})
