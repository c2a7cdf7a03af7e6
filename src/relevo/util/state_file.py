"""What a process remembers in a small file of its home, so that its next start can do without the store.

    remember(path, value) ─► JSON beside it, its owner's alone ─ rename ─► the file: whole, or as it was before
    recall(path, type) ────► the value          None: never remembered, or damaged, which is told in the log

A comfort and no promise: what a full disk does not take is not remembered, and nothing waits for the disk.
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
    """Keep a value of msgspec's kinds; on a full disk the one before stays."""
    draft = path.with_suffix(f".{os.getpid()}")
    with contextlib.suppress(OSError):
        draft.touch(mode=0o600)
        draft.write_bytes(msgspec.json.encode(value))
        draft.replace(path)


def load_state(path: Path, kind: type[Value]) -> Value | None:
    """What was last remembered there, if it can be read as that type."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as cause:
        # A power cut may leave a file of the right name and no content.
        log.warning("%s cannot be read and is done without: %s", path.name, cause, extra={"action": "memory_damaged"})
        return None
