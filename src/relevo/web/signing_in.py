"""Holding a password against what is kept, out of everybody else's way.

    name, password ─ one thread, of low priority ─ tries noted ─ argon2id ─► User | SignInRefused | TooManyFailures
                   └ too many wait already ──────────────────────────────► Unavailable

argon2 is dear on purpose. One thread a worker bounds what a flood of sign-ins takes, one core's idle time and 19 MiB; predictions
never wait for it. The same work is done for a name that nobody has.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from relevo.domain.passwords import MOST_BYTES, check_password
from relevo.errors import SignInRefused, Unavailable
from relevo.store import passwords

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from relevo.store.people import People, User

P = ParamSpec("P")
R = TypeVar("R")
_MOST_WAITING = 64
_MOST_OF_ONE = 16
#: What the thread gives way by; Linux takes it for a single thread.
_NICENESS = 10


class SignIns:
    """Checks passwords; lives as long as the worker."""

    def __init__(self, people: People, now: Callable[[], datetime]) -> None:
        self._people = people
        self._sessions = people.sessions
        self._now = now
        self._thread = ThreadPoolExecutor(1, "passwords", initializer=_give_way)
        self._waiting = 0
        self._from: Counter[str] = Counter()

    async def check(self, name: str, password: str, address: str, *, recognised: str | None = None) -> User:
        """Whoever has this name and password. recognised: what their browser kept of an earlier time.

        Raises SignInRefused, TooManyFailures, Unavailable.
        """
        # One address must not fill the line for all others.
        if self._from[address] >= _MOST_OF_ONE:
            raise Unavailable
        self._from[address] += 1
        try:
            return await self._in_turn(self._check, name, password, address, recognised)
        finally:
            self._from[address] -= 1
            if not self._from[address]:
                del self._from[address]

    async def hashed(self, password: str, name: str, others: Iterable[str]) -> str:
        """What is kept of a new password of the user of this name; others: as `check_password` takes them.

        Raises PasswordRefused, Unavailable.
        """
        return await self._in_turn(_checked_and_hashed, password, name, others)

    async def _in_turn(self, work: Callable[P, R], *given: P.args, **named: P.kwargs) -> R:
        if self._waiting >= _MOST_WAITING:
            raise Unavailable
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: work(*given, **named))
        finally:
            self._waiting -= 1

    def _check(self, name: str, password: str, address: str, recognised: str | None) -> User:
        user, kept = self._people.sign_in(name)
        desk = self._sessions.desk(user.id if user else None, recognised, address)
        self._sessions.try_password(name, desk, at=self._now())
        too_long = len(password.encode("utf-8", "surrogatepass")) > MOST_BYTES
        fits = passwords.fits(kept, "" if too_long else password)
        if user is None or kept is None or not fits:
            raise SignInRefused
        self._sessions.forget_tries(name, desk)
        if passwords.is_stale(kept):
            self._people.rehash(user.id, kept, passwords.hashed(password))
        return user


def _checked_and_hashed(password: str, name: str, others: Iterable[str]) -> str:
    check_password(password, name, others)
    return passwords.hashed(password)


def _give_way() -> None:
    # A comfort: where it is not allowed, the thread counts as any other.
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
