"""The README runs: every example of it, in order, in a fresh folder, against a real server."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import relevo

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent.parent
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#]+)[^)]*\)")


def blocks(name: str) -> list[tuple[str, str]]:
    return [(kind, text) for kind, text in BLOCK.findall((ROOT / name).read_text(encoding="utf-8"))]


class Tour:
    """One walk through the README; lives as long as the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RELEVO_")}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environ = inherited | {"PATH": path, "PYTHONWARNINGS": "ignore", "RELEVO_PORT": str(self.port), "RELEVO_WORKERS": "1"}
        self.server: subprocess.Popen[bytes] | None = None

    def here(self, text: str) -> str:
        """The text with the server's real port."""
        return text.replace("127.0.0.1:8000", f"127.0.0.1:{self.port}")

    def shell(self, line: str) -> None:
        """One line as a person would type it."""
        if line.startswith("cd "):
            self.folder /= line.removeprefix("cd ")
        elif line == "relevo serve":
            self.serve()
        elif not line.startswith("curl ") or shutil.which("curl"):
            self.run(["bash", "-c", self.here(line)])

    def run(self, command: list[str]) -> None:
        """A command that must end well."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=180,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        assert done.returncode == 0, f"{command[-1]}\n{done.stdout}\n{done.stderr}"

    def serve(self) -> None:
        """Start the server and wait until it answers."""
        self.server = subprocess.Popen(["relevo", "serve"], cwd=self.folder, env=self.environ)
        with relevo.Client(f"http://127.0.0.1:{self.port}") as client:
            deadline = time.monotonic() + 60
            while not client.ready():
                assert self.server.poll() is None, "the server ended by itself"
                assert time.monotonic() < deadline, "the server did not become ready"
                time.sleep(0.1)

    def stop(self) -> None:
        """End the server as Ctrl-C would."""
        if self.server is not None:
            self.server.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.server.wait(30)
            self.server.kill()


@pytest.fixture
def tour(tmp_path: Path) -> Iterator[Tour]:
    one = Tour(tmp_path)
    yield one
    one.stop()


def test_the_readme_runs(tour: Tour) -> None:
    """Every shell and Python example of the README does what it says, one after the other."""
    pytest.importorskip("skl2onnx")
    for kind, text in blocks("README.md"):
        if kind == "python":
            tour.run([sys.executable, "-c", tour.here(text)])
            continue
        for line in text.splitlines():
            # `make` verbs start from a bare machine; running the tests from the tests would not end.
            if not line.startswith("make "):
                tour.shell(line)


def test_both_readmes_show_the_same() -> None:
    """The Spanish README has the English one's examples, to the letter."""
    assert blocks("README.es.md") == blocks("README.md")


@pytest.mark.parametrize(
    "page", sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]), ids=lambda page: str(page.relative_to(ROOT))
)
def test_links_lead_somewhere(page: Path) -> None:
    """Every link of a page to another file of the project finds it."""
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
