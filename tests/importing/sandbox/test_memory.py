"""The sandbox gets a share of the available memory, and an error names the limit when it was low."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from relevo.converters.base import ConversionRequest
from relevo.errors import SandboxError
from relevo.importing.sandbox import client
from relevo.importing.sandbox.memory import available_memory_mib

if TYPE_CHECKING:
    from pathlib import Path

GIB = 2**30


def fake_root(root: Path, group: str, **files: int | str) -> Path:
    """A fake /proc and /sys with 10 GiB available, in this cgroup."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/meminfo").write_text(f"MemTotal: 99999999 kB\nMemAvailable:   {10 * GIB // 1024} kB\n", encoding="ascii")
    (root / "proc/self/cgroup").write_text(group, encoding="ascii")
    for path, content in files.items():
        file = root / "sys/fs/cgroup" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(str(content), encoding="ascii")
    return root


def test_share_of_available_memory(tmp_path: Path) -> None:
    """Without a cgroup limit, four fifths of the available memory; without /proc, None."""
    assert available_memory_mib(fake_root(tmp_path / "a", "0::/\n")) == 8192
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
def test_smallest_cgroup_counts(group: str, files: dict[str, int | str], tmp_path: Path) -> None:
    """The cgroup with the least free memory decides, of either version; a container's root cgroup is found too."""
    assert available_memory_mib(fake_root(tmp_path, group, **files)) == 819


@pytest.mark.skipif(sys.platform != "linux", reason="the sandbox needs Linux")
def test_worker_gets_available_memory_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """With 40 MiB available the worker does not get 6 GiB, and the error names both numbers."""
    monkeypatch.setattr(client, "available_memory_mib", lambda: 40)
    with pytest.raises(SandboxError, match=r"had 40 MiB of memory.*of the 6144 MiB"):
        client.convert_in_sandbox(ConversionRequest(format="pickle"), [b"\x80\x04N.", b"", b""], need_strong=False)
