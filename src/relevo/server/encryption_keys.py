"""Where the master key comes from, and what seals in a worker.

RELEVO_MASTER_KEY  >  the file of master_key_file  >  keys/master.key in home, made when inputs are to be sealed        ─► Sealing
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from relevo.errors import StoreUnavailable
from relevo.store.encryption import Sealing
from relevo.store.files.key_files import key_from, key_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sqlalchemy import Engine

    from relevo.config import Settings

VARIABLE = "RELEVO_MASTER_KEY"
FILE = "master.key"
_REMEMBERED = "day.json"
_LOOK_EVERY_S = 0.5


def sealing_of(settings: Settings, engine: Engine) -> Sealing | None:
    """What seals and opens in this home; None where nothing was ever sealed. Raises ConfigRefused, ExtraMissing."""
    wanted = settings.seal_inputs == "on"
    if not wanted and find_spec("cryptography") is None:
        return None
    master = master_key(settings, make=wanted)
    return None if master is None else Sealing(engine, master, remembered=settings.keys_folder / _REMEMBERED)


def master_key(settings: Settings, *, make: bool) -> bytes | None:
    """The master key; None where there is none and none is to be made. A named file must be there. Raises ConfigRefused."""
    if given := os.environ.get(VARIABLE):
        return key_of(given, f"the variable {VARIABLE}")
    if settings.master_key_file:
        return key_from(Path(settings.master_key_file), make=False)
    own = settings.keys_folder / FILE
    return key_from(own) if make or own.exists() else None


async def prepare_days(sealing: Sealing, now: Callable[[], datetime]) -> None:
    """Have today's key at hand before the first request; where the store is away, the one that was used last in this home."""
    try:
        await asyncio.to_thread(sealing.prepare_day, now())
    except StoreUnavailable:
        await asyncio.to_thread(sealing.recall_day)


async def follow_days(sealing: Sealing, now: Callable[[], datetime]) -> None:
    """Take each new day's key soon after midnight, UTC, until cancelled."""
    while True:
        await asyncio.sleep(_LOOK_EVERY_S)
        with contextlib.suppress(StoreUnavailable):
            await asyncio.to_thread(sealing.prepare_day, now())
