"""One queue for all who want to write into an SQLite file, so that a busy writer cannot keep the others out.

    writer ─ takes the turn ─ BEGIN IMMEDIATE, waits for the write lock ─ gives the turn back ─► its transaction
    the next one waits for the turn meanwhile, even if it has written a millisecond ago

SQLite has no queue: who finds the lock taken sleeps for up to a tenth of a second and tries again. A loop that ships a backlog has
the lock nine tenths of the time, and who sleeps in between may never meet the rest.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_AGAIN_S = 0.005


@contextmanager
def write_lock(file: Path, *, patience_s: float) -> Iterator[None]:
    """Hold the turn at this file; without it where no lock can be made, and once patience ends: its holder may be stopped."""
    try:
        handle = os.open(file.with_name(file.name + "-turn"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        yield
        return
    try:
        _wait(handle, until=time.monotonic() + patience_s)
        yield
    finally:
        os.close(handle)


def _wait(handle: int, *, until: float) -> None:
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                return
            time.sleep(_AGAIN_S)
        except OSError:
            # This file system has no such locks: nobody can take turns, and waiting brings none.
            return
        else:
            return
