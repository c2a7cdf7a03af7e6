"""The application: what it is given, and its layers as one expression.

compose ─ Parts ─► build_app ─► Envelope(Boundary(Dispatch(predict, FastAPI(routes))))
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

import relevo
from relevo.errors import RelevoError
from relevo.web.failures import answer_failure
from relevo.web.middleware import Boundary, Dispatch, Envelope
from relevo.web.routes import docs, health, labels, metrics, models, page, predictions

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp

    from relevo.config import Settings
    from relevo.serve.service import Service
    from relevo.store.history import History
    from relevo.store.labels import Labels
    from relevo.store.registry import Registry


def utc_now() -> datetime:
    """The clock of records."""
    return datetime.now(UTC)


#: FastAPI can send spans and failed inputs to a collector that the environment names. Nothing leaves this machine.
_NO_TELEMETRY: Any = dict.fromkeys(("auto_configure", "tracing", "metrics", "logs", "operation_spans"), False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Everything the routes work with; made by compose, lives as long as the worker."""

    service: Service
    predict: ASGIApp  # the raw handlers of the predict paths
    registry: Registry
    history: History
    labels: Labels
    settings: Settings
    metrics: Callable[[], bytes]  # the Prometheus text of all workers
    now: Callable[[], datetime] = utc_now  # aware, UTC


def build_app(parts: Parts) -> ASGIApp:
    """The whole of HTTP as one ASGI app; nothing runs until it is served."""
    return Envelope(Boundary(Dispatch(predict=parts.predict, rest=build_api(parts)), language=parts.settings.language))


def build_api(parts: Parts) -> FastAPI:
    """Every route but the predict paths. Its own docs are off: they would fetch their script from another host."""
    api = FastAPI(
        title="Relevo",
        version=relevo.__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        telemetry=_NO_TELEMETRY,
        exception_handlers={
            RelevoError: answer_failure,
            HTTPException: answer_failure,
            RequestValidationError: answer_failure,
            Exception: answer_failure,
        },
    )
    api.state.parts = parts
    api.state.rooms = [room.router for room in (models, predictions, labels, health, metrics, docs, page)]
    for room in api.state.rooms:
        api.include_router(room)
    return api
