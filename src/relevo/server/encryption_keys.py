"""Finds the master key, and loads the daily data keys with which a worker encrypts inputs.

RELEVO_MASTER_KEY  >  file of master_key_file  >  keys/master.key in home, created when encrypt_inputs is on   ─► InputEncryption
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
_DAY_KEY_CACHE = "day.json"
_POLL_INTERVAL_S = 0.5


def input_encryption(settings: Settings, engine: Engine) -> InputEncryption | None:
    """Encryption of this home's inputs; None when it has no master key. Raises ConfigError, MissingDependencyError."""
    is_on = settings.encrypt_inputs == "on"
    if not is_on and find_spec("cryptography") is None:
        return None
    master = master_key(settings, make=is_on)
    return None if master is None else InputEncryption(engine, master, remembered=settings.keys_folder / _DAY_KEY_CACHE)


def master_key(settings: Settings, *, make: bool) -> bytes | None:
    """The master key; None when there is none and make is false. A configured file must exist. Raises ConfigError."""
    if text := os.environ.get(VARIABLE):
        return parse_key(text, f"the variable {VARIABLE}")
    if settings.master_key_file:
        return load_or_create_key(Path(settings.master_key_file), make=False)
    default_file = settings.keys_folder / FILE
    return load_or_create_key(default_file) if make or default_file.exists() else None


async def load_day_key(encryption: InputEncryption, now: Callable[[], datetime]) -> None:
    """Loads today's key before the first request; while the database is unavailable, the key last used in this home."""
    try:
        await asyncio.to_thread(encryption.load_day_key, now())
    except DatabaseUnavailableError:
        await asyncio.to_thread(encryption.restore_day_key)


async def refresh_day_keys(encryption: InputEncryption, now: Callable[[], datetime]) -> None:
    """Loads each new day's key soon after midnight, UTC, until cancelled."""
    while True:
        await asyncio.sleep(_POLL_INTERVAL_S)
        with contextlib.suppress(DatabaseUnavailableError):
            await asyncio.to_thread(encryption.load_day_key, now())
