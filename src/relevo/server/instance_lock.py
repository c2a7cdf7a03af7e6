"""Allows one server per home; two would ship each other's journals and double-count metrics.

    server.lock in the home ─ locked? ─ no ─► locked until this process ends; the file describes the holder
                                        ├ yes, by a server on this machine ─► ConfigError
                                        └ yes, by another machine, on a shared folder ─► warning; both serve, with separate journals
    other_address ─ locked? ─► the address in the file, if it differs from that of the settings

It is a POSIX lock, which children do not inherit, so after a kill -9 the next server can start at once. The ports are free a
moment later, when the orphaned children have ended: `once_orphans_ended`.
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

Result = TypeVar("Result")

LOCK_FILE = "server.lock"
#: Linux's identifier of this machine since its last boot, the same in every container on it.
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_MAX_HOLDER_BYTES = 4096
_NO_FILE = "it is a device or a pipe, not a file"
#: A process that only checks the lock holds it for less than this.
_CHECK_S = 0.05


@contextlib.contextmanager
def hold_instance_lock(home: Path) -> Iterator[Callable[[str], None]]:
    """Holds the lock of the home inside the block. Gives a function that writes the server's address. Raises ConfigError."""
    descriptor = _open_lock_file(home / LOCK_FILE)
    try:
        is_acquired = _acquire(descriptor)
        if is_acquired:
            _write_holder(descriptor, "")
        else:
            _reject_or_warn(home, _read_holder(descriptor))
        yield lambda url: _write_holder(descriptor, url) if is_acquired else None
    finally:
        os.close(descriptor)


def once_orphans_ended(act: Callable[[], Result]) -> Result:
    """Returns the result of `act`, retried while orphaned children of a killed server may cause its error. Raises ConfigError."""
    deadline = time.monotonic() + ORPHAN_S + 2 * _CHECK_S
    while True:
        try:
            return act()
        except ConfigError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_CHECK_S)


def other_address(settings: Settings) -> str:
    """The address of a server on this machine that serves the home, if it differs from these settings; otherwise empty.

    Never call this in the server's own process: closing the file would release its lock.
    """
    holder = _holder(settings.home / LOCK_FILE)
    address = str(holder.get("url", "")) if holder.get("machine") == _machine() else ""
    return "" if address == local_url(settings.host, settings.port, encrypted=settings.encrypted) else address


def _holder(lock_file: Path) -> dict[str, Any]:
    """The description of the server that holds the lock; empty if none does."""
    try:
        descriptor = os.open(lock_file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return {}
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return _read_holder(descriptor)
    except OSError:
        # A pipe or a folder, or a network file system without locks.
        return {}
    else:
        return {}
    finally:
        os.close(descriptor)


def _write_holder(descriptor: int, url: str) -> None:
    """Writes the description of this server. url: its address; empty while it starts."""
    holder = {"machine": _machine(), "host": socket.gethostname(), "pid": os.getpid(), "url": url}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(holder).encode(), 0)


def _open_lock_file(lock_file: Path) -> int:
    try:
        # Not through a symbolic link: its target would be truncated.
        descriptor = os.open(lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    except OSError as cause:
        raise ConfigError(reason=f"{lock_file} cannot be read ({cause.strerror})") from cause
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ConfigError(reason=f"{lock_file} cannot be read ({_NO_FILE})")
    return descriptor


def _acquire(descriptor: int) -> bool:
    for delay in (_CHECK_S, 0.0):
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            time.sleep(delay)
            continue
        except OSError as cause:
            # A network file system may not support locks; then the home is served without one.
            log.warning("the home cannot be locked: %s", cause.strerror, extra={"action": "home_not_locked"})
        return True
    return False


def _read_holder(descriptor: int) -> dict[str, Any]:
    try:
        holder = json.loads(os.pread(descriptor, _MAX_HOLDER_BYTES, 0))
    except ValueError:
        # The other server has not written it yet.
        return {}
    return holder if isinstance(holder, dict) else {}


def _reject_or_warn(home: Path, other: dict[str, Any]) -> None:
    if other.get("machine", _machine()) == _machine():
        raise ConfigError(
            reason=f"another server (process {other.get('pid', '?')}) already serves the home {home}; end it first, "
            "or give this one a home of its own with --home"
        )
    fields = {"action": "home_shared", "machine": str(other.get("host"))}
    log.warning("a server on the machine %s serves this home, too", other.get("host"), extra=fields)


def _machine() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return socket.gethostname()
