"""One server a home: two would ship each other's journals and count each other's numbers.

    server.lock in the home ─ held? ─ no ─► held until this process ends, however it ends; what stands in it says who
                                      ├ yes, by a server of this machine ─► ConfigRefused
                                      └ yes, by another machine's, on a shared folder ─► told, and served: their journals are apart

The lock is the process's own (POSIX): its children do not inherit it, so after a kill -9 the next server starts at once.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relevo.errors import ConfigRefused

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger(__name__)

LOCK_FILE = "server.lock"
#: Linux's name for this machine from its start to its end, the same in every container on it.
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_MOST_SAID = 4096
_NO_FILE = "it is a device or a pipe, not a file"


@contextlib.contextmanager
def sole_server(home: Path) -> Iterator[None]:
    """Be the home's only server of this machine inside the block. Raises ConfigRefused."""
    descriptor = _opened(home / LOCK_FILE)
    try:
        if _is_locked(descriptor):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps({"machine": _machine(), "host": socket.gethostname(), "pid": os.getpid()}).encode(), 0)
        else:
            _refuse_or_tell(home, _said(descriptor))
        yield
    finally:
        os.close(descriptor)


def _opened(place: Path) -> int:
    try:
        # Never by a link: what it leads to would be emptied.
        descriptor = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    except OSError as cause:
        raise ConfigRefused(reason=f"{place} cannot be read ({cause.strerror})") from cause
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ConfigRefused(reason=f"{place} cannot be read ({_NO_FILE})")
    return descriptor


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError as cause:
        # A network folder may know no locks; nobody can be kept out there.
        log.warning("the home cannot be locked: %s", cause.strerror, extra={"action": "home_not_locked"})
    return True


def _said(descriptor: int) -> dict[str, Any]:
    try:
        found = json.loads(os.pread(descriptor, _MOST_SAID, 0))
    except ValueError:
        # The other one is just about to write it.
        return {}
    return found if isinstance(found, dict) else {}


def _refuse_or_tell(home: Path, other: dict[str, Any]) -> None:
    if other.get("machine", _machine()) == _machine():
        raise ConfigRefused(
            reason=f"another server (process {other.get('pid', '?')}) already serves the home {home}; end it first, "
            "or give this one a home of its own with --home"
        )
    facts = {"action": "home_shared", "machine": str(other.get("host"))}
    log.warning("a server on the machine %s serves this home, too", other.get("host"), extra=facts)


def _machine() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return socket.gethostname()
