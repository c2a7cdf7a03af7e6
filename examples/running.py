"""One example from its data to its last answer, as its README tells it, and a check of every promise.

    examples/NAME ─ copy ─► work/ ─ README's commands ─► relevo train | import ─► package, registered
                                    `relevo serve` ─► a free port ─► README's curl lines ─► as documented?
    package's metrics ─ check.figures ─► reached what was promised?         check.check(served) ─► problems of its own

A command is a process of its own, in a fresh copy of the folder, just as a reader would type it. Nothing here knows a model.
"""

from __future__ import annotations

import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import threading
import time
import tomllib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from examples.documented import Step, steps, unlike

if TYPE_CHECKING:
    import resource
    from collections.abc import Callable, Iterator

    from examples.figures import Figure

EXAMPLES = Path(__file__).resolve().parent
#: How many examples data.py may load, for a quick look; all when it is not set.
LIMIT = "EXAMPLE_LIMIT"
_START_S = 120.0
_ANSWER_S = 300.0
_STOP_S = 30.0
_TOLERANCE = 0.05


class ExampleError(Exception):
    """A command of the README did not end well, so nothing after it means anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """The running server of an example; lives as long as its check."""

    url: str
    folder: Path  # the copy the commands run in
    environ: dict[str, str]
    #: Whether the model was trained on all of the real data.
    real: bool

    def run(self, line: str) -> str:
        """What a command prints, in the example's folder. Raises ExampleError."""
        command = ["bash", "-c", line]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environ, capture_output=True, text=True, timeout=_ANSWER_S, check=False
        )
        if done.returncode:
            raise ExampleError(f"{line}\nended with {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What the commands before the server took."""

    seconds: float  # from the first to the end of the last
    cpu_seconds: float  # on all cores together
    peak_mib: float  # of the largest process

    def __str__(self) -> str:
        """As it is told."""
        return f"{self.seconds:.1f} s, {self.cpu_seconds:.1f} s of processor, peak {self.peak_mib:.0f} MiB"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of an example; lives until it was told."""

    name: str
    data: str  # which data it was trained on, in words
    training: Cost
    figures: tuple[Figure, ...]
    asked: int  # curl lines answered as documented, or not
    problems: tuple[str, ...]


def data_folder() -> Path:
    """Where real data lie: RELEVO_TEST_DATA, else ../shared/data beside the repository."""
    return Path(os.environ.get("RELEVO_TEST_DATA") or EXAMPLES.parent.parent / "shared" / "data").resolve()


def run_example(name: str, work: Path, *, limit: int | None = None, tell: Callable[[str], object] = print) -> Outcome:
    """Run one example in `work`/`name`, made anew. Raises ExampleError, KeyboardInterrupt.

    limit: train on that many examples at most; accuracy and documented values are then told, and not judged.
    """
    own = runpy.run_path(str(EXAMPLES / name / "check.py"))
    folder = _fresh_copy(name, work)
    found = (data_folder() / own["DATA"]).exists()
    tell(f"data      {data_folder() / own['DATA']}" if found else _absent(own["DATA"]))
    if limit is None and "COST" in own:
        tell(f"cost      {own['COST']}")
    environ = _environ(limit)
    script = steps(folder / "README.md")
    first_serve = next(number for number, step in enumerate(script) if step.serves)
    training = _train(script[:first_serve], folder, environ, tell)
    figures = own["figures"](_metrics(folder, environ))
    real = found and limit is None
    problems = [one.problem for one in figures if one.problem and (real or one.always)]
    asked = [step for step in script[first_serve + 1 :] if step.asks]
    with _serving(script[first_serve], folder, environ, real=real) as served:
        tell(f"serving   {served.url}")
        problems += _asked(asked, served, own.get("TOLERANCE", _TOLERANCE), tell)
        problems += own["check"](served)
    return Outcome(
        name=name,
        data=("real" if found else "the samples that are shipped") + (f", {limit} at most" if limit else ""),
        training=training,
        figures=tuple(figures),
        asked=len(asked),
        problems=tuple(problems),
    )


def _absent(wanted: str) -> str:
    return (
        f"data      no {wanted} under {data_folder()} (set RELEVO_TEST_DATA)\n"
        "          training on what is shipped instead: the promised figures are shown but not judged"
    )


def _fresh_copy(name: str, work: Path) -> Path:
    """The example's folder in `work`. Raises ExampleError rather than empty a folder that is no earlier run's."""
    former = work / name
    if former.exists() and not (former / "relevo.toml").is_file():
        raise ExampleError(f"{former} is no earlier run of this example; choose another --work")
    shutil.rmtree(former, ignore_errors=True)
    ignored = shutil.ignore_patterns("__pycache__", ".relevo", "check.py")
    return Path(shutil.copytree(EXAMPLES / name, former, ignore=ignored))


def _environ(limit: int | None) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RELEVO_") and name != LIMIT}
    told = {"RELEVO_TEST_DATA": str(data_folder()), "RELEVO_PORT": "0", "PYTHONUNBUFFERED": "1"}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return inherited | told | {"PATH": path} | ({LIMIT: str(limit)} if limit else {})


def _train(script: list[Step], folder: Path, environ: dict[str, str], tell: Callable[[str], object]) -> Cost:
    """Run the commands before the server. Raises ExampleError, KeyboardInterrupt."""
    began, cpu, peak = time.monotonic(), 0.0, 0
    for step in script:
        tell(f"$ {step.line}")
        process = subprocess.Popen(["bash", "-c", step.line], cwd=folder, env=environ)
        usage = _wait(process)
        cpu += usage.ru_utime + usage.ru_stime
        peak = max(peak, usage.ru_maxrss)
        if process.returncode:
            raise ExampleError(f"{step.line}\nended with {process.returncode}")
    # Linux counts in KiB.
    return Cost(seconds=time.monotonic() - began, cpu_seconds=cpu, peak_mib=peak / 1024)


def _wait(process: subprocess.Popen[bytes]) -> resource.struct_rusage:
    """Wait for its end; what it and its children used. Ctrl-C reaches it too, and is waited for."""
    interrupted = False
    while True:
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except KeyboardInterrupt:
            interrupted = True
            continue
        process.returncode = os.waitstatus_to_exitcode(status)
        if interrupted:
            raise KeyboardInterrupt
        return usage


def _metrics(folder: Path, environ: dict[str, str]) -> dict[str, Any]:
    """metrics.json of the version that is in charge."""
    name = tomllib.loads((folder / "relevo.toml").read_text(encoding="utf-8"))["model"]["name"]
    shown = json.loads(_output(["relevo", "models", "show", name, "--json"], folder, environ))
    digest = next(one["digest"] for one in shown["versions"] if one["number"] == shown["aliases"]["champion"])
    metrics: dict[str, Any] = json.loads((folder / ".relevo" / "packages" / digest / "metrics.json").read_bytes())
    return metrics


def _output(command: list[str], folder: Path, environ: dict[str, str]) -> str:
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ExampleError(f"{' '.join(command)}\nended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


@contextmanager
def _serving(step: Step, folder: Path, environ: dict[str, str], *, real: bool) -> Iterator[Served]:
    """Start `relevo serve`, wait until every worker answers, and end it as Ctrl-C would."""
    command = ["bash", "-c", f"exec {step.line} --json"]
    # A session of its own: Ctrl-C is for whoever runs the example, who then ends the server in order.
    server = subprocess.Popen(command, cwd=folder, env=environ, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        yield Served(url=_address(server), folder=folder, environ=environ, real=real)
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        if server.stdout is not None:
            server.stdout.close()


def _address(server: subprocess.Popen[str]) -> str:
    """What the server says once every worker answers. Raises ExampleError when it does not come to that."""
    assert server.stdout is not None
    told = ""
    patience = threading.Timer(_START_S, server.kill)
    patience.start()
    try:
        for line in server.stdout:
            told += line
            if line.rstrip() == "}":
                return str(json.loads(told)["url"])
    finally:
        patience.cancel()
    raise ExampleError(f"the server did not start within {_START_S:g} s: {told}")


def _asked(script: list[Step], served: Served, tolerance: float, tell: Callable[[str], object]) -> list[str]:
    problems = []
    for step in script:
        tell(f"$ {step.line}")
        got = served.run(step.at(served.url)).strip()
        tell(got if step.kind == "json" else f"({len(got)} characters)")
        if step.kind:
            problems += [f"{step.line}: {one}" for one in unlike(step, got, tolerance=tolerance, exact=served.real)]
    return problems
