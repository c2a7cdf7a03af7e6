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

from relevo.errors import DatabaseUnavailableError
from relevo.store.encryption import InputEncryption
from relevo.store.files.key_files import load_or_create_key, parse_key

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sqlalchemy import Engine

    from relevo.config import Settings

VARIABLE = "RELEVO_MASTER_KEY"
FILE = "master.key"
_REMEMBERED = "day.json"
_LOOK_EVERY_S = 0.5


def sealing_of(settings: Settings, engine: Engine) -> InputEncryption | None:
    """What seals and opens in this home; None where nothing was ever sealed. Raises ConfigError, MissingDependencyError."""
    wanted = settings.encrypt_inputs == "on"
    if not wanted and find_spec("cryptography") is None:
        return None
    master = master_key(settings, make=wanted)
    return None if master is None else InputEncryption(engine, master, remembered=settings.keys_folder / _REMEMBERED)


def master_key(settings: Settings, *, make: bool) -> bytes | None:
    """The master key; None where there is none and none is to be made. A named file must be there. Raises ConfigError."""
    if given := os.environ.get(VARIABLE):
        return parse_key(given, f"the variable {VARIABLE}")
    if settings.master_key_file:
        return load_or_create_key(Path(settings.master_key_file), make=False)
    own = settings.keys_folder / FILE
    return load_or_create_key(own) if make or own.exists() else None


async def load_day_key(sealing: InputEncryption, now: Callable[[], datetime]) -> None:
    """Have today's key at hand before the first request; where the store is away, the one that was used last in this home."""
    try:
        await asyncio.to_thread(sealing.prepare_day, now())
    except DatabaseUnavailableError:
        await asyncio.to_thread(sealing.recall_day)


async def refresh_day_keys(sealing: InputEncryption, now: Callable[[], datetime]) -> None:
    """Take each new day's key soon after midnight, UTC, until cancelled."""
    while True:
        await asyncio.sleep(_LOOK_EVERY_S)
        with contextlib.suppress(DatabaseUnavailableError):
            await asyncio.to_thread(sealing.prepare_day, now())
