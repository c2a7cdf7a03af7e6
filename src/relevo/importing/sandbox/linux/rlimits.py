"""Resource limits and privilege dropping of the sandboxed process.

Memory is limited by address space, since the data limit does not count mappings. No file may grow (`file_bytes` is 0 unless
requested), so the disk cannot be filled. No process may be started: converters run on one thread, or on a few.
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
_MAX_OPEN_FILES = 128
_CAPABILITY_VERSION = 0x20080522
_CLONE_NEWNET, _CLONE_NEWIPC = 0x40000000, 0x08000000
_OTHERS_SEARCH, _OTHERS_READ = 0o001, 0o004  # permission bits of others on a folder


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


def set_limits(*, memory_bytes: int, data_bytes: int, cpu_seconds: int, loading_seconds: int, file_bytes: int) -> None:
    """Set hard limits on the resources of this process; they cannot be raised again.

    data_bytes: limit of writable memory, for libraries that reserve far more address space than they use.
    loading_seconds: processor time that `give_back` may add.
    """
    for resource_id, limit in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_DATA, min(data_bytes, memory_bytes)),
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_NOFILE, _MAX_OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
    ):
        with suppress(ValueError, OSError):  # an existing lower limit stays
            _, current_hard = resource.getrlimit(resource_id)
            soft_limit = limit if current_hard == resource.RLIM_INFINITY else min(limit, current_hard)
            # The soft limit of processor time sends SIGXCPU, which identifies the reason; the hard limit kills.
            hard_limit = (
                soft_limit + loading_seconds + 2
                if resource_id == resource.RLIMIT_CPU and current_hard == resource.RLIM_INFINITY
                else soft_limit
            )
            resource.setrlimit(resource_id, (soft_limit, hard_limit))


def limit_processes(*, threads: int = 0) -> None:
    """Limit the user's processes and threads to the existing ones, or to `threads`. Call after the user ID is final.

    The kernel counts all processes and threads of the user alike; seccomp denies new processes.
    """
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NPROC, (threads, threads))


def drop_privileges(machine: str, folder: str, libraries: Iterable[str]) -> None:
    """Drop root privileges; an ordinary user has none to drop.

    Where others can read the libraries, the process becomes `nobody`, which then owns `folder`; else it stays root without capabilities.
    """
    if os.geteuid() == 0:
        # An empty network namespace. Not available everywhere, and not needed where seccomp is installed.
        with suppress(OSError):
            call(NUMBERS["unshare"][0 if machine == "x86_64" else 1] or 0, _CLONE_NEWNET | _CLONE_NEWIPC)
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
    """Whether a user without special rights can read this file or folder; a missing path counts as readable."""
    try:
        return bool(os.stat(path).st_mode & _OTHERS_READ) and _reachable_by_others(path)  # noqa: PTH116 - no pathlib in the worker
    except OSError:
        return True


def _reachable_by_others(path: str) -> bool:
    while path != "/":
        path = os.path.dirname(path)  # noqa: PTH120 - no pathlib in the worker
        if not os.stat(path).st_mode & _OTHERS_SEARCH:  # noqa: PTH116 - no pathlib in the worker
            return False
    return True
