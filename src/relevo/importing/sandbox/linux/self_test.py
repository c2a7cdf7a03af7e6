"""Self-test: attempts each forbidden operation inside the sandbox before the file is opened.

    operation ─► denied (EPERM, EACCES) ─► layer works          any other outcome ─► failed check

Each operation does no harm where it succeeds: an empty program name, signal 0, a trace of the process itself.
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

    # Only for the type checker: this module also runs under old Pythons, whose typing has no Literal.
    IsolationLevel = Literal["strong", "partial", "none"]

_IO_URING_SETUP = 425
_PIDFD_OPEN = 434
_PTRACE_PEEKDATA = 2
_KEYCTL_GET_KEYRING_ID = 0
_DENIED_ERRNOS = frozenset({errno.EPERM, errno.EACCES})


def run_self_test(folder: str) -> tuple[str, ...]:
    """Return the names of the operations that were not denied; empty when every layer works. folder: the writable one."""
    return tuple(name for name, operation in _operations(folder).items() if not _attempt_denied(operation))


def isolation_level(failed_checks: tuple[str, ...]) -> IsolationLevel:
    """Rate the isolation: strong when every check passed, partial when files or network are isolated, else none."""
    if not failed_checks:
        return "strong"
    files = not any(name.startswith("file:") for name in failed_checks)
    network = not any(name.startswith("network:") for name in failed_checks)
    return "partial" if files or network else "none"


def _operations(folder: str) -> dict[str, Callable[[], object]]:
    outside = os.path.join(os.path.dirname(folder), f"relevo-probe-{os.getpid()}")  # noqa: PTH118, PTH120 - no pathlib in the worker
    parent = os.getppid()
    return {
        "file: read outside": lambda: _close(os.open("/etc/passwd", os.O_RDONLY)),
        "file: list outside": lambda: os.listdir("/"),  # noqa: PTH208 - no pathlib in the worker
        "file: read the parent's environment": lambda: _close(os.open(f"/proc/{parent}/environ", os.O_RDONLY)),
        "file: write outside": lambda: _attempt_write(outside),
        "rights: change a mode": lambda: os.chmod(folder, 0o700),  # noqa: PTH101 - no pathlib in the worker
        "network: internet socket": lambda: socket.socket(socket.AF_INET).close(),
        "network: local socket": lambda: socket.socket(socket.AF_UNIX).close(),
        "network: io_uring": lambda: call(_IO_URING_SETUP, 1, None),
        "process: trace": lambda: _call("ptrace", _PTRACE_PEEKDATA, os.getpid(), 0, 0),
        "process: read memory": lambda: _call("process_vm_readv", os.getpid(), None, 0, None, 0, 0),
        "process: signal the parent": lambda: os.kill(parent, 0),
        "process: handle on the parent": lambda: call(_PIDFD_OPEN, parent, 0),
        "process: start another": _attempt_fork,
        "process: become a program": lambda: os.execv("", ["relevo"]),  # noqa: S606, S607 - it must be denied
        "kernel: keys": lambda: _call("keyctl", _KEYCTL_GET_KEYRING_ID, -3, 0, 0, 0),
        "kernel: bpf": lambda: _call("bpf", -1, None, 0),
        "kernel: page faults": lambda: _call("userfaultfd", -1),
        "kernel: namespaces": lambda: _call("unshare", 0),
        "kernel: mounts": lambda: _call("umount2", None, 0),
    }


def _attempt_denied(operation: Callable[[], object]) -> bool:
    try:
        operation()
    except OSError as error:
        return error.errno in _DENIED_ERRNOS
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


def _attempt_write(path: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.close(descriptor)
    with suppress(OSError):
        os.unlink(path)  # noqa: PTH108 - no pathlib in the worker


def _attempt_fork() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
