"""The server as a whole: one listening socket, a supervisor, its workers and the loop.

    serve ─► listen ─► supervisor ─┬► python -m relevo.compose.worker × n     one byte on the ready pipe each ─► ready(url)
                                   └► python -m relevo.compose.loop
    start_server ─► python -m relevo.compose ─► one line of JSON with the URL ─► RunningServer

Settings travel as one line on a child's standard input, which then stays open: its end tells the child that it is alone.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from relevo.compose.stores import make_home, open_store
from relevo.config import Settings
from relevo.errors import ConfigRefused, NotReady, StoreUnavailable
from relevo.supervisor import Command, Supervisor, read_greeting
from relevo.telemetry import configure_logging, fold

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

_GRACE_BEYOND_DRAIN_S = 3.0
#: The loop gives way to the workers: a request never waits for shipping.
_LOOP_NICENESS = 5


def serve(settings: Settings, *, ready: Callable[[str], None] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C. ready: told the URL once every worker answers. Returns the exit code."""
    make_home(settings)
    settings.telemetry_folder.mkdir(exist_ok=True)
    fold(settings.telemetry_folder)
    _migrate_if_reachable(settings)
    listener = _listen(settings)
    address = f"http://{_shown_host(settings.host)}:{listener.getsockname()[1]}"
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with contextlib.closing(listener):
        _supervise(settings, listener, stop, lambda: ready(address) if ready else None)
    return 0


def _supervise(settings: Settings, listener: socket.socket, stop: threading.Event, ready: Callable[[], None]) -> None:
    read_end, write_end = os.pipe()
    greeting = settings_line(settings)
    count = settings.worker_count
    descriptors = json.dumps({"listener": listener.fileno(), "ready": write_end}).encode() + b"\n"
    worker = Command(
        name="worker",
        module="relevo.compose.worker",
        greeting=greeting + descriptors,
        pass_fds=(listener.fileno(), write_end),
    )
    loop = Command(name="loop", module="relevo.compose.loop", greeting=greeting, nice=_LOOP_NICENESS)
    folder = settings.telemetry_folder
    supervisor = Supervisor(
        [*[worker] * count, loop],
        grace_s=settings.drain_seconds + _GRACE_BEYOND_DRAIN_S,
        died=lambda pid: fold(folder, [path.stem for path in folder.glob(f"{pid}-*.json")]),
    )
    announcer = threading.Thread(target=_announce, args=(read_end, count, ready), daemon=True)
    announcer.start()
    try:
        supervisor.run(stop)
    finally:
        os.close(write_end)
        announcer.join(1.0)
        os.close(read_end)


def _announce(read_end: int, count: int, ready: Callable[[], None]) -> None:
    """Wait for one byte from each worker, then say so."""
    for _ in range(count):
        if not os.read(read_end, 1):
            return
    ready()


def _migrate_if_reachable(settings: Settings) -> None:
    try:
        open_store(settings).engine.dispose()
    except StoreUnavailable:
        # What was registered before is served from the routes each worker remembers; journals wait.
        log.warning("the database does not answer; serving what is known", extra={"action": "store_away"})


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as cause:
        listener.close()
        raise ConfigRefused(
            reason=f"port {settings.port} of {settings.host} cannot be used ({cause.strerror}); choose another with --port"
        ) from cause
    listener.listen(1024)
    listener.set_inheritable(True)
    return listener


def _shown_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host


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
        self.url = ""
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def pid(self) -> int:
        """Pid of the supervisor."""
        return self._process.pid

    def wait_ready(self, timeout: float) -> None:
        """Wait until every worker answers; timeout in seconds. Raises NotReady."""
        if not self._told.wait(timeout) or not self.url:
            raise NotReady(reason=f"the server did not start within {timeout:g} s")

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
        if line:
            self.url = json.loads(line)["url"]
        self._told.set()


def start_server(settings: Settings) -> RunningServer:
    """Start `serve` as a child; call wait_ready next."""
    process = subprocess.Popen(
        [sys.executable, "-m", "relevo.compose"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdin is not None  # noqa: S101 - narrows: it was asked for
    process.stdin.write(settings_line(settings))
    process.stdin.flush()
    return RunningServer(process)


def main() -> int:
    """Entry of a whole server as a child."""
    settings = settings_from_line(read_greeting())
    configure_logging(settings.log_level, settings.log_format)

    def tell(url: str) -> None:
        sys.stdout.write(json.dumps({"url": url}) + "\n")
        sys.stdout.flush()

    return serve(settings, ready=tell)
