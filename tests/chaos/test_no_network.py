"""Nothing leaves the machine, and nothing of an input leaves the history: watched by the system's own trace of every call.

strace ─► server, workers, loop, demo ─► connect, sendto, … ─► only loopback, only local sockets
                                      └► open for writing   ─► only home, temporary files, devices
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.chaos import ROUNDS, say, scaled, talking, until
from tests.support.server import put, settings_of, started

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relevo.package.package import Package

pytestmark = pytest.mark.chaos

_WATCHED_S = scaled(10.0, 180.0)
_CALLS = "connect,sendto,sendmsg,sendmmsg,bind,open,openat,openat2,creat,mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat"
#: Not on loopback: an address of the internet's two families that is neither 127.x nor ::1.
_OUTSIDE = re.compile(
    r'sa_family=AF_INET, sin_port=htons\(\d+\), sin_addr=inet_addr\("(?!127\.)'
    r'|sa_family=AF_INET6, .*?inet_pton\(AF_INET6, "(?!::1"|::ffff:127\.)'
    r"|sin6_addr=(?!.*::1)|sin_port=htons\(53\)|sin6_port=htons\(53\)"
)
_WRITING = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|^\d+ +(creat|mkdir|mkdirat|rename|renameat|renameat2|unlink|unlinkat)\(")
_PATH = re.compile(r'"((?:[^"\\]|\\.)*)"')
_HARMLESS = ("/dev/", "/proc/self/")
_CANARIES = ("Kanarienvogel-9c1d", "4711.0815", "31337")


@pytest.fixture
def strace() -> str:
    """The tracing program."""
    found = shutil.which("strace")
    if found is None:
        pytest.skip("strace is not installed: what leaves the machine cannot be watched")
    return found


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """An environment as of a new user: an empty home, no `CI`, nothing that switches reports off."""
    home = tmp_path / "empty-home"
    temporary = tmp_path / "temporary"
    home.mkdir()
    temporary.mkdir()
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG") if name in os.environ}
    # Python's bytecode cache is next to the sources.
    return {**kept, "HOME": str(home), "TMPDIR": str(temporary), "PYTHONDONTWRITEBYTECODE": "1"}


def test_the_watch_sees_who_speaks_and_who_writes(strace: str, bare: dict[str, str], tmp_path: Path) -> None:
    """A program that looks up a name, connects outside and leaves a file in the user's home is caught at each."""
    script = """
import contextlib, pathlib, socket
for family, address in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"), (socket.AF_INET, "127.0.0.1")):
    for kind, port in ((socket.SOCK_DGRAM, 53), (socket.SOCK_DGRAM, 443)):
        with contextlib.suppress(OSError), socket.socket(family, kind) as one:
            one.connect((address, port))
(pathlib.Path.home() / "device-id").write_text("x")
"""
    with _traced(strace, [sys.executable, "-c", script], bare, tmp_path) as (process, trace, _output):
        assert process.wait(30) == 0
    _lines, outside, written = _findings(trace, bare, [tmp_path / "nowhere"])
    assert len(outside) == 5, "two outside by each family, and a name server on loopback"
    assert len(written) == 1


def test_the_server_speaks_to_nobody_and_writes_only_at_home(
    strace: str,
    bare: dict[str, str],
    tmp_path: Path,
    digits_package: Package,
    churn_package: Package,
    digit_pngs: list[bytes],
    churn_records: list[dict[str, Any]],
) -> None:
    """Supervisor, workers and loop under load: no connection off loopback, no name looked up, no file but in home and temporary."""
    settings = settings_of(tmp_path, workers=2, spool_rotate_s=2)
    put(settings, digits_package)
    put(settings, churn_package)
    command = [sys.executable, "-m", "relevo", "serve", "--home", str(settings.home), "--port", "0", "--workers", "2"]
    with _traced(strace, command, bare, tmp_path) as (process, trace, output):
        url = _address(output)
        answered = _use(url, digit_pngs, churn_records)
        # The tracer ignores signals; the traced process gets them.
        os.kill(int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0]), signal.SIGINT)
        process.wait(60)
    _check(trace, bare, allowed=[settings.home], what=f"relevo serve, {answered} requests in {_WATCHED_S:.0f} s")


def test_the_demo_speaks_to_nobody_and_writes_only_at_home(strace: str, bare: dict[str, str], tmp_path: Path) -> None:
    """Training, packing, serving and asking: the whole demo under the same watch."""
    if not ROUNDS:
        pytest.skip("the demo under trace takes half a minute: it is part of the long run (RELEVO_CHAOS_ROUNDS)")
    pytest.importorskip("sklearn", reason="the demo trains with scikit-learn")
    home = tmp_path / "demo"
    command = [sys.executable, "-m", "relevo", "demo", "--headless", "--home", str(home), "--port", "0"]
    with _traced(strace, command, bare, tmp_path) as (process, trace, output):
        code = process.wait(120)
    assert code == 0, output.read_text()[-2000:]
    _check(trace, bare, allowed=[home], what="relevo demo")


@contextlib.contextmanager
def _traced(
    strace: str, command: list[str], environ: dict[str, str], place: Path
) -> Iterator[tuple[subprocess.Popen[bytes], Path, Path]]:
    trace, output = place / "trace", place / "output"
    with output.open("wb") as out:
        process = subprocess.Popen(
            [
                strace,
                "-f",
                "--seccomp-bpf",
                "-qq",
                "-s",
                "300",
                "-e",
                f"trace={_CALLS}",
                "-e",
                "signal=none",
                "-o",
                str(trace),
                *command,
            ],
            env=environ,
            cwd=environ["TMPDIR"],
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield process, trace, output
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)


