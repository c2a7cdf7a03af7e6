"""How much memory the quarantine may be given here, so that a greedy file ends itself and not the machine.

    /proc/meminfo: MemAvailable ─┐
    cgroup v1, v2: limit − used ─┴─ the least ─ a share of it ─► MiB

Every group above the process's own may be the one that is full. Of a group's use, files that are only kept because there was room
count as free. Nothing is known on another system than Linux.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Of what is free now; the rest is for everybody else.
_SHARE = 0.8
_MIB = 2**20
_CACHED = re.compile(r"^(?:total_)?inactive_file (\d+)$", re.MULTILINE)
_FILES = {"": ("memory.max", "memory.current"), "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes")}


def available_memory_mib(root: Path = Path("/")) -> int | None:
    """MiB that can be given away now; None where nobody tells. root: where /proc and /sys are."""
    free = [*_free_of_machine(root), *_free_of_groups(root)]
    return max(1, int(min(free) * _SHARE) // _MIB) if free else None


def _free_of_machine(root: Path) -> Iterator[int]:
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", _text(root / "proc/meminfo"), re.MULTILINE)
    if found is not None:
        yield int(found[1]) * 1024


def _free_of_groups(root: Path) -> Iterator[int]:
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, kinds, path = line.split(":", 2)
        kind = next((one for one in kinds.split(",") if one in _FILES), None)
        if kind is None:
            continue
        top = root / "sys/fs/cgroup" / kind
        # A container may see its own group as the top one, under the path of the world outside.
        place = top / path.strip("/")
        for folder in (place, *place.parents):
            if folder.is_relative_to(top):
                yield from _free_of_group(folder, *_FILES[kind])


def _free_of_group(folder: Path, limit: str, used: str) -> Iterator[int]:
    with suppress(ValueError):  # "max", or no such group
        most, now = int(_text(folder / limit)), int(_text(folder / used))
        cached = _CACHED.search(_text(folder / "memory.stat"))
        yield max(0, most - now + (int(cached[1]) if cached else 0))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
