"""Limits the rate and the number of concurrent requests of each client. Off by default.

    client id: the API key, else the user, else the address (IPv6: its /64 network)

    start ── too many running ───► 429 rate_limited
          └─ token balance ≤ 0 ──► 429 rate_exceeded, with the seconds until it is positive
    charge ─ rows, bytes and pixels are subtracted from the client's tokens, below zero if necessary
    finish ─ one request fewer running

A token bucket refills over time, up to the burst. A request that costs more than the whole burst is answered once and delays the
next ones, so no batch is too large to be ever answered. Each worker has its share of the rate: all workers together allow the
configured rate, and a client with one connection, which belongs to one worker, gets that worker's share. Shared counters would cost
a round trip for each request.
"""

from __future__ import annotations

import contextlib
import math
import re
import time
from typing import TYPE_CHECKING

from relevo.errors import BrokenImageError, ConcurrencyLimitError, RateLimitError, UnsupportedImageError
from relevo.runtime.image import header_size
from relevo.util.addresses import network_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.types import ASGIApp, Receive, Scope, Send

    from relevo.config import Settings
    from relevo.domain.access import Principal

#: Bytes, and pixels, that cost as much as one row.
BYTES_PER_UNIT = 2**18
PIXELS_PER_UNIT = 1_000_000
#: Default burst, in seconds of the rate.
_DEFAULT_BURST_S = 10.0
_MAX_BUCKETS = 10_000
#: Probes and static files are not limited.
_UNLIMITED_PATHS = re.compile(r"/health/\w+|/static/[^/]+|/favicon\.ico")


class _TokenBucket:
    """Tokens and running requests of one client. Lifetime: until it is full and idle, or evicted."""

    __slots__ = ("running", "tokens", "updated_at")

    def __init__(self, tokens: float, updated_at: float) -> None:
        self.tokens = tokens
        self.updated_at = updated_at
        self.running = 0


class RateLimiter:
    """Token buckets by client. Lifetime: the worker. Not thread-safe."""

    def __init__(self, *, rate: float, burst: float, max_concurrent: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        """rate: tokens a second, 0 for unlimited; burst: bucket capacity; max_concurrent: requests, 0 for unlimited."""
        self._rate = rate
        self._burst = burst
        self._max_concurrent = max_concurrent
        self._monotonic = monotonic
        self._buckets: dict[str, _TokenBucket] = {}

    def check(self, caller: str) -> None:
        """Checks whether this client may start a request now. Raises ConcurrencyLimitError, RateLimitError."""
        bucket = self._get_bucket(caller)
        if self._max_concurrent and bucket.running >= self._max_concurrent:
            raise ConcurrencyLimitError(limit=self._max_concurrent)
        if self._rate and bucket.tokens <= 0:
            raise RateLimitError(retry_after=max(1, math.ceil(-bucket.tokens / self._rate)))

    def start(self, caller: str, tokens: float = 0.0) -> None:
        """Counts a request that passed `check` as running, and charges its tokens, even below zero."""
        bucket = self._buckets[caller]
        bucket.running += 1
        bucket.tokens -= tokens

    def finish(self, caller: str) -> None:
        """Counts a request as finished."""
        self._buckets[caller].running -= 1

    def charge(self, caller: str, tokens: float) -> None:
        """Charges tokens of a running request, even below zero."""
        self._buckets[caller].tokens -= tokens

    def charge_or_refuse(self, caller: str, tokens: float) -> None:
        """Charges tokens unless the client's other requests have used them up meanwhile. Raises RateLimitError."""
        bucket = self._get_bucket(caller)
        if self._rate and bucket.tokens <= 0:
            raise RateLimitError(retry_after=max(1, math.ceil(-bucket.tokens / self._rate)))
        bucket.tokens -= tokens

    @contextlib.contextmanager
    def limit(self, caller: str) -> Iterator[None]:
        """Context of one request of a client. Raises ConcurrencyLimitError, RateLimitError."""
        self.check(caller)
        self.start(caller)
        try:
            yield
        finally:
            self.finish(caller)

    def _get_bucket(self, caller: str) -> _TokenBucket:
        now = self._monotonic()
        bucket = self._buckets.get(caller)
        if bucket is None:
            if len(self._buckets) >= _MAX_BUCKETS:
                self._evict(now)
            bucket = self._buckets[caller] = _TokenBucket(self._burst, now)
            return bucket
        self._refill(bucket, now)
        return bucket

    def _refill(self, bucket: _TokenBucket, now: float) -> None:
        bucket.tokens = min(self._burst, bucket.tokens + (now - bucket.updated_at) * self._rate)
        bucket.updated_at = now

    def _evict(self, now: float) -> None:
        """Removes idle clients: those with a full bucket, then the oldest half of the rest."""
        for caller, bucket in list(self._buckets.items()):
            self._refill(bucket, now)
            if not bucket.running and bucket.tokens >= self._burst:
                del self._buckets[caller]
        idle = [caller for caller, bucket in self._buckets.items() if not bucket.running]
        for caller in idle[: max(0, len(self._buckets) - _MAX_BUCKETS // 2)]:
            del self._buckets[caller]


def allowance_of(settings: Settings) -> RateLimiter | None:
    """The rate limiter of one worker; None if no limits are configured."""
    if not settings.rate_limit and not settings.max_concurrency_per_client:
        return None
    workers = settings.worker_count
    burst = settings.rate_burst or settings.rate_limit * _DEFAULT_BURST_S
    return RateLimiter(
        rate=settings.rate_limit / workers,
        burst=max(burst / workers, 1.0),
        # Rounded down, so that all workers together do not exceed the limit, but at least 1 for each worker.
        max_concurrent=max(settings.max_concurrency_per_client // workers, min(settings.max_concurrency_per_client, 1)),
    )


def client_id(principal: Principal | None, client: tuple[str, int] | None) -> str:
    """Key of a client's bucket: its API key, else its user, else its network."""
    if principal is not None and (principal.key or principal.id):
        return principal.actor
    return network_of(client[0]) if client else ""


def request_cost(body_bytes: int, *, rows: int = 1, image: bytes | None = None) -> float:
    """Cost of a request in tokens: rows, bytes and pixels."""
    tokens = rows + body_bytes / BYTES_PER_UNIT
    if image is None:
        return tokens
    try:
        width, height = header_size(image)
    except (UnsupportedImageError, BrokenImageError):
        # The decoder rejects invalid images later.
        return tokens
    return tokens + width * height / PIXELS_PER_UNIT


class RateLimitMiddleware:
    """Limits all requests except predictions, whose handlers apply the limits themselves. Lifetime: the app."""

    def __init__(self, app: ASGIApp, allowance: RateLimiter) -> None:
        self._app = app
        self._allowance = allowance

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises ConcurrencyLimitError, RateLimitError."""
        if scope["type"] != "http" or _UNLIMITED_PATHS.fullmatch(scope["path"]):
            await self._app(scope, receive, send)
            return
        caller = client_id(scope["state"].get("principal"), scope.get("client"))
        with self._allowance.limit(caller):
            self._allowance.charge(caller, request_cost(_content_length(scope)))
            await self._app(scope, receive, send)


def _content_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value[:15])
    return 0
