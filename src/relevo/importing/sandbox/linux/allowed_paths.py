"""Paths that the sandboxed process may read: the libraries of Python and of the system, and no user data."""

from __future__ import annotations

import os
import sys
import sysconfig

#: The dynamic loader's libraries, and the files that numeric libraries read about the processor.
SYSTEM = (
    *("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache"),
    *("/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system/cpu", "/usr/share/zoneinfo"),
)
DEVICES = ("/dev/null", "/dev/urandom", "/dev/random", "/dev/zero")


def proc_cmdline_path() -> str:
    """Return the file with this process's command line. It stays open, so that the kernel keeps the inode that Landlock allows."""
    path = f"/proc/{os.getpid()}/cmdline"
    try:
        os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return path
    return path


def libraries(source: str) -> list[str]:
    """Return the folders with Python code and its shared libraries. source: the folder that contains this package."""
    paths = sysconfig.get_paths()
    folders = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    folders |= {entry for entry in sys.path if os.path.isdir(entry)}  # noqa: PTH112 - no pathlib in the worker
    folders.add(str(sysconfig.get_config_var("LIBDIR") or paths["stdlib"]))
    folders.add(source)
    resolved = {os.path.realpath(path) for path in folders}
    return sorted(path for path in resolved if path != "/")
