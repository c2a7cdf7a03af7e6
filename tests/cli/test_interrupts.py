"""Ctrl-C and SIGTERM during long work, ports in use, servers whose parent is gone."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from relevo.project.scaffold import start_project

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_ENTRY = "from relevo.cli import main; main()"
#: Fits for ever and takes an interrupt for "stop here", as scikit-learn's networks do.
_STUBBORN = """
import time
import warnings
from pathlib import Path
from sklearn.linear_model import LogisticRegression

def train(run):
    model = LogisticRegression(max_iter=500).fit(run.train.x[:200], run.train.y[:200])
    Path("fitting").touch()
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        warnings.warn("Training interrupted by user.")
    return model
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_training_leaves_nothing(tmp_path: Path, number: signal.Signals, code: int) -> None:
    """No traceback, version, package or temporary folder is left; the exit code names the signal."""
    pytest.importorskip("skl2onnx")
    start_project(tmp_path / "digits")
    (tmp_path / "digits" / "train.py").write_text(_STUBBORN, encoding="utf-8")
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    training = _started("train", cwd=tmp_path / "digits", TMPDIR=str(temporary))
    _until((tmp_path / "digits" / "fitting").exists)
    training.send_signal(number)
    _, output = training.communicate(timeout=30)
    assert training.returncode == code
    assert "Traceback" not in output
    assert "interrupted by user" not in output
    assert not (tmp_path / "digits" / ".relevo").exists()
    assert not [path for path in temporary.iterdir() if path.name.startswith("relevo")]


def test_a_taken_port_is_told_before_the_work(tmp_path: Path) -> None:
    """`serve` and `demo` report a port in use in one sentence; the demo does so before training."""
    pytest.importorskip("skl2onnx")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for command in ("serve", "demo"):
            done = _started(command, "--port", port, "--home", "home", cwd=tmp_path)
            printed, output = done.communicate(timeout=60)
            assert done.returncode == 1
            assert output.startswith("error: ")
            assert f"port {port}" in output
            assert "\n" not in output.strip()
            assert "trained" not in printed


def test_serving_ends_in_order(tmp_path: Path) -> None:
    """`serve` prints its URL and what is missing, without warnings; Ctrl-C gives exit code 0."""
    server = _started("serve", "--port", "0", "--workers", "1", cwd=tmp_path, PYTHONWARNINGS="error")
    assert server.stdout is not None
    assert server.stdout.readline().startswith("Relevo answers at http://127.0.0.1:")
    assert "`relevo train` or `relevo import`" in server.stdout.readline()
    server.send_signal(signal.SIGINT)
    _, output = server.communicate(timeout=30)
    assert server.returncode == 0
    assert output == ""


def _started(*arguments: str, cwd: Path, **environ: str) -> subprocess.Popen[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RELEVO_")}
    return subprocess.Popen(
        [sys.executable, "-c", _ENTRY, *arguments],
        cwd=cwd,
        env=inherited | environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_an_interrupt_while_the_program_loads_shows_no_trace(tmp_path: Path) -> None:
    """Ctrl-C during the imports ends the process without output."""
    program = (
        "import builtins, os, signal\n"
        "real = builtins.__import__\n"
        "def interrupted(name, *rest, **named):\n"
        "    if name == 'relevo.cli.app':\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "    return real(name, *rest, **named)\n"
        "builtins.__import__ = interrupted\n"
        "from relevo.cli import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")
