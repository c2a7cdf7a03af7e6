"""Runs a server as a child process, for the demo and for tests.

    start_server ─► python -m relevo.server ─► one line of JSON: the URL, or an error ─► RunningServer

The settings are one line on the child's standard input, which then stays open: end of file means that the parent is gone.
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
    """Serializes the settings to one line for a child."""
    return json.dumps(asdict(settings), default=str).encode() + b"\n"


def settings_from_line(line: bytes) -> Settings:
    """Parses the output of `settings_line`."""
    values = json.loads(line)
    return Settings(**{**values, "home": Path(values["home"])})


class RunningServer:
    """A server in a child process. Lifetime: from start_server to stop."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._started = threading.Event()
        self._error: RelevoError | None = None
        self.url = ""
        threading.Thread(target=self._read_message, daemon=True).start()

    @property
    def pid(self) -> int:
        """Pid of the supervisor."""
        return self._process.pid

    def wait_ready(self, timeout: float) -> None:
        """Waits until every worker is ready; timeout in seconds. Raises the error of the start, or UnavailableError."""
        in_time = self._started.wait(timeout)
        if self._error is not None:
            raise self._error
        if not in_time:
            raise UnavailableError.with_message(f"The server did not start within {timeout:g} s; its log says why.")
        if not self.url:
            raise UnavailableError.with_message("The server ended while it was starting; its log says why.")

    def stop(self) -> int:
        """Stops it in order and returns its exit code."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        code = self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        return code

    def _read_message(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - narrows: it was asked for
        line = self._process.stdout.readline()
        message = json.loads(line) if line else {}
        self.url = message.get("url", "")
        if "code" in message:
            self._error = by_code(message["code"]).with_message(message["error"])
        self._started.set()


def start_server(settings: Settings) -> RunningServer:
    """Starts `serve` as a child process; call wait_ready next."""
    process = subprocess.Popen(
        [sys.executable, "-m", "relevo.server"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdin is not None  # noqa: S101 - narrows: it was asked for
    process.stdin.write(settings_line(settings))
    process.stdin.flush()
    return RunningServer(process)


def main() -> int:
    """Entry point of a server as a child process."""
    settings = settings_from_line(sys.stdin.buffer.readline())
    configure_logging(settings.log_level, settings.log_format)
    try:
        return serve(settings, ready=lambda url: _write_message({"url": url}), should_stop=_is_parent_gone)
    except RelevoError as error:
        return _report_error(error)
    except OSError as cause:
        if cause.errno not in NO_ROOM:
            raise
        return _report_error(DatabaseFullError())


def _report_error(error: RelevoError) -> int:
    _write_message({"error": str(error), "code": error.code})
    return 1


def _is_parent_gone() -> bool:
    """Whether the parent is gone: then standard input, on which nothing follows the settings, is at end of file."""
    return bool(select.select([0], [], [], 0)[0]) and not os.read(0, 1)


def _write_message(message: dict[str, str]) -> None:
    """Writes one line to the parent."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()
