"""The dependencies of the routes in one value. A module of its own: the app imports the routes, and the routes import this.

server.worker ─► AppContext ─► app_context(request) ─► each route
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import HTTPConnection
    from starlette.types import ASGIApp

    from relevo.config import Settings
    from relevo.domain.curation import CurationReport
    from relevo.package.documents import PackageStore
    from relevo.serve.service import ModelService
    from relevo.store.audit.log import AuditLog
    from relevo.store.audit.reader import AuditReader
    from relevo.store.auth.users import Users
    from relevo.store.erasure import Erasure
    from relevo.store.labels.labels import Labels
    from relevo.store.labels.queue import LabelQueue
    from relevo.store.predictions import PredictionStore
    from relevo.store.registry import Registry
    from relevo.store.traffic import Traffic
    from relevo.web.auth.guard import Authenticator
    from relevo.web.auth.oidc import Provider
    from relevo.web.middleware.rate_limit import RateLimiter


def utc_now() -> datetime:
    """Current time for records, timezone-aware UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class AppContext:
    """Dependencies of the routes, built by `server.worker`. Lifetime: the worker."""

    service: ModelService
    predict: ASGIApp  # the raw handlers of the predict paths
    registry: Registry
    predictions: PredictionStore
    labels: Labels
    traffic: Traffic
    packages: PackageStore
    label_queue: LabelQueue
    curate: Callable[[str], CurationReport]  # model name → which labels are usable for training
    users: Users
    audit: AuditLog
    audit_reader: AuditReader
    erasure: Erasure
    authenticator: Authenticator
    settings: Settings
    metrics: Callable[[], bytes]  # Prometheus text of all workers
    provider: Provider | None = None  # identity provider for OpenID Connect login
    console_key: bytes = b""  # key of the console signatures; empty: no console is trusted
    rate_limiter: RateLimiter | None = None  # rate limits per client; shared with `predict`
    now: Callable[[], datetime] = utc_now  # aware, UTC


def app_context(request: HTTPConnection) -> AppContext:
    """The dependencies of the app that serves this request."""
    context: AppContext = request.app.state.context
    return context
