"""seccomp: a kernel filter that answers EPERM to every system call that a converter never needs.

    system call ─► architecture, number ─┬─ denied list ────────────────► EPERM
                                         ├─ newer than the list ────────► EPERM, unless reviewed and allowed
                                         ├─ other architecture's table ─► process killed
                                         └─ filtered by argument ───────► threads if requested, never processes; itself, not others

Denied: sockets, new processes and programs, tracing, signals to others, io_uring (which could open sockets past this filter),
mounts and namespaces, keys, shared memory by name, and file operations that Landlock does not restrict: modes, owners, times.
"""

from __future__ import annotations

import ctypes
import errno
import os
from typing import TYPE_CHECKING

from relevo.importing.sandbox.linux.syscall import MACHINE, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, prctl
from relevo.importing.sandbox.linux.syscall_numbers import ALLOWED_SHARED, DENIED, FIRST_SHARED, LAST_OWN, NUMBERS

if TYPE_CHECKING:
    from collections.abc import Iterable

    # Only for the type checker: this module also runs under old Pythons without this syntax.
    Line = tuple[int, int, int, int]  # code, jump if true, jump if false, constant

_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_BIT = 0x40000000  # a second table of system calls on x86_64
_MODE_FILTER = 2

_LOAD, _EQUAL, _AT_LEAST, _BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER_OFFSET, _MACHINE_OFFSET, _ARGUMENT_OFFSET = 0, 4, 16  # struct seccomp_data
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_EPERM, _ENOSYS = 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS

_CLONE_THREAD = 0x00010000
_CLONE3 = 435
_F_SETOWN, _F_SETSIG, _F_SETOWN_EX = 8, 10, 15  # make the kernel signal other processes
_TIOCSTI, _TIOCLINUX, _FIOSETOWN, _SIOCSPGRP = 0x5412, 0x541C, 0x8901, 0x8902


class _Filter(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("jt", ctypes.c_uint8), ("jf", ctypes.c_uint8), ("k", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("lines", ctypes.POINTER(_Filter)))


def program(machine: str, pid: int, *, threads: bool = False) -> list[Line]:
    """Build the filter for an architecture and the one process it applies to. threads: whether that process may start threads."""
    number = {name: pair[0] if machine == "x86_64" else pair[1] for name, pair in NUMBERS.items()}
    lines: list[Line] = [
        (_LOAD, 0, 0, _MACHINE_OFFSET),
        (_EQUAL, 1, 0, _ARCHITECTURE[machine]),
        _return(_KILL),
        (_LOAD, 0, 0, _NUMBER_OFFSET),
    ]
    if machine == "x86_64":
        lines += [(_AT_LEAST, 0, 1, _X32_BIT), _return(_KILL)]
    for denied in (number[name] for name in DENIED):
        if denied is not None:
            lines += [(_EQUAL, 0, 1, denied), _return(_EPERM)]
    # clone3 passes its flags behind a pointer; on ENOSYS the C library falls back to clone.
    lines += [(_EQUAL, 0, 1, _CLONE3), _return(_ENOSYS)]
    for shared in sorted(ALLOWED_SHARED):
        lines += [(_EQUAL, 0, 1, shared), _return(_ALLOW)]
    lines += [(_AT_LEAST, 0, 1, FIRST_SHARED), _return(_EPERM)]
    lines += _unassigned_gap(machine)
    lines += _check_argument(number["clone"], 0, [*([(_BITS, 1, 0, _CLONE_THREAD)] if threads else []), _return(_EPERM)])
    for name in ("kill", "tgkill"):
        lines += _check_argument(number[name], 0, [(_EQUAL, 1, 0, pid), _return(_EPERM)])
    for name in ("prlimit64", "sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr"):
        lines += _check_argument(number[name], 0, [(_EQUAL, 2, 0, 0), (_EQUAL, 1, 0, pid), _return(_EPERM)])
    lines += _check_argument(number["fcntl"], 1, _deny_values((_F_SETOWN, _F_SETSIG, _F_SETOWN_EX)))
    lines += _check_argument(number["ioctl"], 1, _deny_values((_TIOCSTI, _TIOCLINUX, _FIOSETOWN, _SIOCSPGRP)))
    return [*lines, _return(_ALLOW)]


def _unassigned_gap(machine: str) -> list[Line]:
    """Deny the unassigned numbers between the architecture's own table and the shared one."""
    return [(_AT_LEAST, 0, 1, LAST_OWN[machine] + 1), _return(_EPERM)]


def _return(action: int) -> Line:
    return (_RETURN, 0, 0, action)


def _deny_values(values: Iterable[int]) -> list[Line]:
    return [line for value in values for line in ((_EQUAL, 0, 1, value), _return(_EPERM))]


def _check_argument(number: int | None, argument: int, rules: list[Line]) -> list[Line]:
    """Check one argument (its low 32 bits) of one system call; what passes the rules is allowed."""
    if number is None:
        return []
    body = [(_LOAD, 0, 0, _ARGUMENT_OFFSET + 8 * argument), *rules, _return(_ALLOW)]
    return [(_EQUAL, 0, len(body), number), *body]


def install(*, threads: bool = False) -> bool:
    """Install the filter for this process and the threads it starts later. Returns False where no filter exists for this architecture.

    threads: whether it may start threads. Root's threads are not counted, so RLIMIT_NPROC alone would not hold for every user.
    Raises OSError when the kernel rejects the filter.
    """
    if not MACHINE:
        return False
    lines = program(MACHINE, os.getpid(), threads=threads)
    table = (_Filter * len(lines))(*(_Filter(*line) for line in lines))
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    prctl(PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(_Program(length=len(lines), lines=table)))
    return True
