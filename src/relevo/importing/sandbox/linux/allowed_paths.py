"""What a converter must read to run: Python's own libraries and the system's, and nothing of anybody's data."""

from __future__ import annotations

import os
import sys
import sysconfig

#: The loader's libraries and what numeric libraries ask about the processor.
SYSTEM = (
    *("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache"),
    *("/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system/cpu", "/usr/share/zoneinfo"),
)
DEVICES = ("/dev/null", "/dev/urandom", "/dev/random", "/dev/zero")


def proc_cmdline_path() -> str:
    """The file that tells how this process was called; kept open, so that the kernel does not forget which file was allowed."""
    path = f"/proc/{os.getpid()}/cmdline"
    try:
        os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return path
    return path


def libraries(source: str) -> list[str]:
    """Folders with Python code and its shared libraries; source: the one that holds this package."""
    paths = sysconfig.get_paths()
    found = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    found |= {entry for entry in sys.path if os.path.isdir(entry)}  # noqa: PTH112 - no pathlib in the child
    found.add(str(sysconfig.get_config_var("LIBDIR") or paths["stdlib"]))
    found.add(source)
    real = {os.path.realpath(path) for path in found}
    return sorted(path for path in real if path != "/")
