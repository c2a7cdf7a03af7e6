"""Holding a password against what is kept, out of everybody else's way.

    name, password ─ few wait ─────────────────────────► the line of all ─┐  one thread each, of low priority
                   ├ known here: browser, network, key ─► a line apart ────┴─ tries noted ─ argon2id ─► User | InvalidCredentialsError
                   └ too many wait already ─────────────► Unavailable                                   LoginThrottledError

argon2 is dear on purpose. One thread for each line bounds what a flood of sign-ins takes, idle time of a core and 19 MiB;
predictions never wait for it. A flood fills the line of all: whoever has signed in from there before has a share of their own.
The same work is done for a name that nobody has. What was refused is noted for those who answer for the server, without what was
typed.
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
_MOST_WAITING = 64
_MOST_OF_ONE = 16
_MOST_KNOWN_WAITING = 32
_MOST_OF_ONE_KNOWN = 4
_MOST_LOOKS = 256
#: For how long the networks are remembered from which anybody has signed in, in s.
_PLACES_KNOWN_FOR_S = 5.0
#: So many in the line of all are no flood, and nobody has to be looked up.
_FEW = 4
#: What the threads give way by; Linux takes it for a single thread.
_NICENESS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Applicant:
    """From where somebody would sign in; lives as long as the request."""

    address: str
    recognised: str | None = None  # what their browser kept of an earlier time
    key: Principal | None = None  # whom a key stands for that was sent along


class _Line:
    """Work that waits for one thread; lives as long as the worker. Not for several threads itself."""

    def __init__(self, name: str, *, most: int, of_one: int) -> None:
        self._thread = ThreadPoolExecutor(1, name, initializer=_give_way)
        self._most = most
        self._most_of_one = of_one
        self._from: Counter[str] = Counter()
        self.waiting = 0

    async def run(self, of: str, work: Callable[[], R]) -> R:
        """Do it in turn. of: whose share it takes; one must not fill the line for all others. Raises UnavailableError."""
        if self.waiting >= self._most or (of and self._from[of] >= self._most_of_one):
            raise UnavailableError
        self._from[of] += 1
        self.waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        finally:
            self.waiting -= 1
            self._from[of] -= 1
            if not self._from[of]:
                del self._from[of]


class PasswordAuthenticator:
    """Checks passwords; lives as long as the worker."""

    def __init__(self, people: Users, now: Callable[[], datetime]) -> None:
        self._people = people
        self._sessions = people.sessions
        self._now = now
        self._all = _Line("passwords", most=_MOST_WAITING, of_one=_MOST_OF_ONE)
        self._looks = _Line("sign-in looks", most=_MOST_LOOKS, of_one=_MOST_OF_ONE_KNOWN)
        self._places: frozenset[str] = frozenset()
        self._places_read_at = float("-inf")
        self._reading = asyncio.Lock()
        self._known = _Line("known passwords", most=_MOST_KNOWN_WAITING, of_one=_MOST_OF_ONE_KNOWN)

    async def check(self, name: str, password: str, applicant: Applicant) -> User:
        """Whoever has this name and password. Raises InvalidCredentialsError, LoginThrottledError, UnavailableError."""
        work, network = partial(self._check, name, password, applicant), network_of(applicant.address)
        if self._all.waiting >= _FEW and await self._may_be_known(applicant, network):
            desk = await self._looks.run(network, partial(self._desk_of, name, applicant))
            if desk.known:
                return await self._known.run(f"{name_key(name)} {desk.name}", work)
        return await self._all.run(network, work)

    async def hashed(self, password: str, name: str, others: Iterable[str]) -> str:
        """What is kept of a new password of the user of this name; others: as `check_password` takes them.

        Whoever asks is signed in, so a flood of sign-ins does not hold them up. Raises WeakPasswordError, UnavailableError.
        """
        return await self._known.run("", partial(_checked_and_hashed, password, name, others))

    async def _may_be_known(self, applicant: Applicant, network: str) -> bool:
        """Whether it is worth a look into the store: a flood from anywhere must not keep that busy either."""
        if applicant.recognised is not None or applicant.key is not None:
            return True
        async with self._reading:
            if time.monotonic() - self._places_read_at > _PLACES_KNOWN_FOR_S:
                self._places = await self._looks.run("", self._sessions.places)
                self._places_read_at = time.monotonic()
        return network in self._places

    def _desk_of(self, name: str, applicant: Applicant) -> Desk:
        user, _ = self._people.sign_in(name)
        return self._desk(user, applicant)

    def _desk(self, user: User | None, applicant: Applicant) -> Desk:
        key = applicant.key
        if key is not None and user is not None and key.id == user.id:
            return Desk(name=f"key {key.key}", known=True)
        return self._sessions.desk(user.id if user else None, applicant.recognised, applicant.address)

    def _check(self, name: str, password: str, applicant: Applicant) -> User:
        user, kept = self._people.sign_in(name)
        desk = self._desk(user, applicant)
        note = partial(self._people.attempts.note, user.id if user else None, name, applicant.address, at=self._now())
        try:
            self._sessions.try_password(name, desk, at=self._now())
        except LoginThrottledError:
            note(WAITING)
            raise
        too_long = len(password.encode("utf-8", "surrogatepass")) > MOST_BYTES
        fits = password_hash.verify_password(kept, "" if too_long else password)
        if user is None or kept is None or not fits:
            note(WRONG if user else UNKNOWN)
            raise InvalidCredentialsError
        self._sessions.forget_tries(name, desk)
        self._sessions.was_at(user.id, applicant.address, at=self._now())
        if password_hash.needs_rehash(kept):
            by = Actor(actor=f"user:{user.id}", address=applicant.address)
            self._people.rehash(user.id, kept, password_hash.hash_password(password), at=self._now(), by=by)
        return user


def _checked_and_hashed(password: str, name: str, others: Iterable[str]) -> str:
    check_password(password, name, others)
    return password_hash.hash_password(password)


def _give_way() -> None:
    # A comfort: where it is not allowed, the thread counts as any other.
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
