"""Drafts of ended processes are removed; those of running processes and all other files stay."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from relevo.store.files.drafts import draft_prefix, sweep_drafts

if TYPE_CHECKING:
    from pathlib import Path


def test_only_abandoned_drafts_are_removed(tmp_path: Path) -> None:
    """Files and folders of an ended process are removed; drafts of a running one and similar names stay."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for name in (f".new-{dead.pid}-x", ".new-abcd", f"people.{dead.pid}"):
        (tmp_path / name).write_text("secret")
    (tmp_path / f".new-{dead.pid}-folder").mkdir()
    (tmp_path / f".new-{dead.pid}-folder" / "model.onnx").write_text("half")
    kept = {f".new-{os.getppid()}-x", "notes.2024", "audit.key", "people.json"}
    for name in kept:
        (tmp_path / name).write_text("kept")
    assert draft_prefix() == f".new-{os.getpid()}-"
    sweep_drafts([tmp_path, tmp_path / "not there"])
    assert {path.name for path in tmp_path.iterdir()} == kept
