"""Runs the `relevo` program in a child process."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="session")
def relevo_run() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `relevo` with these arguments, working directory and environment variables."""
    return _run


def _run(*arguments: str, cwd: Path | None = None, **environ: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RELEVO_")}
    return subprocess.run(
        [sys.executable, "-c", "from relevo.cli import main; main()", *arguments],
        cwd=cwd,
        env=inherited | environ,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=120,
    )
