"""seccomp: a filter in the kernel that answers EPERM to every system call a converter never needs.

    system call ─► machine and number ─┬─ on the list ───────────────► EPERM
                                       ├─ newer than this list ──────► EPERM, unless known to be harmless
                                       ├─ of another machine's table ► killed
                                       └─ of two faces ─ arguments ──► threads if asked for, processes no; itself yes, others no

Shut: sockets, new processes and programs, tracing, signals to others, io_uring (which could open sockets past this filter),
mounts and namespaces, keys, shared memory by name, and what Landlock leaves open on files: modes, owners, times.
"""

from __future__ import annotations

import ctypes
import errno
import os
from typing import TYPE_CHECKING

from relevo.importing.sandbox.linux.syscall import MACHINE, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, prctl
from relevo.importing.sandbox.linux.syscall_numbers import ALLOWED_NEW, DENIED, FIRST_NEW, LAST_OLD, NUMBERS

if TYPE_CHECKING:
    from collections.abc import Iterable

    # Only for the type checker: these walls stand in old Pythons too, which cannot write it so.
    Line = tuple[int, int, int, int]  # code, jump if true, jump if false, constant

_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_BIT = 0x40000000  # a second table of system calls on x86_64
_MODE_FILTER = 2

_LOAD, _EQUAL, _AT_LEAST, _BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER_AT, _MACHINE_AT, _ARGUMENT_AT = 0, 4, 16  # struct seccomp_data
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_EPERM, _ENOSYS = 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS

_CLONE_THREAD = 0x00010000
_CLONE3 = 435
_F_SETOWN, _F_SETSIG, _F_SETOWN_EX = 8, 10, 15  # have the kernel send signals to others
_TIOCSTI, _TIOCLINUX, _FIOSETOWN, _SIOCSPGRP = 0x5412, 0x541C, 0x8901, 0x8902


class _Filter(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("jt", ctypes.c_uint8), ("jf", ctypes.c_uint8), ("k", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("lines", ctypes.POINTER(_Filter)))


def program(machine: str, pid: int, *, threads: bool = False) -> list[Line]:
    """The filter for a machine and the one process it will stand around. threads: whether that may start any."""
    number = {name: pair[0] if machine == "x86_64" else pair[1] for name, pair in NUMBERS.items()}
    lines: list[Line] = [
        (_LOAD, 0, 0, _MACHINE_AT),
        (_EQUAL, 1, 0, _ARCHITECTURE[machine]),
        _give(_KILL),
        (_LOAD, 0, 0, _NUMBER_AT),
    ]
    if machine == "x86_64":
        lines += [(_AT_LEAST, 0, 1, _X32_BIT), _give(_KILL)]
    for denied in (number[name] for name in DENIED):
        if denied is not None:
            lines += [(_EQUAL, 0, 1, denied), _give(_EPERM)]
    # clone3 hides its flags behind a pointer; told that it does not exist, the C library falls back on clone.
    lines += [(_EQUAL, 0, 1, _CLONE3), _give(_ENOSYS)]
    for new in sorted(ALLOWED_NEW):
        lines += [(_EQUAL, 0, 1, new), _give(_ALLOW)]
    lines += [(_AT_LEAST, 0, 1, FIRST_NEW), _give(_EPERM)]
    lines += _old_gap(machine)
    lines += _when(number["clone"], 0, [*([(_BITS, 1, 0, _CLONE_THREAD)] if threads else []), _give(_EPERM)])
    for name in ("kill", "tgkill"):
        lines += _when(number[name], 0, [(_EQUAL, 1, 0, pid), _give(_EPERM)])
    for name in ("prlimit64", "sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr"):
        lines += _when(number[name], 0, [(_EQUAL, 2, 0, 0), (_EQUAL, 1, 0, pid), _give(_EPERM)])
    lines += _when(number["fcntl"], 1, _none_of((_F_SETOWN, _F_SETSIG, _F_SETOWN_EX)))
    lines += _when(number["ioctl"], 1, _none_of((_TIOCSTI, _TIOCLINUX, _FIOSETOWN, _SIOCSPGRP)))
    return [*lines, _give(_ALLOW)]


def _old_gap(machine: str) -> list[Line]:
    """Numbers between the machine's old table and the common new one are assigned to nothing."""
    return [(_AT_LEAST, 0, 1, LAST_OLD[machine] + 1), _give(_EPERM)]


def _give(verdict: int) -> Line:
    return (_RETURN, 0, 0, verdict)


def _none_of(values: Iterable[int]) -> list[Line]:
    return [line for value in values for line in ((_EQUAL, 0, 1, value), _give(_EPERM))]


def _when(number: int | None, argument: int, judge: list[Line]) -> list[Line]:
    """Judge one argument (its low 32 bits) of one system call; whoever passes is allowed."""
    if number is None:
        return []
    body = [(_LOAD, 0, 0, _ARGUMENT_AT + 8 * argument), *judge, _give(_ALLOW)]
    return [(_EQUAL, 0, len(body), number), *body]


def install(*, threads: bool = False) -> bool:
    """Put the filter around this process and the threads it starts later. Returns False where there is none for this machine.

    threads: whether it may start any. Root's are not counted, so the limit on them alone would hold for some users only.
    Raises OSError when the kernel refuses.
    """
    if not MACHINE:
        return False
    lines = program(MACHINE, os.getpid(), threads=threads)
    table = (_Filter * len(lines))(*(_Filter(*line) for line in lines))
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    prctl(PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(_Program(length=len(lines), lines=table)))
    return True
