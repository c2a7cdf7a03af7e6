"""Folders of quarantines whose import was killed: swept when the next import begins.

a folder is made ─ its lock taken ─► whoever finds the lock free knows that nobody works there any more ─► removed

The kernel gives a lock back when its holder ends, however it ends.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX = "relevo-quarantine-"
_LOCK = "held"
#: Seconds after which a folder without a lock is not one that is just being made.
_SETTLED_S = 3600.0


@contextmanager
def sandbox_workdir() -> Iterator[Path]:
    """An empty folder, removed at the end, also by a later import when this process does not live to do it."""
    sweep(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as outer:
        lock = os.open(Path(outer) / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield Path(outer)
        finally:
            os.close(lock)


def sweep(folder: Path) -> None:
    """Remove what killed imports of this user left here."""
    for place in folder.glob(f"{PREFIX}*"):
        # Another import may sweep at the same time; what is gone is gone.
        with suppress(OSError):
            found = place.lstat()
            if found.st_uid == os.geteuid() and place.is_dir() and not place.is_symlink() and _is_left(place, found.st_mtime):
                shutil.rmtree(place, ignore_errors=True)


def _is_left(place: Path, changed: float) -> bool:
    try:
        lock = os.open(place / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return time.time() - changed > _SETTLED_S
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        return True
    finally:
        os.close(lock)
