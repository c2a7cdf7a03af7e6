"""`relevo demo`: the whole story, from real digits to a checked history."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytest.importorskip("skl2onnx")


def test_the_demo_checks_out(relevo_run: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    """Trained, packed, registered, served and asked over HTTP: at least 97 % right, and every answer in the history."""
    done = relevo_run("demo", "--headless", "--json", "--home", "demo", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    told = json.loads(done.stdout)
    assert told["problems"] == []
    assert told["accuracy"] >= 0.97
    assert told["recorded"] == told["asked"] > 400
    assert 0 < told["p50_ms"] <= told["p99_ms"]
    assert (tmp_path / "demo" / "packages").is_dir()


def test_the_demo_stays_up_until_it_is_told(tmp_path: Path) -> None:
    """It says where to look, the page is there, Ctrl-C ends it in order, and nobody listens any more."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("RELEVO_")}
    demo = subprocess.Popen(
        [sys.executable, "-c", "from relevo.cli import main; main()", "demo", "--port", "0"],
        cwd=tmp_path,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert demo.stdout is not None
    said = ""
    while "Ctrl-C" not in said:
        line = demo.stdout.readline()
        assert line, "the demo ended by itself"
        said += line
    found = re.search(r"^page +(http://\S+)$", said, re.MULTILINE)
    assert found is not None
    assert 'id="pad"' in httpx.get(found[1], headers={"Accept": "text/html"}).text
    demo.send_signal(signal.SIGINT)
    _, complaints = demo.communicate(timeout=30)
    assert demo.returncode == 0
    # Where each step began, and nothing else.
    assert [line for line in complaints.splitlines() if not line.endswith("…")] == []
    with pytest.raises(httpx.ConnectError):
        httpx.get(found[1])
