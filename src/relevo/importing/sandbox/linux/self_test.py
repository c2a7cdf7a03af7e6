"""Try every forbidden act from the inside, harmlessly, before the file is opened: a wall that was not tried does not exist.

    act ─► refused (errno of the wall) ─► held          anything else ─► open

Each act is chosen so that it does no harm where it succeeds: an empty program name, a signal of number 0, a trace of oneself.
"""

from __future__ import annotations

import errno
import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from relevo.importing.sandbox.linux.syscall import MACHINE, call
from relevo.importing.sandbox.linux.syscall_numbers import NUMBERS

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal

    # Only for the type checker: these walls stand in old Pythons too, whose typing has no Literal.
    Level = Literal["strong", "partial", "none"]

_IO_URING_SETUP = 425
_PIDFD_OPEN = 434
_PTRACE_PEEKDATA = 2
_KEYCTL_GET_KEYRING_ID = 0
_REFUSED = frozenset({errno.EPERM, errno.EACCES})


def probe(folder: str) -> tuple[str, ...]:
    """Names of the acts that were not refused; empty when every wall holds. folder: the one this process may write in."""
    return tuple(name for name, act in _acts(folder).items() if not _refused(act))


def level(unheld: tuple[str, ...]) -> Level:
    """How strong the whole is: everything held, at least files or network, or less."""
    if not unheld:
        return "strong"
    files = not any(name.startswith("file:") for name in unheld)
    network = not any(name.startswith("network:") for name in unheld)
    return "partial" if files or network else "none"


def _acts(folder: str) -> dict[str, Callable[[], object]]:
    outside = os.path.join(os.path.dirname(folder), f"relevo-probe-{os.getpid()}")  # noqa: PTH118, PTH120 - no pathlib in the child
    parent = os.getppid()
    return {
        "file: read outside": lambda: _close(os.open("/etc/passwd", os.O_RDONLY)),
        "file: list outside": lambda: os.listdir("/"),  # noqa: PTH208 - no pathlib in the child
        "file: read the parent's environment": lambda: _close(os.open(f"/proc/{parent}/environ", os.O_RDONLY)),
        "file: write outside": lambda: _write(outside),
        "rights: change a mode": lambda: os.chmod(folder, 0o700),  # noqa: PTH101 - no pathlib in the child
        "network: internet socket": lambda: socket.socket(socket.AF_INET).close(),
        "network: local socket": lambda: socket.socket(socket.AF_UNIX).close(),
        "network: io_uring": lambda: call(_IO_URING_SETUP, 1, None),
        "process: trace": lambda: _call("ptrace", _PTRACE_PEEKDATA, os.getpid(), 0, 0),
        "process: read memory": lambda: _call("process_vm_readv", os.getpid(), None, 0, None, 0, 0),
        "process: signal the parent": lambda: os.kill(parent, 0),
        "process: handle on the parent": lambda: call(_PIDFD_OPEN, parent, 0),
        "process: start another": _fork,
        "process: become a program": lambda: os.execv("", ["relevo"]),  # noqa: S606, S607 - it must be refused
        "kernel: keys": lambda: _call("keyctl", _KEYCTL_GET_KEYRING_ID, -3, 0, 0, 0),
        "kernel: bpf": lambda: _call("bpf", -1, None, 0),
        "kernel: page faults": lambda: _call("userfaultfd", -1),
        "kernel: namespaces": lambda: _call("unshare", 0),
        "kernel: mounts": lambda: _call("umount2", None, 0),
    }


def _refused(act: Callable[[], object]) -> bool:
    try:
        act()
    except OSError as refusal:
        return refusal.errno in _REFUSED
    except ValueError:
        return False
    return False


def _call(name: str, *arguments: object) -> int:
    number = NUMBERS[name][0 if MACHINE == "x86_64" else 1]
    if not MACHINE or number is None:
        raise OSError(errno.ENOSYS, "unknown")
    return call(number, *arguments)


def _close(descriptor: int) -> None:
    os.close(descriptor)


def _write(path: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.close(descriptor)
    with suppress(OSError):
        os.unlink(path)  # noqa: PTH108 - no pathlib in the child


def _fork() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
