"""Start a server, load it with wrk, weigh it, stop it; and put rounds side by side.

    Contender ─ running() ─► answers ─ wrk ─► Load ─┐
    Contender ─ running() ─► answers ─ wrk ─► Load ─┴─ rounds, interleaved ─ medians, ratios ─► Markdown table

Rounds go A B C A B C …, since a shared machine drifts: figures of one run may be held against each other, those of two may not.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}
#: wrk's own script: every connection walks through the same list of finished requests, so bodies differ and cost nothing.
_SCRIPT = """
local finished, at = {}, 0
init = function()
  local list = io.open("%(folder)s/list")
  for name in list:lines() do
    local file = io.open("%(folder)s/" .. name, "rb")
    finished[#finished + 1] = wrk.format("POST", "%(path)s", {%(headers)s, ["Host"] = wrk.host}, file:read("*a"))
    file:close()
  end
  list:close()
end
request = function() at = at %% #finished + 1; return finished[at] end
done = function(summary, latency)
  local errors = summary.errors
  io.write(string.format("RESULT {\\"requests\\":%%d,\\"micros\\":%%d,\\"p50\\":%%f,\\"p99\\":%%f,\\"p999\\":%%f," ..
    "\\"failed\\":%%d}\\n",
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency:percentile(99.9),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bodies:
    """What is sent: finished request bodies of one content type, each with the class its answer must name."""

    kind: str
    bodies: tuple[bytes, ...]
    expected: tuple[int, ...] = ()  # one a body; empty where the answer is checked by other means


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One server and one way to ask it; lives as long as a run."""

    name: str
    command: tuple[str, ...]  # "{port}" stands for the port
    path: str
    bodies: Bodies
    environment: Mapping[str, str] = field(default_factory=dict)
    records: bool = False  # whether predictions are kept durably before the answer
    items: int = 1  # rows in one request
    key: str = ""  # sent with every request, where the server asks who calls

    @property
    def headers(self) -> dict[str, str]:
        """What every request says of itself."""
        return {"Content-Type": self.bodies.kind} | ({"Authorization": f"Bearer {self.key}"} if self.key else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What wrk saw in one round, and what the server weighed at its end."""

    rate: float  # items a second
    p50: float  # milliseconds
    p99: float
    p999: float
    failed: int  # non-2xx and broken connections
    rss: float  # MiB, process tree
    generator: float  # share of one core that wrk itself used, 0..1


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def tree(root: int) -> list[int]:
    """The process and all that descend from it."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                after_name = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # Race: it ended while we read.
            parents.setdefault(int(after_name[1]), []).append(int(entry.name))
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting.extend(parents.get(pid, []))
    return found


def rss_mib(pid: int) -> float:
    """Resident memory of one process; 0 when it has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@contextmanager
def running(contender: Contender, *, patience: float = 60.0) -> Iterator[tuple[str, int]]:
    """The server's address and pid, once it has answered the first body; stopped with all its children at the end."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [part.format(port=port) for part in contender.command],
            env={**os.environ, **contender.environment},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            if not _answers(contender, address, process, patience):
                log.seek(0)
                sys.exit(f"{contender.name} does not answer:\n{log.read()[-3000:].decode(errors='replace')}")
            yield address, process.pid
        finally:
            stop(process)


def _answers(contender: Contender, address: str, process: subprocess.Popen[bytes], patience: float) -> bool:
    give_up = time.monotonic() + patience
    while time.monotonic() < give_up and process.poll() is None:
        try:
            if ask(contender, address, contender.bodies.bodies[0]).is_success:
                return True
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    return False


def ask(contender: Contender, address: str, body: bytes) -> httpx.Response:
    """One request as wrk sends it."""
    return httpx.post(address + contender.path, content=body, headers=contender.headers, timeout=10.0)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask, wait five seconds, insist; the whole tree."""
    pids = tree(process.pid)
    process.send_signal(signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(5.0)
    for pid in pids:
        try:
            # The start_new_session above makes the session's number ours, so a recycled pid is never hit.
            if os.getsid(pid) == process.pid:
                os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()


def check_classes(contender: Contender, address: str, *, most: int = 8) -> None:
    """Ask for some bodies one by one and hold the class of every answer against the expected one."""
    for body, expected in list(zip(contender.bodies.bodies, contender.bodies.expected, strict=False))[:most]:
        answer = ask(contender, address, body).json()
        assert answer["class"] == expected, f"{contender.name} says {answer['class']} where {expected} is right"
        assert len(answer["probabilities"]) > answer["class"], f"{contender.name} gives no probabilities"
        assert answer["query_id"], f"{contender.name} gives no query id"


def wrk(contender: Contender, address: str, *, seconds: float, connections: int) -> Load:
    """Closed-loop load by one wrk thread for whole seconds, one at least; rss is left at 0."""
    with tempfile.TemporaryDirectory() as folder:
        script = _write_script(Path(folder), contender)
        command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s", "-s", str(script), address]
        before = os.times()
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        after = os.times()
    line = next(line for line in output.splitlines() if line.startswith("RESULT "))
    result = json.loads(line.removeprefix("RESULT "))
    span = result["micros"] / 1e6
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return Load(
        rate=result["requests"] / span * contender.items,
        p50=result["p50"] / 1e3,
        p99=result["p99"] / 1e3,
        p999=result["p999"] / 1e3,
        failed=result["failed"],
        rss=0.0,
        generator=used / span,
    )


def _write_script(folder: Path, contender: Contender) -> Path:
    names = [f"body{number}" for number in range(len(contender.bodies.bodies))]
    for name, body in zip(names, contender.bodies.bodies, strict=True):
        (folder / name).write_bytes(body)
    (folder / "list").write_text("\n".join(names) + "\n")
    script = folder / "walk.lua"
    headers = ", ".join(f'["{name}"] = "{value}"' for name, value in contender.headers.items())
    script.write_text(_SCRIPT % {"folder": folder, "path": contender.path, "headers": headers})
    return script


def one_round(contender: Contender, *, seconds: float, connections: int, warm_up: float) -> Load:
    """Start, check, warm up, measure, weigh, check again, stop."""
    with running(contender) as (address, pid):
        check_classes(contender, address)
        wrk(contender, address, seconds=warm_up, connections=connections)
        load = wrk(contender, address, seconds=seconds, connections=connections)
        check_classes(contender, address)
        return replace(load, rss=sum(map(rss_mib, tree(pid))))


def interleaved(parts: Mapping[str, Callable[[], Load]], rounds: int) -> dict[str, list[Load]]:
    """Every part once a round, in turn; prints each as it comes."""
    seen: dict[str, list[Load]] = {name: [] for name in parts}
    for number in range(1, rounds + 1):
        for name, measure in parts.items():
            load = measure()
            seen[name].append(load)
            print(
                f"round {number}  {name:<28} {load.rate:>9.0f}/s  p50 {load.p50:.2f}  p99 {load.p99:.2f} ms",
                file=sys.stderr,
                flush=True,
            )
    return seen


def median(loads: Sequence[Load]) -> Load:
    """The median of every figure by itself; failures are summed, since one is too many."""
    columns = {
        name: statistics.median(getattr(load, name) for load in loads)
        for name in ("rate", "p50", "p99", "p999", "rss", "generator")
    }
    return Load(failed=sum(load.failed for load in loads), **columns)


def ratio(seen: Mapping[str, Sequence[Load]], one: str, other: str) -> float:
    """Median over the rounds of rate(one) / rate(other): neighbours in time are compared, so drift falls out."""
    return statistics.median(a.rate / b.rate for a, b in zip(seen[one], seen[other], strict=True))


def table(seen: Mapping[str, Sequence[Load]], contenders: Mapping[str, Contender], *, unit: str = "req/s") -> str:
    """Markdown: medians, with the lowest and highest rate behind."""
    lines = [
        f"| server | {unit} (lowest–highest) | p50 ms | p99 ms | p99.9 ms | RSS MiB | failed | wrk, cores | records |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, loads in seen.items():
        middle, rates = median(loads), [load.rate for load in loads]
        kept = "yes" if name in contenders and contenders[name].records else "no"
        cells = (
            name,
            f"{middle.rate:,.0f} ({min(rates):,.0f}–{max(rates):,.0f})",
            *(f"{value:.2f}" for value in (middle.p50, middle.p99, middle.p999)),
            f"{middle.rss:.0f}",
            str(middle.failed),
            f"{middle.generator:.2f}",
            kept,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def conditions() -> dict[str, str]:
    """The machine, as far as figures depend on it."""
    cpu = next(
        (line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "?"
    )
    return {
        "cpu": cpu,
        "cores": str(len(os.sched_getaffinity(0))),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_before": f"{os.getloadavg()[0]:.2f}",
    }


def save(path: Path | None, kind: str, seen: Mapping[str, Sequence[Load]], **more: Any) -> None:
    """Raw figures of every round as JSON, for those who reckon otherwise."""
    if path is not None:
        rounds = {name: [asdict(load) for load in loads] for name, loads in seen.items()}
        path.write_text(json.dumps({"kind": kind, "conditions": conditions(), "rounds": rounds, **more}, indent=1) + "\n")


def verdict(sentence: str, *, holds: bool) -> bool:
    """Print whether a promised figure was reached; give it back."""
    print(f"{'reached' if holds else 'MISSED '}  {sentence}")
    return holds
