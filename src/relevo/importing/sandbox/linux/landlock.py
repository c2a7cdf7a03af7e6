"""Landlock: restricts this process to a list of paths.

    readable: libraries ──┐
    writable: one folder ─┴─► ruleset ─► restrict_self        all other paths: EACCES, permanently, also for later threads

Needs Linux 5.13. Newer kernels also block TCP (6.7), and signals and abstract sockets to other processes (6.12).
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from relevo.importing.sandbox.linux.syscall import MACHINE, PR_SET_NO_NEW_PRIVS, call, prctl

if TYPE_CHECKING:
    from collections.abc import Iterable

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_GET_VERSION = 1
_PATH_BENEATH = 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_RIGHTS_ABI_1 = (1 << 13) - 1
_REMOVE = (1 << 4) | (1 << 5)
_MAKE_DIR, _MAKE_FILE = 1 << 7, 1 << 8
_TRUNCATE = 1 << 14
_RIGHTS_BY_ABI = {2: 1 << 13, 3: _TRUNCATE, 5: 1 << 15}
_FILE_RIGHTS = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE
_TCP, _TCP_ABI = 0b11, 4
_SCOPES, _SCOPES_ABI = 0b11, 6


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def version() -> int:
    """Return the kernel's Landlock ABI version; 0 without Landlock."""
    if not MACHINE:
        return 0
    try:
        return call(_CREATE_RULESET, None, 0, _GET_VERSION)
    except OSError:
        return 0


def restrict(*, readable: Iterable[str], writable: Iterable[str], devices: Iterable[str]) -> bool:
    """Deny every path except these; paths that do not exist are skipped. Returns False where the kernel has no Landlock.

    readable: folders and files to read and map. writable: folders to read, write and create plain files in.
    devices: to read and write.
    Raises OSError when the kernel has Landlock and rejects the ruleset.
    """
    abi = version()
    if abi < 1:
        return False
    handled = _RIGHTS_ABI_1
    for first_abi, right in _RIGHTS_BY_ABI.items():
        handled |= right if abi >= first_abi else 0
    attributes = _Ruleset(files=handled, network=_TCP if abi >= _TCP_ABI else 0, scopes=_SCOPES if abi >= _SCOPES_ABI else 0)
    size = 8 if abi < _TCP_ABI else 16 if abi < _SCOPES_ABI else 24
    ruleset = call(_CREATE_RULESET, ctypes.byref(attributes), size, 0)
    try:
        read = _EXECUTE | _READ_FILE | _READ_DIR
        write = _WRITE_FILE | _READ_FILE | _READ_DIR | _REMOVE | _MAKE_DIR | _MAKE_FILE | _TRUNCATE
        for paths, rights in ((readable, read), (writable, write), (devices, _READ_FILE | _WRITE_FILE)):
            for path in paths:
                _add_rule(ruleset, path, rights & handled)
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return True


def _add_rule(ruleset: int, path: str, rights: int) -> None:
    with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            rule = _PathBeneath(allowed=rights if os.path.isdir(path) else rights & _FILE_RIGHTS, parent=parent)  # noqa: PTH112 - no pathlib in the worker
            call(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0)
        finally:
            os.close(parent)
