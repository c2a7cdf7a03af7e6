"""How a worker learns that people changed: it asks for one number several times a second, and reads them all when that grew.

    store.people.epoch ─ grew? ─► roll ─► the door, and people.json in the home for a start while the store is away

What is kept in the file are hashes of keys, no key; it is as closed to others as the database beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING

import msgspec

from relevo.domain.people import Roll
from relevo.errors import StoreUnavailable

if TYPE_CHECKING:
    from pathlib import Path

    from relevo.store.people import People
    from relevo.web.guard import Door

#: What the workers remember of the people, in the home.
PEOPLE_FILE = "people.json"
#: A revoked key must be dead everywhere in under a second.
_EVERY_S = 0.3


async def follow_people(people: People, door: Door, home: Path) -> None:
    """Keep the door's roll as the store has it, until cancelled."""
    while True:
        await asyncio.to_thread(look_at_people, people, door, home)
        await asyncio.sleep(_EVERY_S)


def look_at_people(people: People, door: Door, home: Path) -> None:
    """One look; while the store is away, what is known goes on counting."""
    place = home / PEOPLE_FILE
    try:
        if people.epoch() == door.roll.epoch:
            return
        door.roll = people.roll()
    except StoreUnavailable:
        if door.roll.epoch < 0 and place.exists():
            door.roll = msgspec.json.decode(place.read_bytes(), type=Roll)
        return
    _remember(door.roll, place)


def _remember(roll: Roll, place: Path) -> None:
    draft = place.with_suffix(f".{os.getpid()}")
    # Remembering is a comfort: a full disk must not keep anybody out.
    with contextlib.suppress(OSError):
        draft.touch(mode=0o600)
        draft.write_bytes(msgspec.json.encode(roll))
        draft.replace(place)
