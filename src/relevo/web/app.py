"""The application: what it is given, and its layers as one expression.

compose ─ Parts ─► build_app ─► Envelope(Boundary(Queries(Wall(Guard(Dispatch(predict, Turnstile(BodyLimitMiddleware(FastAPI(routes)))))))))
                                                                                    where rates are bound
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

import relevo
from relevo.errors import RelevoError
from relevo.web.auth.guard import AuthMiddleware
from relevo.web.auth.password_login import PasswordAuthenticator
from relevo.web.context import AppContext
from relevo.web.exception_handlers import answer_failure
from relevo.web.middleware.core import (
    MAX_SMALL_BODY,
    BodyLimitMiddleware,
    ErrorMiddleware,
    PredictDispatch,
    SecurityHeadersMiddleware,
    TrustedHostMiddleware,
)
from relevo.web.middleware.rate_limit import RateLimitMiddleware
from relevo.web.middleware.trusted_host import HostChecker
from relevo.web.predict.body import BodyLimits
from relevo.web.query_string import Queries, only_known
from relevo.web.routes import (
    audit,
    console_login,
    curation,
    docs,
    export,
    health,
    keys,
    label_list,
    label_queue,
    labels,
    login,
    metrics,
    model_page,
    models,
    oidc,
    predictions,
    status_pages,
    subjects,
    traffic,
    users,
    versions,
)

if TYPE_CHECKING:
    from starlette.types import ASGIApp

__all__ = ["AppContext", "build_api", "build_app"]

#: Rooms whose addresses come from elsewhere with parameters of their own: providers, probes.
_OPEN = (login.router, oidc.router, console_login.router, health.router, metrics.router)
#: FastAPI can send spans and failed inputs to a collector that the environment names. Nothing leaves this machine.
_NO_TELEMETRY: Any = dict.fromkeys(("auto_configure", "tracing", "metrics", "logs", "operation_spans"), False)


def build_app(parts: AppContext) -> ASGIApp:
    """The whole of HTTP as one ASGI app; nothing runs until it is served."""
    settings = parts.settings
    limits = BodyLimits(max_bytes=MAX_SMALL_BODY, max_parts=settings.max_parts, max_fields=settings.max_fields)
    rest: ASGIApp = BodyLimitMiddleware(build_api(parts), limits, parts.service.room)
    if parts.allowance is not None:
        rest = RateLimitMiddleware(rest, parts.allowance)
    inside = TrustedHostMiddleware(
        AuthMiddleware(PredictDispatch(predict=parts.predict, rest=rest), parts.door), HostChecker(settings)
    )
    return SecurityHeadersMiddleware(ErrorMiddleware(Queries(inside), language=settings.language))


def build_api(parts: AppContext) -> FastAPI:
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
    api.state.sign_ins = PasswordAuthenticator(parts.people, parts.now)
    api.state.rooms = [
        room.router
        for room in (
            login,
            oidc,
            console_login,
            users,
            keys,
            audit,
            models,
            versions,
            traffic,
            predictions,
            export,
            labels,
            label_list,
            curation,
            label_queue,
            subjects,
            health,
            metrics,
            docs,
            status_pages,
            model_page,
        )
    ]
    for room in api.state.rooms:
        api.include_router(room, dependencies=[] if room in _OPEN else [Depends(only_known)])
    return api
