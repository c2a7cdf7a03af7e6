"""Builds the ASGI application: the middleware stack as one expression, and the FastAPI routes.

server.worker ─ AppContext ─► build_app ─► SecurityHeaders(Error(QueryLimit(TrustedHost(Auth(PredictDispatch(predict, rest))))))
rest = RateLimit(BodyLimit(FastAPI(routes)))      RateLimit only where rate limits are configured
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
from relevo.web.pages.error_page import handle_exception
from relevo.web.predict.body import BodyLimits
from relevo.web.query_string import QueryLimitMiddleware, reject_unknown_parameters
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

#: Routers that accept unknown query parameters: identity providers and health probes add their own.
_LENIENT_ROUTERS = (login.router, oidc.router, console_login.router, health.router, metrics.router)
#: FastAPI can send spans and failed inputs to a collector named in the environment. Switched off: nothing leaves this machine.
_NO_TELEMETRY: Any = dict.fromkeys(("auto_configure", "tracing", "metrics", "logs", "operation_spans"), False)


def build_app(context: AppContext) -> ASGIApp:
    """The complete ASGI app; nothing runs until it is served."""
    settings = context.settings
    limits = BodyLimits(max_bytes=MAX_SMALL_BODY, max_parts=settings.max_parts, max_fields=settings.max_fields)
    rest: ASGIApp = BodyLimitMiddleware(build_api(context), limits, context.service.byte_budget)
    if context.rate_limiter is not None:
        rest = RateLimitMiddleware(rest, context.rate_limiter)
    checked = TrustedHostMiddleware(
        AuthMiddleware(PredictDispatch(predict=context.predict, rest=rest), context.authenticator), HostChecker(settings)
    )
    return SecurityHeadersMiddleware(ErrorMiddleware(QueryLimitMiddleware(checked), language=settings.language))


def build_api(context: AppContext) -> FastAPI:
    """All routes except the predict paths. FastAPI's own docs are off: they load a script from another host."""
    api = FastAPI(
        title="Relevo",
        version=relevo.__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        telemetry=_NO_TELEMETRY,
        exception_handlers={
            RelevoError: handle_exception,
            HTTPException: handle_exception,
            RequestValidationError: handle_exception,
            Exception: handle_exception,
        },
    )
    api.state.context = context
    api.state.passwords = PasswordAuthenticator(context.users, context.now)
    api.state.routers = [
        module.router
        for module in (
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
    for router in api.state.routers:
        api.include_router(router, dependencies=[] if router in _LENIENT_ROUTERS else [Depends(reject_unknown_parameters)])
    return api
