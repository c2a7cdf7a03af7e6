"""`relevo demo --headless`: the whole story, from real digits to a checked history."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

pytest.importorskip("skl2onnx")


def test_the_demo_checks_out(relevo_run: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    """Trained, packed, registered, served and asked over HTTP: at least 97 % right, and every answer in the history."""
    done = relevo_run("demo", "--headless", "--json", "--home", "demo", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["problems"] == []
    assert told["accuracy"] >= 0.97
    assert told["recorded"] == told["asked"] > 400
    assert 0 < told["p50_ms"] <= told["p99_ms"]
    assert (tmp_path / "demo" / "packages").is_dir()
