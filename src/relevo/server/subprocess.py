"""A server as a child process: for the demo and for tests.

    start_server ─► python -m relevo.server ─► one line of JSON: the URL, or what was refused ─► RunningServer

Settings travel as one line on the child's standard input, which then stays open: its end tells the child that it is alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path

from relevo.config import Settings
from relevo.errors import DatabaseFullError, RelevoError, UnavailableError, by_code
from relevo.server.main import serve
from relevo.telemetry import configure_logging
from relevo.util.files import NO_ROOM


def settings_line(settings: Settings) -> bytes:
    """Settings as one line for a child."""
    return json.dumps(asdict(settings), default=str).encode() + b"\n"


def settings_from_line(line: bytes) -> Settings:
    """What `settings_line` wrote."""
    plain = json.loads(line)
    return Settings(**{**plain, "home": Path(plain["home"])})


class RunningServer:
    """A server in a process of its own; lives from start_server to stop."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._told = threading.Event()
        self._refusal: RelevoError | None = None
        self.url = ""
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def pid(self) -> int:
        """Pid of the supervisor."""
        return self._process.pid

    def wait_ready(self, timeout: float) -> None:
        """Wait until every worker answers; timeout in seconds. Raises what kept it from starting, or UnavailableError."""
        in_time = self._told.wait(timeout)
        if self._refusal is not None:
            raise self._refusal
        if not in_time:
            raise UnavailableError.told(f"The server did not start within {timeout:g} s; its log says why.")
        if not self.url:
            raise UnavailableError.told("The server ended while it was starting; its log says why.")

    def stop(self) -> int:
        """End it in order and give its exit code."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        code = self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        return code

    def _listen(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - narrows: it was asked for
        line = self._process.stdout.readline()
        told = json.loads(line) if line else {}
        self.url = told.get("url", "")
        if "code" in told:
            self._refusal = by_code(told["code"]).told(told["error"])
        self._told.set()


def start_server(settings: Settings) -> RunningServer:
    """Start `serve` as a child; call wait_ready next."""
    process = subprocess.Popen(
        [sys.executable, "-m", "relevo.server"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdin is not None  # noqa: S101 - narrows: it was asked for
    process.stdin.write(settings_line(settings))
    process.stdin.flush()
    return RunningServer(process)


def main() -> int:
    """Entry of a whole server as a child."""
    settings = settings_from_line(sys.stdin.buffer.readline())
    configure_logging(settings.log_level, settings.log_format)
    try:
        return serve(settings, ready=lambda url: _tell({"url": url}), alone=_is_alone)
    except RelevoError as error:
        return _refused(error)
    except OSError as cause:
        if cause.errno not in NO_ROOM:
            raise
        return _refused(DatabaseFullError())


def _refused(error: RelevoError) -> int:
    _tell({"error": str(error), "code": error.code})
    return 1


def _is_alone() -> bool:
    """Whether the parent is gone: then standard input, on which nothing follows the settings, is at its end."""
    return bool(select.select([0], [], [], 0)[0]) and not os.read(0, 1)


def _tell(what: dict[str, str]) -> None:
    """One line to the parent."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()
