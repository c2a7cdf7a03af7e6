"""Locks between processes: a lock on a file, or on a folder, which ends when its holder closes it or ends, however it ends.

file_lock ─ waits for the holder ─► block       hold_lock ─ waits ─► descriptor, for the process       is_locked ─► bool
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def hold_lock(path: Path) -> int:
    """Locks a folder, or a file, created if missing; waits for another holder. os.close of the result unlocks it. Raises OSError."""
    flags = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT
    descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Holds the lock inside the block, as `hold_lock`."""
    descriptor = hold_lock(path)
    try:
        yield
    finally:
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock of this file. Raises OSError, FileNotFoundError for a missing file."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
