"""A quarantine is given what its machine can spare, and the person is told when that was little."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from relevo.converters.options import ConversionOptions
from relevo.errors import SandboxError
from relevo.importing.sandbox import client as quarantine
from relevo.importing.sandbox.memory import available_memory_mib

if TYPE_CHECKING:
    from pathlib import Path

GIB = 2**30


def machine(root: Path, group: str, **files: int | str) -> Path:
    """A /proc and /sys with 10 GiB available, in this group."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/meminfo").write_text(f"MemTotal: 99999999 kB\nMemAvailable:   {10 * GIB // 1024} kB\n", encoding="ascii")
    (root / "proc/self/cgroup").write_text(group, encoding="ascii")
    for path, content in files.items():
        place = root / "sys/fs/cgroup" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(str(content), encoding="ascii")
    return root


def test_a_share_of_what_is_free(tmp_path: Path) -> None:
    """Without a group, four fifths of what the machine has free; without a /proc, nobody knows."""
    assert available_memory_mib(machine(tmp_path / "a", "0::/\n")) == 8192
    assert available_memory_mib(tmp_path / "nothing") is None


@pytest.mark.parametrize(
    ("group", "files"),
    [
        ("0::/a/b\n", {"a/memory.max": 2 * GIB, "a/memory.current": GIB, "a/b/memory.max": "max", "a/b/memory.current": 1}),
        ("0::/\n", {"memory.max": 2 * GIB, "memory.current": 2 * GIB, "memory.stat": f"anon 1\ninactive_file {GIB}\n"}),
        ("4:memory:/gone\n", {"memory/memory.limit_in_bytes": 2 * GIB, "memory/memory.usage_in_bytes": GIB}),
        (
            "9:cpu,memory:/x\n0::/\n",
            {"memory/x/memory.limit_in_bytes": 2 * GIB, "memory/x/memory.usage_in_bytes": GIB, "memory/x/memory.stat": ""},
        ),
    ],
    ids=["a group above", "files kept for want of a use", "a container's own top", "several kinds"],
)
def test_the_narrowest_group_counts(group: str, files: dict[str, int | str], tmp_path: Path) -> None:
    """Of the groups of either kind, the one with the least room; what a container calls its top is found too."""
    assert available_memory_mib(machine(tmp_path, group, **files)) == 819


@pytest.mark.skipif(sys.platform != "linux", reason="the quarantine's walls are Linux's")
def test_the_child_gets_no_more_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine that can spare 40 MiB the file is not opened with 6 GiB, and the error tells both figures."""
    monkeypatch.setattr(quarantine, "available_memory_mib", lambda: 40)
    with pytest.raises(SandboxError, match=r"had 40 MiB of memory.*of the 6144 MiB"):
        quarantine.visit(ConversionOptions(format="pickle"), [b"\x80\x04N.", b"", b""], need_strong=False)
