"""How much one caller may ask for: so much a second, and so many requests at once. Off unless the settings say otherwise.

    caller: the key, else the user, else the address (an IPv6 one by its network of 64 bits)

    enter ─ too many under way ─► 429 rate_limited
          └ in debt ────────────► 429 rate_exceeded, with the seconds until it is not
    pay ─── rows, bytes and pixels are taken from the caller's units, below zero if need be
    leave ─ one fewer under way

Units come back with time, up to the burst. What is dearer than all of them is answered once and waited for afterwards, so no batch
is too large to be ever answered. Each worker has its share of the units: all together allow what the settings say, and who keeps
one connection, which is one worker's, gets its share alone. Counting together would put a question between every two requests.
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

#: What weighs as much as one row.
BYTES_PER_UNIT = 2**18
PIXELS_A_UNIT = 1_000_000
#: Seconds' worth of units that may be asked for at once where the settings name no burst.
_BURST_S = 10.0
_MOST_CALLERS = 10_000
#: What a probe and a page's own files ask for is nobody's share.
_FREE = re.compile(r"/health/\w+|/static/[^/]+|/favicon\.ico")


class _TokenBucket:
    """What one caller has left; lives until it has all of it again."""

    __slots__ = ("at", "under_way", "units")

    def __init__(self, units: float, at: float) -> None:
        self.units = units
        self.at = at
        self.under_way = 0


class RateLimiter:
    """Who has asked for how much; lives as long as the worker. Not for several threads."""

    def __init__(self, *, rate: float, burst: float, at_once: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        """rate: units a second, 0 for no bound; burst: most units a caller saves up; at_once: requests, 0 for no bound."""
        self._rate = rate
        self._burst = burst
        self._at_once = at_once
        self._monotonic = monotonic
        self._accounts: dict[str, _TokenBucket] = {}

    def check(self, caller: str) -> None:
        """See whether this caller may ask now. Raises ConcurrencyLimitError, RateLimitError."""
        account = self._account(caller)
        if self._at_once and account.under_way >= self._at_once:
            raise ConcurrencyLimitError(limit=self._at_once)
        if self._rate and account.units <= 0:
            raise RateLimitError(retry_after=max(1, math.ceil(-account.units / self._rate)))

    def enter(self, caller: str, units: float = 0.0) -> None:
        """One more request of this caller, just checked, is under way; take its units, whether they are there or not."""
        account = self._accounts[caller]
        account.under_way += 1
        account.units -= units

    def leave(self, caller: str) -> None:
        """It ended."""
        self._accounts[caller].under_way -= 1

    def take(self, caller: str, units: float) -> None:
        """Take units of a request under way, whether they are there or not."""
        self._accounts[caller].units -= units

    def pay(self, caller: str, units: float) -> None:
        """Take units unless others of this caller's requests left it in debt meanwhile. Raises RateLimitError."""
        account = self._account(caller)
        if self._rate and account.units <= 0:
            raise RateLimitError(retry_after=max(1, math.ceil(-account.units / self._rate)))
        account.units -= units

    @contextlib.contextmanager
    def visit(self, caller: str) -> Iterator[None]:
        """Let one request in for as long as it takes. Raises ConcurrencyLimitError, RateLimitError."""
        self.check(caller)
        self.enter(caller)
        try:
            yield
        finally:
            self.leave(caller)

    def _account(self, caller: str) -> _TokenBucket:
        now = self._monotonic()
        account = self._accounts.get(caller)
        if account is None:
            if len(self._accounts) >= _MOST_CALLERS:
                self._forget(now)
            account = self._accounts[caller] = _TokenBucket(self._burst, now)
            return account
        self._refill(account, now)
        return account

    def _refill(self, account: _TokenBucket, now: float) -> None:
        account.units = min(self._burst, account.units + (now - account.at) * self._rate)
        account.at = now

    def _forget(self, now: float) -> None:
        """Let go of callers with nothing under way: first who has all of its units again, then half of the rest, oldest first."""
        for caller, account in list(self._accounts.items()):
            self._refill(account, now)
            if not account.under_way and account.units >= self._burst:
                del self._accounts[caller]
        idle = [caller for caller, account in self._accounts.items() if not account.under_way]
        for caller in idle[: max(0, len(self._accounts) - _MOST_CALLERS // 2)]:
            del self._accounts[caller]


def allowance_of(settings: Settings) -> RateLimiter | None:
    """What each caller is allowed in one worker; None where the settings bound nobody."""
    if not settings.rate_limit and not settings.max_concurrency_per_client:
        return None
    workers = settings.worker_count
    burst = settings.rate_burst or settings.rate_limit * _BURST_S
    return RateLimiter(
        rate=settings.rate_limit / workers,
        burst=max(burst / workers, 1.0),
        # Rounded down, so that all workers together never let more in than was said, unless each lets in the one that it must.
        at_once=max(settings.max_concurrency_per_client // workers, min(settings.max_concurrency_per_client, 1)),
    )


def client_id(principal: Principal | None, client: tuple[str, int] | None) -> str:
    """Whose share it is: that of a key, of a user, of an address; in this order."""
    if principal is not None and (principal.key or principal.id):
        return principal.actor
    return network_of(client[0]) if client else ""


def request_cost(body_bytes: int, *, rows: int = 1, image: bytes | None = None) -> float:
    """What a request weighs: its rows, bytes and pixels together."""
    units = rows + body_bytes / BYTES_PER_UNIT
    if image is None:
        return units
    try:
        width, height = header_size(image)
    except (UnsupportedImageError, BrokenImageError):
        # What is no picture is refused by who decodes it.
        return units
    return units + width * height / PIXELS_A_UNIT


class RateLimitMiddleware:
    """Counts what is asked beside predictions, which count themselves; lives as long as the app."""

    def __init__(self, app: ASGIApp, allowance: RateLimiter) -> None:
        self._app = app
        self._allowance = allowance

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises ConcurrencyLimitError, RateLimitError."""
        if scope["type"] != "http" or _FREE.fullmatch(scope["path"]):
            await self._app(scope, receive, send)
            return
        caller = client_id(scope["state"].get("principal"), scope.get("client"))
        with self._allowance.visit(caller):
            self._allowance.take(caller, request_cost(_said_length(scope)))
            await self._app(scope, receive, send)


def _said_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value[:15])
    return 0
