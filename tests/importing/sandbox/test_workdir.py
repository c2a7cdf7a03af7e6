"""Folders of killed imports are removed, folders in use are not."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from relevo.importing.sandbox.workdir import PREFIX, sandbox_workdir, sweep

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_only_abandoned_folders_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder whose lock is free is removed with its files; one that is locked, new or not a sandbox's stays."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left, fresh, old = (tmp_path / f"{PREFIX}{name}" for name in ("left", "fresh", "old"))
    for folder in (left, fresh, old):
        (folder / "work").mkdir(parents=True)
        (folder / "work" / "model").write_bytes(b"x")
    (left / "held").touch()
    os.utime(old, (1, 1))
    (tmp_path / "other").mkdir()
    with sandbox_workdir() as in_use:
        assert not left.exists()
        assert not old.exists()
        sweep(tmp_path)
        assert in_use.is_dir()
    assert {path.name for path in tmp_path.iterdir()} == {fresh.name, "other"}
