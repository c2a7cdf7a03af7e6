"""Verifies passwords on separate low-priority threads, so that a flood of login attempts does not slow down predictions.

    name, password ─ short queue ─────────────────────────► shared queue ──┐  one thread each, low priority
                   ├ known device cookie, network or key ─► trusted queue ─┴─ attempt recorded ─ argon2id ─► User
                   └ queue full ──────────────────────────► UnavailableError

    A wrong password raises InvalidCredentialsError, too many attempts LoginThrottledError.

argon2 is expensive on purpose. One thread for each queue limits a flood to the idle time of one core and 19 MiB. A flood fills the
shared queue; clients that have logged in before use the trusted queue. Unknown names cost the same work as known ones. Rejected
attempts are recorded for administrators, without the password.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from relevo.domain.audit import Actor
from relevo.domain.names import name_key
from relevo.domain.password_policy import MOST_BYTES, check_password
from relevo.errors import InvalidCredentialsError, LoginThrottledError, UnavailableError
from relevo.store.auth import password_hash
from relevo.store.auth.login_attempts import UNKNOWN, WAITING, WRONG
from relevo.store.auth.sessions import Desk
from relevo.util.addresses import network_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from relevo.domain.access import Principal
    from relevo.store.auth.users import User, Users

R = TypeVar("R")
_MAX_SHARED = 64
_MAX_SHARED_PER_NETWORK = 16
_MAX_TRUSTED = 32
_MAX_TRUSTED_PER_CLIENT = 4
_MAX_LOOKUPS = 256
#: Cache lifetime of the networks from which users have logged in, in s.
_NETWORKS_TTL_S = 5.0
#: Below this length of the shared queue there is no flood, and no lookup is needed.
_SHORT_QUEUE = 4
#: Niceness of the threads; on Linux, niceness applies to a single thread.
_NICENESS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Applicant:
    """The client that tries to log in. Lifetime: the request."""

    address: str
    recognised: str | None = None  # device cookie of an earlier login
    key: Principal | None = None  # principal of an API key in the same request


class _WorkQueue:
    """Bounded work queue of one thread. Lifetime: the worker. Not thread-safe."""

    def __init__(self, name: str, *, max_waiting: int, max_per_client: int) -> None:
        self._thread = ThreadPoolExecutor(1, name, initializer=_lower_priority)
        self._max_waiting = max_waiting
        self._max_per_client = max_per_client
        self._waiting_by_client: Counter[str] = Counter()
        self.waiting = 0

    async def run(self, client: str, work: Callable[[], R]) -> R:
        """Runs the work on the thread. client: whose share of the queue it uses; "" for none. Raises UnavailableError if full."""
        if self.waiting >= self._max_waiting or (client and self._waiting_by_client[client] >= self._max_per_client):
            raise UnavailableError
        self._waiting_by_client[client] += 1
        self.waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        finally:
            self.waiting -= 1
            self._waiting_by_client[client] -= 1
            if not self._waiting_by_client[client]:
                del self._waiting_by_client[client]


class PasswordAuthenticator:
    """Verifies passwords. Lifetime: the worker."""

    def __init__(self, users: Users, now: Callable[[], datetime]) -> None:
        self._people = users
        self._sessions = users.sessions
        self._now = now
        self._shared = _WorkQueue("passwords", max_waiting=_MAX_SHARED, max_per_client=_MAX_SHARED_PER_NETWORK)
        self._lookups = _WorkQueue("sign-in looks", max_waiting=_MAX_LOOKUPS, max_per_client=_MAX_TRUSTED_PER_CLIENT)
        self._networks: frozenset[str] = frozenset()
        self._networks_read_at = float("-inf")
        self._networks_lock = asyncio.Lock()
        self._trusted = _WorkQueue("known passwords", max_waiting=_MAX_TRUSTED, max_per_client=_MAX_TRUSTED_PER_CLIENT)

    async def verify(self, name: str, password: str, applicant: Applicant) -> User:
        """The user with this name and password. Raises InvalidCredentialsError, LoginThrottledError, UnavailableError."""
        work, network = partial(self._verify, name, password, applicant), network_of(applicant.address)
        if self._shared.waiting >= _SHORT_QUEUE and await self._may_be_recognized(applicant, network):
            throttle_key = await self._lookups.run(network, partial(self._find_throttle_key, name, applicant))
            if throttle_key.is_known:
                return await self._trusted.run(f"{name_key(name)} {throttle_key.name}", work)
        return await self._shared.run(network, work)

    async def hash_new(self, password: str, name: str, others: Iterable[str]) -> str:
        """Hash of a new password for the user of this name; others: as in `check_password`.

        The user is logged in, so a flood of login attempts does not delay this. Raises WeakPasswordError, UnavailableError.
        """
        return await self._trusted.run("", partial(_check_and_hash, password, name, others))

    async def _may_be_recognized(self, applicant: Applicant, network: str) -> bool:
        """Whether a database lookup is worthwhile: a flood from unknown networks must not cause lookups."""
        if applicant.recognised is not None or applicant.key is not None:
            return True
        async with self._networks_lock:
            if time.monotonic() - self._networks_read_at > _NETWORKS_TTL_S:
                self._networks = await self._lookups.run("", self._sessions.known_addresses)
                self._networks_read_at = time.monotonic()
        return network in self._networks

    def _find_throttle_key(self, name: str, applicant: Applicant) -> Desk:
        user, _ = self._people.sign_in(name)
        return self._throttle_key(user, applicant)

    def _throttle_key(self, user: User | None, applicant: Applicant) -> Desk:
        key = applicant.key
        if key is not None and user is not None and key.id == user.id:
            return Desk(name=f"key {key.key}", is_known=True)
        return self._sessions.throttle_key(user.id if user else None, applicant.recognised, applicant.address)

    def _verify(self, name: str, password: str, applicant: Applicant) -> User:
        user, stored_hash = self._people.sign_in(name)
        throttle_key = self._throttle_key(user, applicant)
        note = partial(self._people.attempts.note, user.id if user else None, name, applicant.address, at=self._now())
        try:
            self._sessions.register_attempt(name, throttle_key, at=self._now())
        except LoginThrottledError:
            note(WAITING)
            raise
        too_long = len(password.encode("utf-8", "surrogatepass")) > MOST_BYTES
        is_correct = password_hash.verify_password(stored_hash, "" if too_long else password)
        if user is None or stored_hash is None or not is_correct:
            note(WRONG if user else UNKNOWN)
            raise InvalidCredentialsError
        self._sessions.reset_attempts(name, throttle_key)
        self._sessions.record_address(user.id, applicant.address, at=self._now())
        if password_hash.needs_rehash(stored_hash):
            by = Actor(actor=f"user:{user.id}", address=applicant.address)
            self._people.rehash(user.id, stored_hash, password_hash.hash_password(password), at=self._now(), by=by)
        return user


def _check_and_hash(password: str, name: str, others: Iterable[str]) -> str:
    check_password(password, name, others)
    return password_hash.hash_password(password)


def _lower_priority() -> None:
    # Best effort: without permission the thread keeps its priority.
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
