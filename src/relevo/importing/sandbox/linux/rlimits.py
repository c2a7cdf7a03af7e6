"""What the process may use up, and who it is: rlimits first, then every privilege given away.

Memory is bounded by address space, since data alone leaves mappings out. No file may grow (`file_bytes` is 0 unless asked
for), so the disk cannot be filled. Processes are bounded to none: converters run on one thread, or on a few.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

from relevo.importing.sandbox.linux.syscall import PR_SET_DUMPABLE, PR_SET_PDEATHSIG, call, libc, prctl
from relevo.importing.sandbox.linux.syscall_numbers import NUMBERS

if TYPE_CHECKING:
    from collections.abc import Iterable

_NOBODY = 65534
_OPEN_FILES = 128
_CAPABILITY_VERSION = 0x20080522
_NEW_NETWORK, _NEW_IPC = 0x40000000, 0x08000000
_SEARCH, _READ = 0o001, 0o004  # what others may do with a folder


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


def set_limits(*, memory_bytes: int, data_bytes: int, cpu_seconds: int, loading_seconds: int, file_bytes: int) -> None:
    """Bound what this process may use, for good: hard limits with no way up.

    data_bytes: what may be written to, where libraries reserve far more. loading_seconds: processor time that `give_back` may add.
    """
    for kind, bound in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_DATA, min(data_bytes, memory_bytes)),
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
    ):
        with suppress(ValueError, OSError):  # a limit that is lower already stays
            _, hard = resource.getrlimit(kind)
            value = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
            # The first limit of processor time sends a signal that tells the reason, the second one kills.
            top = value + loading_seconds + 2 if kind == resource.RLIMIT_CPU and hard == resource.RLIM_INFINITY else value
            resource.setrlimit(kind, (value, top))


def allow_no_processes(*, threads: int = 0) -> None:
    """Bound the user's processes and threads to those there are, or to so many threads. Only after the user is final.

    The system counts all that the user has, processes and threads alike; that no thread is a process is up to seccomp.
    """
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NPROC, (threads, threads))


def drop_privileges(machine: str, folder: str, libraries: Iterable[str]) -> None:
    """Leave root's powers behind; as an ordinary user there are none to leave.

    Where others can read the libraries, the process becomes `nobody` and `folder` its own; else it stays root without capabilities.
    """
    if os.geteuid() == 0:
        # The network of this process is an empty one. Not possible everywhere, and not needed where seccomp stands.
        with suppress(OSError):
            call(NUMBERS["unshare"][0 if machine == "x86_64" else 1] or 0, _NEW_NETWORK | _NEW_IPC)
        if all(_readable_by_others(path) for path in libraries) and _reachable_by_others(folder):
            os.chown(folder, _NOBODY, _NOBODY)
            os.setgroups([])
            os.setresgid(_NOBODY, _NOBODY, _NOBODY)
            os.setresuid(_NOBODY, _NOBODY, _NOBODY)
        else:
            _drop_capabilities()
    with suppress(OSError):
        prctl(PR_SET_DUMPABLE, 0)
    with suppress(OSError):
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _drop_capabilities() -> None:
    empty = (ctypes.c_uint32 * 6)()
    libc().capset(ctypes.byref(_Header(version=_CAPABILITY_VERSION, pid=0)), empty)


def _readable_by_others(path: str) -> bool:
    """Whether a user without rights of his own can read this file or folder; what is not there need not be read."""
    try:
        return bool(os.stat(path).st_mode & _READ) and _reachable_by_others(path)  # noqa: PTH116 - no pathlib in the child
    except OSError:
        return True


def _reachable_by_others(path: str) -> bool:
    while path != "/":
        path = os.path.dirname(path)  # noqa: PTH120 - no pathlib in the child
        if not os.stat(path).st_mode & _SEARCH:  # noqa: PTH116 - no pathlib in the child
            return False
    return True
