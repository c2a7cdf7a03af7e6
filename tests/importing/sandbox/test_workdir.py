"""What killed imports leave is swept, and nothing that somebody works in."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from relevo.importing.sandbox.workdir import PREFIX, sandbox_workdir, sweep

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_only_what_nobody_holds_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder whose lock is free goes, also with files in it; one that is held, is being made or is not ours stays."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left, fresh, old = (tmp_path / f"{PREFIX}{name}" for name in ("left", "fresh", "old"))
    for folder in (left, fresh, old):
        (folder / "work").mkdir(parents=True)
        (folder / "work" / "model").write_bytes(b"x")
    (left / "held").touch()
    os.utime(old, (1, 1))
    (tmp_path / "other").mkdir()
    with sandbox_workdir() as held:
        assert not left.exists()
        assert not old.exists()
        sweep(tmp_path)
        assert held.is_dir()
    assert {path.name for path in tmp_path.iterdir()} == {fresh.name, "other"}
