"""System calls by number, for those that the standard library does not wrap."""

from __future__ import annotations

import ctypes
import os
import platform
from typing import Any

_MACHINES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
#: x86_64, aarch64, or empty on an architecture whose system call numbers are unknown: no Landlock and no seccomp there.
MACHINE = _MACHINES.get(platform.machine().lower(), "") if os.name == "posix" and os.uname().sysname == "Linux" else ""

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_SET_NO_NEW_PRIVS = 38


def libc() -> Any:
    """Return the C library of this process, with errno support."""
    return ctypes.CDLL(None, use_errno=True)


def call(number: int, *arguments: Any) -> int:
    """Make one system call. Raises OSError with the kernel's errno."""
    c_arguments = [ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments]
    function = libc().syscall
    function.restype = ctypes.c_long
    result = int(function(ctypes.c_long(number), *c_arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def prctl(option: int, first: int = 0, second: Any = 0) -> None:
    """Set a property of this process. Raises OSError."""
    pointer = second if not isinstance(second, int) else ctypes.c_ulong(second)
    if libc().prctl(ctypes.c_int(option), ctypes.c_ulong(first), pointer, ctypes.c_ulong(0), ctypes.c_ulong(0)) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
