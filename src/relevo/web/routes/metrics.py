"""Endpoint of the Prometheus metrics of all workers.

text ─ lines with model="…" of a model that the principal may not see ─► omitted; all others unchanged
"""

from __future__ import annotations

import re

from fastapi import APIRouter, Request, Response

from relevo.web.auth.guard import principal_of
from relevo.web.context import app_context

router = APIRouter(tags=["health"])

_TYPE = "text/plain; version=0.0.4; charset=utf-8"
#: Model names contain no characters that Prometheus escapes.
_MODEL_LABEL = re.compile(rb'[{,]model="([^"]*)"')


@router.get(
    "/metrics",
    summary="Counters in Prometheus' text format",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
def get_metrics(request: Request) -> Response:
    """Read the counters of every worker, this one and the others; those of models that whoever asks may see."""
    sees, lines = principal_of(request).can_see, app_context(request).metrics().splitlines(keepends=True)
    visible = b"".join(line for line in lines if not (match := _MODEL_LABEL.search(line)) or sees(match[1].decode()))
    return Response(visible, headers={"content-type": _TYPE})
