"""Runs the examples of a documentation page, in order, in an empty folder, against a real server.

page ─ blocks ─► sh: one command per line      python: a program
                 cd · relevo serve … (runs until the next one or "# Ctrl-C …") · QUERY_ID: the newest prediction
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import relevo

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.forked_docs import Forking

ROOT = Path(__file__).parents[2]
#: Placeholder on a page for the id of a key created there.
_KEY = "rlv_12345678"
_SHIPPED_S = 20.0
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(name: str, *kinds: str) -> list[tuple[str, str]]:
    """The examples of a page as (kind, text); by default of the kinds `sh` and `python`."""
    found = _BLOCK.findall((ROOT / name).read_text(encoding="utf-8"))
    return [(kind, text) for kind, text in found if kind in (kinds or ("sh", "python"))]


def _newest(client: relevo.Client) -> str:
    """The newest prediction, after its journal was shipped."""
    deadline = time.monotonic() + _SHIPPED_S
    while not (items := client.history(limit=1).items):
        assert time.monotonic() < deadline, "no prediction reached the history"
        time.sleep(0.1)
    return str(items[0]["query_id"])


class Tour:
    """One tour. Lifetime: the test."""

    def __init__(self, folder: Path, program: Forking | None = None) -> None:
        """program: runs `relevo` commands without starting an interpreter for each."""
        self.folder = folder
        self.program = program
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RELEVO_")}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environ = inherited | {"PATH": path, "PYTHONWARNINGS": "ignore", "RELEVO_PORT": str(self.port), "RELEVO_WORKERS": "1"}
        self.server: subprocess.Popen[bytes] | None = None
        self.certificate: Path | None = None

    @property
    def url(self) -> str:
        """The address of the server."""
        return f"{'https' if self.certificate else 'http'}://127.0.0.1:{self.port}"

    def client(self) -> relevo.Client:
        """A client of the server."""
        return relevo.Client(self.url, verify=self.certificate)

    def walk(self, name: str) -> None:
        """Run every example of a page."""
        for kind, text in blocks(name):
            if kind == "python":
                self.run([sys.executable, "-c", self.here(text)])
                continue
            for line in text.splitlines():
                # `make` targets install everything, and `make test` would run this test again.
                if not line.startswith("make "):
                    self.shell(line)

    def here(self, text: str) -> str:
        """The text with the server's real port."""
        return text.replace("127.0.0.1:8000", f"127.0.0.1:{self.port}")

    def shell(self, line: str) -> None:
        """Run one command."""
        if line.startswith("cd "):
            self.folder /= line.removeprefix("cd ")
        elif line.startswith("# Ctrl-C"):
            self.stop()
        elif line == "relevo serve" or line.startswith("relevo serve "):
            self.stop()
            self.serve(*line.split()[2:])
        elif self.program is not None and line.startswith("relevo ") and "|" not in line:
            self.call(self.program, shlex.split(self.here(self.named(line))))
        elif not line.startswith("curl ") or shutil.which("curl"):
            self.run(["bash", "-c", self.here(self.named(line))])

    def named(self, line: str) -> str:
        """The line with the id of the newest prediction and of the key in key.json inserted."""
        if _KEY in line:
            line = line.replace(_KEY, json.loads((self.folder / "key.json").read_text(encoding="utf-8"))["id"])
        if "QUERY_ID" not in line:
            return line
        with self.client() as client:
            return line.replace("QUERY_ID", _newest(client))

    def call(self, program: Forking, words: list[str]) -> None:
        """Run a `relevo` command with its redirections."""
        given: dict[str, Path | None] = {"<": None, ">": None}
        while len(words) > 2 and words[-2] in given:
            given[words[-2]] = self.folder / words[-1]
            words = words[:-2]
        code, said = program.run(words[1:], cwd=self.folder, environ=self.environ, stdin=given["<"], stdout=given[">"])
        assert code == 0, f"{words}\n{said}"

    def run(self, command: list[str]) -> None:
        """Run a command that must succeed."""
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

    def serve(self, *flags: str) -> None:
        """Start the server and wait until it is ready."""
        self.server = subprocess.Popen(["relevo", "serve", *flags], cwd=self.folder, env=self.environ)
        deadline = time.monotonic() + 60
        if "--tls" in flags:
            self.certificate = self.folder / ".relevo" / "tls" / "cert.pem"
            self._until(self.certificate.is_file, deadline)
        with self.client() as client:
            self._until(client.ready, deadline)

    def _until(self, holds: Callable[[], bool], deadline: float) -> None:
        while not holds():
            assert self.server is not None
            assert self.server.poll() is None, "the server ended by itself"
            assert time.monotonic() < deadline, "the server did not become ready"
            time.sleep(0.1)

    def stop(self) -> None:
        """Stop the server by SIGTERM."""
        if self.server is not None:
            self.server.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.server.wait(30)
            self.server.kill()
            self.server.wait()
            self.server = None
