"""A fair lock for SQLite writers, so that one busy writer cannot starve the others.

    writer ─ takes the lock ─ BEGIN IMMEDIATE, waits for SQLite's write lock ─ releases the lock ─► its transaction
    meanwhile the next writer waits for this lock, even if it has written a millisecond ago

SQLite has no queue: a writer that finds its lock taken sleeps for up to a tenth of a second and retries. While a backlog is shipped,
the lock is held nine tenths of the time, and a sleeping writer may never find it free.
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

_RETRY_S = 0.005


@contextmanager
def write_lock(file: Path, *, patience_s: float) -> Iterator[None]:
    """Holds the lock of this file. After `patience_s`, or where no lock can be created, continues without: its holder may be stopped."""
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
            time.sleep(_RETRY_S)
        except OSError:
            # This file system does not support locks.
            return
        else:
            return
