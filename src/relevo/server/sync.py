"""Follows changes in the store for a worker: users and API keys, and the data key of each day with which it encrypts inputs.

    store.people.epoch ─ changed? ─► AccessSnapshot ─► authenticator, and people.json in the home for a start without database
                                         └ no users in a home that had users ─► locked: only API keys that are cached still work

    each day, UTC ─► its data key, from the store or, without database, the one last used in this home

The file contains hashes of keys, never a key. It has the same permissions as the database.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from relevo.domain.access import AccessSnapshot
from relevo.errors import DatabaseUnavailableError, UsersLostError
from relevo.server.home import PEOPLE_FILE, had_users, has_first_checkpoint, note_users
from relevo.util.files import load_state, save_state

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from relevo.config import Settings
    from relevo.server.stores import Store
    from relevo.store.encryption import InputEncryption
    from relevo.web.auth.guard import Authenticator

log = logging.getLogger(__name__)

#: A revoked key must be rejected by every worker in less than a second.
_POLL_INTERVAL_S = 0.3
_DAY_POLL_INTERVAL_S = 0.5


async def sync_access(settings: Settings, store: Store, authenticator: Authenticator, *, allow_anonymous: bool) -> None:
    """Keeps the authenticator's snapshot up to date until cancelled. allow_anonymous: see `refresh_access`."""
    while True:
        await asyncio.to_thread(refresh_access, settings, store, authenticator, allow_anonymous=allow_anonymous)
        await asyncio.sleep(_POLL_INTERVAL_S)


def refresh_access(settings: Settings, store: Store, authenticator: Authenticator, *, allow_anonymous: bool = True) -> None:
    """Refreshes the snapshot once. While the database is unavailable, the cached snapshot stays in force.

    allow_anonymous: whether an empty user table allows anonymous access. If the server is reachable and --insecure was not given,
    an empty user table denies all access, because the database may have been replaced.
    """
    try:
        if store.users.revision() == authenticator.access.revision:
            return
        # Race: the first user is created meanwhile. The marker file is read first, so that it is never newer than the snapshot.
        had_before = had_users(settings.home)
        snapshot = store.users.access_snapshot()
        is_lost = snapshot.lost or (snapshot.no_users and (had_before or not has_first_checkpoint(settings, store.audit_reader)))
    except DatabaseUnavailableError:
        cached = load_state(settings.home / PEOPLE_FILE, AccessSnapshot) if authenticator.access.revision < 0 else None
        # The first user may have been created while no worker was running to save a new snapshot.
        if cached is not None and not (cached.no_users and had_users(settings.home)):
            authenticator.access = _effective(cached, allow_anonymous=allow_anonymous)
        return
    if is_lost:
        _lock_access(authenticator, settings, snapshot.revision)
        return
    if not snapshot.no_users:
        note_users(settings.home)
    authenticator.access = _effective(snapshot, allow_anonymous=allow_anonymous)
    save_state(settings.home / PEOPLE_FILE, snapshot)


def _lock_access(authenticator: Authenticator, settings: Settings, epoch: int) -> None:
    """Denies all access except with API keys that are cached. Logged once; undone at the next refresh from the right database."""
    if authenticator.access.lost and authenticator.access.revision == epoch:
        return
    previous = (
        authenticator.access if authenticator.access.revision >= 0 else load_state(settings.home / PEOPLE_FILE, AccessSnapshot)
    )
    authenticator.access = AccessSnapshot(revision=epoch, no_users=False, lost=True, keys=previous.keys if previous else {})
    log.error("%s", UsersLostError(), extra={"action": "users_lost"})


def _effective(snapshot: AccessSnapshot, *, allow_anonymous: bool) -> AccessSnapshot:
    return snapshot if allow_anonymous or not snapshot.no_users else replace(snapshot, no_users=False)


async def load_day_key(encryption: InputEncryption, now: Callable[[], datetime]) -> None:
    """Loads today's key before the first request; while the database is unavailable, the key last used in this home."""
    try:
        await asyncio.to_thread(encryption.load_day_key, now())
    except DatabaseUnavailableError:
        await asyncio.to_thread(encryption.restore_day_key)


async def refresh_day_keys(encryption: InputEncryption, now: Callable[[], datetime]) -> None:
    """Loads each new day's key soon after midnight, UTC, until cancelled."""
    while True:
        await asyncio.sleep(_DAY_POLL_INTERVAL_S)
        with contextlib.suppress(DatabaseUnavailableError):
            await asyncio.to_thread(encryption.load_day_key, now())
