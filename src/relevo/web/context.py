"""Everything the routes work with, in one value; a file of its own, since the app knows the routes and they know this.

compose ─► Parts ─► app.state.parts ─► each route
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp

    from relevo.config import Settings
    from relevo.domain.curation import CurationReport
    from relevo.serve.service import ModelService
    from relevo.store.audit.log import AuditLog
    from relevo.store.audit.reader import AuditReader
    from relevo.store.auth.users import Users
    from relevo.store.erasure import Erasure
    from relevo.store.files.packages import PackageStore
    from relevo.store.labels.labels import Labels
    from relevo.store.labels.queue import LabelQueue
    from relevo.store.predictions import PredictionStore
    from relevo.store.registry import Registry
    from relevo.store.traffic import Traffic
    from relevo.web.auth.guard import Authenticator
    from relevo.web.auth.oidc import Provider
    from relevo.web.middleware.rate_limit import RateLimiter


def utc_now() -> datetime:
    """The clock of records."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class AppContext:
    """Everything the routes work with; made by compose, lives as long as the worker."""

    service: ModelService
    predict: ASGIApp  # the raw handlers of the predict paths
    registry: Registry
    history: PredictionStore
    labels: Labels
    traffic: Traffic
    shelf: PackageStore
    asking: LabelQueue
    clean: Callable[[str], CurationReport]  # model → what is fit to be learnt from
    people: Users
    audit: AuditLog
    trail: AuditReader
    erasing: Erasure
    door: Authenticator
    settings: Settings
    metrics: Callable[[], bytes]  # the Prometheus text of all workers
    provider: Provider | None = None  # where else people may sign in
    console_key: bytes = b""  # by which consoles are believed; without one none is
    allowance: RateLimiter | None = None  # how much each caller may ask for; shared with `predict`
    now: Callable[[], datetime] = utc_now  # aware, UTC