def _address(output: Path) -> str:
    found: list[str] = []

    def told() -> bool:
        found[:] = re.findall(r"http://127\.0\.0\.1:\d+", output.read_text())
        return bool(found)

    assert until(told, within_s=60), output.read_text()
    return found[0]


def _use(url: str, pictures: list[bytes], records: list[dict[str, Any]]) -> int:
    """Everything a caller may ask, for as long as it is watched."""
    requests = 0
    end = time.monotonic() + _WATCHED_S
    with talking(url) as client:
        while time.monotonic() < end:
            answer = client.post("/models/digits/predict", content=pictures[requests % 100], headers={"Content-Type": "image/png"})
            query_id = answer.json()["query_id"]
            client.post("/models/churn/predict", json=records[:10])
            client.post("/predict", content=b"\xff\xd8\xff nothing", headers={"Content-Type": "image/jpeg"})
            client.put(f"/predictions/{query_id}/label", json={"value": "3"})
            for path in (
                "/",
                "/docs",
                "/openapi.json",
                "/models",
                "/predictions",
                "/metrics",
                "/health/ready",
                f"/predictions/{query_id}",
            ):
                client.get(path)
                requests += 1
            requests += 4
    return requests


def _findings(trace: Path, environ: dict[str, str], allowed: list[Path]) -> tuple[list[str], list[str], list[str]]:
    """All traced calls, the network calls, and the writes outside the home."""
    lines = trace.read_text(errors="replace").splitlines()
    outside = [line for line in lines if _OUTSIDE.search(line) and "bind(" not in line]
    places = [str(place) for place in (*allowed, environ["TMPDIR"])]
    written = [line for line in lines if _WRITING.search(line) and " = -1 " not in line and not _is_allowed(line, places)]
    return lines, outside, written


def _check(trace: Path, environ: dict[str, str], *, allowed: list[Path], what: str) -> None:
    lines, outside, written = _findings(trace, environ, allowed)
    calls = sum(any(f" {name}(" in line for name in ("connect", "sendto", "sendmsg")) for line in lines)
    say(
        f"{what}: {len(lines)} calls traced, {calls} of them sends or connects; "
        f"outside loopback {len(outside)}, written elsewhere {len(written)}"
    )
    assert len(lines) > 100, "nothing was traced"
    assert outside == []
    assert written == []
    assert list(Path(environ["HOME"]).rglob("*")) == [], "something was left in the user's home"


def _is_allowed(line: str, places: list[str]) -> bool:
    """Whether every path the call names is in a place where we may write. Relative ones are in the temporary folder."""
    paths = _PATH.findall(line)
    return all(
        not path.startswith("/") or path.startswith(_HARMLESS) or any(path.startswith(place) for place in places) for path in paths
    )


def test_logs_metrics_and_refusals_tell_nothing_of_an_input(
    tmp_path: Path, churn_package: Package, digits_package: Package, capfd: pytest.CaptureFixture[str]
) -> None:
    """Marked values in good, bad and broken inputs appear in no log line of any level, no scrape and no refusal."""
    settings = settings_of(tmp_path, log_level="debug", log_format="json", workers=2)
    put(settings, churn_package)
    put(settings, digits_package)
    text, number, whole = _CANARIES
    good = {"tenure": 31337, "monthlycharges": 4711.0815, "contract": text, "partner": "no"}
    bodies: list[tuple[str, Any]] = [
        ("application/json", good),
        ("application/json", [good, {**good, "tenure": text}]),
        ("application/json", {**good, text: 1}),
        ("application/json", {**good, "contract": {"deep": [text, 4711.0815]}}),
        ("application/json", f'{{"tenure": "{text}'.encode()),
        ("application/x-www-form-urlencoded", f"tenure={text}&monthlycharges={number}".encode()),
        (
            "multipart/form-data; boundary=b",
            f'--b\r\nContent-Disposition: form-data; name="{text}"; filename="{text}"\r\n\r\n{whole}'.encode(),
        ),
        ("multipart/form-data; boundary=b", f"--b\r\n{text}: \x01{text}\r\n\r\n{whole}\r\n--b--\r\n".encode()),
        ("image/png", b"\x89PNG\r\n\x1a\n" + text.encode()),
        (text, text.encode()),
    ]
    # The error names the rejected field; a name is not a value.
    names_told = '"field_unknown"'
    refusals: list[str] = []
    with started(settings) as server, talking(server.url) as client:
        for path in ("/predict", "/models/churn/predict", "/models/digits/predict", "/predict/"):
            for kind, body in bodies:
                sent = {"json": body} if isinstance(body, dict | list) else {"content": body}
                answer = client.post(path, headers={"Content-Type": kind}, **sent)
                refusals += [answer.text] if answer.status_code != 200 and names_told not in answer.text else []
        scrape = client.get("/metrics").text
        counters = "".join(path.read_text() for path in settings.telemetry_folder.glob("*"))
    out, err = capfd.readouterr()
    assert len(refusals) > 15
    for place, told in (("log", out + err), ("scrape", scrape + counters), ("refusals", "\n".join(refusals))):
        assert not [canary for canary in _CANARIES if canary in told], f"an input's value is in the {place}"
