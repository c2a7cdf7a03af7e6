"""How a worker learns that people changed: it asks for one number several times a second, and reads them all when that grew.

    store.people.epoch ─ grew? ─► roll ─► the door, and people.json in the home for a start while the store is away

What is kept in the file are hashes of keys, no key; it is as closed to others as the database beside it.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from relevo.domain.people import Roll
from relevo.errors import StoreUnavailable
from relevo.remembered import recall, remember

if TYPE_CHECKING:
    from pathlib import Path

    from relevo.store.people import People
    from relevo.web.guard import Door

#: What the workers remember of the people, in the home.
PEOPLE_FILE = "people.json"
#: A revoked key must be dead everywhere in under a second.
_EVERY_S = 0.3


async def follow_people(people: People, door: Door, home: Path, *, openly: bool) -> None:
    """Keep the door's roll as the store has it, until cancelled. openly: see `look_at_people`."""
    while True:
        await asyncio.to_thread(look_at_people, people, door, home, openly=openly)
        await asyncio.sleep(_EVERY_S)


def look_at_people(people: People, door: Door, home: Path, *, openly: bool = True) -> None:
    """One look; while the store is away, what is known goes on counting.

    openly: whether everybody is let in while there are no users. Where others can reach the server, and nobody dared them to, a
    store without users, as one put in another's place would be, lets nobody in.
    """
    place = home / PEOPLE_FILE
    try:
        if people.epoch() == door.roll.epoch:
            return
        roll = people.roll()
    except StoreUnavailable:
        known = recall(place, Roll) if door.roll.epoch < 0 else None
        if known is not None:
            door.roll = _as_served(known, openly=openly)
        return
    door.roll = _as_served(roll, openly=openly)
    remember(place, roll)


def _as_served(roll: Roll, *, openly: bool) -> Roll:
    return roll if openly or not roll.open else replace(roll, open=False)
