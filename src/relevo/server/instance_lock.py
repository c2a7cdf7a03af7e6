"""One server a home: two would ship each other's journals and count each other's numbers.

    server.lock in the home ─ held? ─ no ─► held until this process ends, however it ends; what stands in it says who
                                      ├ yes, by a server of this machine ─► ConfigError
                                      └ yes, by another machine's, on a shared folder ─► told, and served: their journals are apart
    served_elsewhere ─ held? ─► the address that stands in it, where it is another than that of the settings

The lock is the process's own (POSIX): its children do not inherit it, so after a kill -9 the next server starts at once. The ports
are free a moment later, when the children that were left alone have ended: `once_orphans_ended`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import socket
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from relevo.errors import ConfigError
from relevo.server.console import local_url
from relevo.server.supervisor import ORPHAN_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from relevo.config import Settings

log = logging.getLogger(__name__)

Held = TypeVar("Held")

LOCK_FILE = "server.lock"
#: Linux's name for this machine from its start to its end, the same in every container on it.
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_MOST_SAID = 4096
_NO_FILE = "it is a device or a pipe, not a file"
#: Who only looks whether the home is held, holds it for less than this.
_A_LOOK_S = 0.05


@contextlib.contextmanager
def hold_instance_lock(home: Path) -> Iterator[Callable[[str], None]]:
    """Be the home's only server of this machine inside the block, which is given what notes its address. Raises ConfigError."""
    descriptor = _opened(home / LOCK_FILE)
    try:
        is_ours = _is_locked(descriptor)
        if is_ours:
            _write_holder(descriptor, "")
        else:
            _refuse_or_tell(home, _read_holder(descriptor))
        yield lambda url: _write_holder(descriptor, url) if is_ours else None
    finally:
        os.close(descriptor)


def once_orphans_ended(act: Callable[[], Held]) -> Held:
    """What `act` gives, tried again while it may be refused for a killed server's children alone. Raises ConfigError."""
    deadline = time.monotonic() + ORPHAN_S + 2 * _A_LOOK_S
    while True:
        try:
            return act()
        except ConfigError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_A_LOOK_S)


def other_address(settings: Settings) -> str:
    """Where a server of this machine serves the home, if at another address than these settings say; else empty.

    Never in that server's own process: a look would end its lock.
    """
    told = _holder(settings.home / LOCK_FILE)
    found = str(told.get("url", "")) if told.get("machine") == _machine() else ""
    return "" if found == local_url(settings.host, settings.port, encrypted=settings.encrypted) else found


def _holder(place: Path) -> dict[str, Any]:
    """What the server that holds the home says of itself; nothing where none does."""
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return {}
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return _read_holder(descriptor)
    except OSError:
        # A pipe or a folder, or a network folder that knows no locks.
        return {}
    else:
        return {}
    finally:
        os.close(descriptor)


def _write_holder(descriptor: int, url: str) -> None:
    """Say who holds it. url: where it answers; empty while it starts."""
    told = {"machine": _machine(), "host": socket.gethostname(), "pid": os.getpid(), "url": url}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(told).encode(), 0)


def _opened(place: Path) -> int:
    try:
        # Never by a link: what it leads to would be emptied.
        descriptor = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    except OSError as cause:
        raise ConfigError(reason=f"{place} cannot be read ({cause.strerror})") from cause
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ConfigError(reason=f"{place} cannot be read ({_NO_FILE})")
    return descriptor


def _is_locked(descriptor: int) -> bool:
    for pause in (_A_LOOK_S, 0.0):
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            time.sleep(pause)
            continue
        except OSError as cause:
            # A network folder may know no locks; nobody can be kept out there.
            log.warning("the home cannot be locked: %s", cause.strerror, extra={"action": "home_not_locked"})
        return True
    return False


def _read_holder(descriptor: int) -> dict[str, Any]:
    try:
        found = json.loads(os.pread(descriptor, _MOST_SAID, 0))
    except ValueError:
        # The other one is just about to write it.
        return {}
    return found if isinstance(found, dict) else {}


def _refuse_or_tell(home: Path, other: dict[str, Any]) -> None:
    if other.get("machine", _machine()) == _machine():
        raise ConfigError(
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
