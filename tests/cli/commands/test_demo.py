"""`relevo demo`: from real digits to a checked history."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import httpx
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytest.importorskip("skl2onnx")


def test_the_demo_checks_out(relevo_run: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    """Trains, packages, registers, serves and predicts: accuracy of at least 97 %, every prediction in the history."""
    done = relevo_run("demo", "--headless", "--json", "--home", "demo", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    output = json.loads(done.stdout)
    assert output["problems"] == []
    assert output["accuracy"] >= 0.97
    assert output["recorded"] == output["asked"] > 400
    assert 0 < output["p50_ms"] <= output["p99_ms"]
    assert (tmp_path / "demo" / "packages").is_dir()


def test_the_demo_stays_up_until_it_is_told(tmp_path: Path) -> None:
    """It prints its URLs, serves the page, shows no progress bar below, and Ctrl-C stops it and its server."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("RELEVO_")} | {"TERM": "xterm"}
    screen = _Screen()
    demo = subprocess.Popen(
        [sys.executable, "-c", "from relevo.cli import main; main()", "demo", "--port", "0"],
        cwd=tmp_path,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=screen.theirs,
        text=True,
    )
    os.close(screen.theirs)
    assert demo.stdout is not None
    printed = ""
    while "Ctrl-C" not in printed:
        line = demo.stdout.readline()
        assert line, "the demo ended by itself"
        printed += line
    result = re.search(r"^page +(http://\S+)$", printed, re.MULTILINE)
    assert result is not None
    assert 'id="pad"' in httpx.get(result[1], headers={"Accept": "text/html"}).text
    assert screen.drawn
    time.sleep(0.3)
    before = screen.drawn
    # A bar is drawn ten times a second for as long as it is there.
    time.sleep(0.7)
    assert screen.drawn == before
    demo.send_signal(signal.SIGINT)
    demo.communicate(timeout=30)
    assert demo.returncode == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(result[1])


class _Screen:
    """Reads the output of a pseudo-terminal continuously, so that the writer never blocks. Lifetime: one test."""

    def __init__(self) -> None:
        self._ours, self.theirs = pty.openpty()
        self.drawn = b""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        # The other side is gone: Linux says so by an error.
        with contextlib.suppress(OSError):
            while more := os.read(self._ours, 65_536):
                self.drawn += more
