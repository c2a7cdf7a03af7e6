"""Available memory, as the limit of the sandbox: an untrusted file that needs too much fails alone, without starving the machine.

    /proc/meminfo: MemAvailable ─┐
    cgroup v1, v2: limit − used ─┴─ minimum ─ a share of it ─► MiB

Every parent cgroup of the process may be the one that is full. Inactive file cache of a cgroup counts as free. Linux only.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Share of the free memory; the rest stays for other processes.
_SHARE = 0.8
_MIB = 2**20
_INACTIVE_FILE = re.compile(r"^(?:total_)?inactive_file (\d+)$", re.MULTILINE)
_LIMIT_AND_USAGE_FILES = {"": ("memory.max", "memory.current"), "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes")}


def available_memory_mib(root: Path = Path("/")) -> int | None:
    """Return the MiB that the sandbox may use; None where the system does not report memory. root: where /proc and /sys are."""
    free = [*_system_free_bytes(root), *_cgroup_free_bytes(root)]
    return max(1, int(min(free) * _SHARE) // _MIB) if free else None


def _system_free_bytes(root: Path) -> Iterator[int]:
    match = re.search(r"^MemAvailable:\s+(\d+) kB$", _read_text(root / "proc/meminfo"), re.MULTILINE)
    if match is not None:
        yield int(match[1]) * 1024


def _cgroup_free_bytes(root: Path) -> Iterator[int]:
    for line in _read_text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        controller = next((name for name in controllers.split(",") if name in _LIMIT_AND_USAGE_FILES), None)
        if controller is None:
            continue
        root_group = root / "sys/fs/cgroup" / controller
        # A container may see its own cgroup as the root, while /proc names the host's path.
        group = root_group / path.strip("/")
        for folder in (group, *group.parents):
            if folder.is_relative_to(root_group):
                yield from _group_free_bytes(folder, *_LIMIT_AND_USAGE_FILES[controller])


def _group_free_bytes(folder: Path, limit: str, usage: str) -> Iterator[int]:
    with suppress(ValueError):  # "max", or no such cgroup
        limit_bytes, used_bytes = int(_read_text(folder / limit)), int(_read_text(folder / usage))
        cached = _INACTIVE_FILE.search(_read_text(folder / "memory.stat"))
        yield max(0, limit_bytes - used_bytes + (int(cached[1]) if cached else 0))


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
