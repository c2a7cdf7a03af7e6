"""`relevo demo`: trains, serves and queries a model of handwritten digits, and checks every step.

new project ─ train ─► package ─ register ─► serve (child process) ─ held-out digits as PNG, over HTTP ─► predictions
                                                                          every query_id ─► in the history?
accuracy, latency, URLs ─► serves until Ctrl-C; with --headless: exit code 0 only if every check passed
"""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import signal
import statistics
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import relevo.server
from relevo.cli.options import current_user
from relevo.cli.output import progress, say, show_json, show_text
from relevo.cli.translate import fixed, language, percent, translate
from relevo.client import Client
from relevo.errors import MissingDependencyError
from relevo.package.samples import png
from relevo.project.config import read_project
from relevo.project.data import load_examples
from relevo.project.scaffold import start_project
from relevo.project.training import split_examples, train_project
from relevo.util.stop_flag import StopFlag

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from pathlib import Path

    from relevo.client import Result
    from relevo.config import Settings
    from relevo.project.data import Example

_MODEL = "digits"
#: Accuracy below this is reported as a problem.
_MIN_ACCURACY = 0.97
_START_TIMEOUT_S = 60.0
_SHIP_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Measurements of one demo run. Its fields are the JSON output. Lifetime: the run."""

    url: str
    asked: int
    accuracy: float  # 0..1, over HTTP, on held-out digits
    p50_ms: float  # round trip at the client
    p99_ms: float
    recorded: int  # number of predictions found in the history
    package: str  # its folder

    @property
    def problems(self) -> list[str]:
        """The failed checks."""
        problems = []
        if self.accuracy < _MIN_ACCURACY:
            problems.append(f"accuracy {self.accuracy:.3f} is below {_MIN_ACCURACY}")
        if self.recorded != self.asked:
            problems.append(f"only {self.recorded} of {self.asked} predictions are in the history")
        return problems


def run_demo(settings: Settings, *, headless: bool, as_json: bool) -> int:
    """Runs the demo. Returns the exit code."""
    tell: Callable[[str], None] = (lambda _line: None) if as_json else say
    if importlib.util.find_spec("skl2onnx") is None:
        raise MissingDependencyError(extra="demo")
    relevo.server.check_address(settings)
    with contextlib.ExitStack() as progress_bars:
        step = progress_bars.enter_context(progress(quiet=as_json))
        held_out, package = _prepare(settings, step)
        tell(f"trained and packed {_MODEL}: {package.name[:12]}, {len(held_out)} digits held out")
        server = relevo.server.start_server(settings)
        try:
            server.wait_ready(_START_TIMEOUT_S)
            tell(f"serving at {server.url}")
            outcome = _query(server.url, _tls_context(settings), held_out, package, step)
            # Removes the progress bars before the wait for Ctrl-C.
            progress_bars.close()
            _show(outcome, as_json=as_json, stays=not headless)
            if not headless:
                _wait_for_interrupt()
        finally:
            server.stop()
    for problem in outcome.problems:
        sys.stderr.write(f"error: {translate(problem)} (demo_failed)\n")
    return 1 if outcome.problems else 0


def _prepare(settings: Settings, step: Callable[[int, int, str], object]) -> tuple[list[Example], Path]:
    """Trains, packages and registers. Returns the held-out digits and the path of the stored package."""
    folder = settings.home / _MODEL
    shutil.rmtree(folder, ignore_errors=True)
    start_project(folder, language=language())
    project = read_project(folder)
    package = train_project(project, folder / "package", step, language=language())
    relevo.server.register(
        settings, folder / "package", alias="champion", author=current_user(), reason=translate("the demo trained it")
    )
    held_out = split_examples(load_examples(project), project.data.held_out)[1]
    return held_out, settings.packages_folder / package.digest


def _tls_context(settings: Settings) -> ssl.SSLContext | None:
    certificate = relevo.server.certificate_of(settings, relevo.server.utc_now())
    return relevo.server.pinned_context(certificate.cert) if certificate else None


def _query(
    url: str, tls: ssl.SSLContext | None, held_out: list[Example], package: Path, step: Callable[[int, int, str], object]
) -> Outcome:
    """Sends every held-out digit as a PNG, alternately as raw body and as form, and counts them in the history."""
    durations: list[float] = []
    correct = 0
    query_ids: set[str] = set()
    with Client(url, verify=tls) as client:
        for number, example in enumerate(held_out):
            start = time.monotonic()
            result = _predict(client, png(example.x), as_form=number % 2 == 1)
            durations.append(time.monotonic() - start)
            correct += result.prediction == str(example.y)
            query_ids.add(result.query_id)
            step(number + 1, len(held_out), "asking")
        recorded = _count_recorded(client, query_ids)
    percentiles = statistics.quantiles(durations, n=100)
    return Outcome(
        url=url,
        asked=len(query_ids),
        accuracy=correct / len(held_out),
        p50_ms=percentiles[49] * 1000,
        p99_ms=percentiles[98] * 1000,
        recorded=recorded,
        package=str(package),
    )


def _predict(client: Client, image: bytes, *, as_form: bool) -> Result:
    return client.predict_form(_MODEL, image) if as_form else client.predict(_MODEL, image)


def _count_recorded(client: Client, query_ids: set[str]) -> int:
    """Counts these predictions in the history, after waiting for their shipment."""
    deadline = time.monotonic() + _SHIP_TIMEOUT_S
    while True:
        recorded = query_ids & {item["query_id"] for item in client.all_history(model=_MODEL)}
        if recorded == query_ids or time.monotonic() > deadline:
            return len(recorded)
        time.sleep(0.1)


def _show(outcome: Outcome, *, as_json: bool, stays: bool) -> None:
    if as_json:
        facts: dict[str, Any] = {name: getattr(outcome, name) for name in Outcome.__slots__}
        show_json(facts | {"problems": outcome.problems})
        return
    rows = [
        ("accuracy", translate(f"{percent(outcome.accuracy)} on {outcome.asked} held-out digits, asked over HTTP as PNG")),
        (
            "latency",
            translate(f"p50 {fixed(outcome.p50_ms, 1)} ms, p99 {fixed(outcome.p99_ms, 1)} ms a request, recording included"),
        ),
        ("history", translate(f"{outcome.recorded} of {outcome.asked} predictions recorded")),
        *([("predictions", f"{outcome.url}/predictions"), ("page", outcome.url)] if stays else []),
        ("package", outcome.package),
        ("card", f"{outcome.package}/card.md"),
    ]
    for name, fact in rows:
        show_text(f"{translate(name):<12}  {fact}")


def _wait_for_interrupt() -> None:
    say("Draw a digit on the page; Ctrl-C ends the demo.")
    sys.stdout.flush()
    stop = StopFlag()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    stop.wait()
