"""How a worker learns that people changed: it asks for one number several times a second, and reads them all when that grew.

    store.people.epoch ─ grew? ─► roll ─► the door, and people.json in the home for a start while the store is away
                                     └ knows nobody in a home that had users ─► closed: only keys that were known go on counting

What is kept in the file are hashes of keys, no key; it is as closed to others as the database beside it.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from relevo.domain.access import AccessSnapshot
from relevo.errors import DatabaseUnavailableError, UsersLostError
from relevo.server.users_marker import PEOPLE_FILE, had_users, note_users, past_is_there
from relevo.util.state_file import load_state, save_state

if TYPE_CHECKING:
    from relevo.config import Settings
    from relevo.server.stores import Store
    from relevo.web.auth.guard import Authenticator

log = logging.getLogger(__name__)

#: A revoked key must be dead everywhere in under a second.
_EVERY_S = 0.3


async def sync_access(settings: Settings, store: Store, door: Authenticator, *, openly: bool) -> None:
    """Keep the door's roll as the store has it, until cancelled. openly: see `look_at_people`."""
    while True:
        await asyncio.to_thread(refresh_access, settings, store, door, openly=openly)
        await asyncio.sleep(_EVERY_S)


def refresh_access(settings: Settings, store: Store, door: Authenticator, *, openly: bool = True) -> None:
    """One look; while the store is away, what is known goes on counting.

    openly: whether everybody is let in while there are no users. Where others can reach the server, and nobody dared them to, a
    store without users, as one put in another's place would be, lets nobody in.
    """
    try:
        if store.people.epoch() == door.roll.epoch:
            return
        # Race: the first user is made meanwhile. What the home tells is read first, so that it never tells more than the store.
        had_some = had_users(settings.home)
        roll = store.people.roll()
        is_lost = roll.lost or (roll.open and (had_some or not past_is_there(settings, store.trail)))
    except DatabaseUnavailableError:
        known = load_state(settings.home / PEOPLE_FILE, AccessSnapshot) if door.roll.epoch < 0 else None
        # The first user may have been made while no worker was there to remember it.
        if known is not None and not (known.open and had_users(settings.home)):
            door.roll = _as_served(known, openly=openly)
        return
    if is_lost:
        _close(door, settings, roll.epoch)
        return
    if not roll.open:
        note_users(settings.home)
    door.roll = _as_served(roll, openly=openly)
    save_state(settings.home / PEOPLE_FILE, roll)


def _close(door: Authenticator, settings: Settings, epoch: int) -> None:
    """Let nobody in but by a key that counted before. It is told once, and undone by the next look at the right database."""
    if door.roll.lost and door.roll.epoch == epoch:
        return
    before = door.roll if door.roll.epoch >= 0 else load_state(settings.home / PEOPLE_FILE, AccessSnapshot)
    door.roll = AccessSnapshot(epoch=epoch, open=False, lost=True, keys=before.keys if before else {})
    log.error("%s", UsersLostError(), extra={"action": "users_lost"})


def _as_served(roll: AccessSnapshot, *, openly: bool) -> AccessSnapshot:
    return roll if openly or not roll.open else replace(roll, open=False)
