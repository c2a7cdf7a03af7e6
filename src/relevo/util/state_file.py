"""Saves a small value in a file of the home, so that the next start of the process works without the database.

    save_state(path, value) ─► JSON draft, readable by its owner only ─ rename ─► the file: complete, or unchanged
    load_state(path, type) ──► the value          None: never saved, or damaged, which is logged

Best effort: on a full disk nothing is saved, and no write waits for the disk (no fsync).
"""

from __future__ import annotations

import contextlib
import logging
import os
from typing import TYPE_CHECKING, TypeVar

import msgspec

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

Value = TypeVar("Value")


def save_state(path: Path, value: object) -> None:
    """Save a value that msgspec can encode; on a full disk the previous value remains."""
    draft = path.with_suffix(f".{os.getpid()}")
    with contextlib.suppress(OSError):
        draft.touch(mode=0o600)
        draft.write_bytes(msgspec.json.encode(value))
        draft.replace(path)


def load_state(path: Path, kind: type[Value]) -> Value | None:
    """The value last saved there, or None if there is none or it cannot be read as that type."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as cause:
        # A power failure may leave a file with the right name and no content.
        log.warning("%s cannot be read and is done without: %s", path.name, cause, extra={"action": "memory_damaged"})
        return None
