"""`relevo demo`: the whole story on real handwritten digits, and a check of every step.

new project ─ train ─► package ─ register ─► serve (own processes) ─ held-out digits as PNG, over HTTP ─► answers
                                                                          every query_id ─► in the history?
accuracy, latency, where to look ─► until Ctrl-C; with --headless: exit code 0 only if all of it held
"""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import signal
import statistics
import sys
import threading
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

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from pathlib import Path

    from relevo.client import Result
    from relevo.config import Settings
    from relevo.project.data import Example

_MODEL = "digits"
#: What the demo itself demands of its model.
_LEAST_ACCURACY = 0.97
_START_S = 60.0
_SHIP_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the demo saw; lives until it was shown."""

    url: str
    asked: int
    accuracy: float  # 0..1, over HTTP, on held-out digits
    p50_ms: float  # round trip as the caller sees it
    p99_ms: float
    recorded: int  # of the asked ones
    package: str  # its folder

    @property
    def problems(self) -> list[str]:
        """What did not check out."""
        found = []
        if self.accuracy < _LEAST_ACCURACY:
            found.append(f"accuracy {self.accuracy:.3f} is below {_LEAST_ACCURACY}")
        if self.recorded != self.asked:
            found.append(f"only {self.recorded} of {self.asked} predictions are in the history")
        return found


def run_demo(settings: Settings, *, headless: bool, as_json: bool) -> int:
    """Run the story. Returns the exit code."""
    tell: Callable[[str], None] = (lambda _line: None) if as_json else say
    if importlib.util.find_spec("skl2onnx") is None:
        raise MissingDependencyError(extra="demo")
    relevo.server.check_address(settings)
    with contextlib.ExitStack() as end_bars:
        step = end_bars.enter_context(progress(quiet=as_json))
        held, package = _prepare(settings, step)
        tell(f"trained and packed {_MODEL}: {package.name[:12]}, {len(held)} digits held out")
        server = relevo.server.start_server(settings)
        try:
            server.wait_ready(_START_S)
            tell(f"serving at {server.url}")
            outcome = _ask(server.url, _trust(settings), held, package, step)
            # What waits for Ctrl-C makes no progress, so no bar moves below it.
            end_bars.close()
            _show(outcome, as_json=as_json, stays=not headless)
            if not headless:
                _wait_for_interrupt()
        finally:
            server.stop()
    for problem in outcome.problems:
        sys.stderr.write(f"error: {translate(problem)} (demo_failed)\n")
    return 1 if outcome.problems else 0


def _prepare(settings: Settings, step: Callable[[int, int, str], object]) -> tuple[list[Example], Path]:
    """Train, pack and register; the held-out digits and where the package lies."""
    folder = settings.home / _MODEL
    shutil.rmtree(folder, ignore_errors=True)
    start_project(folder, language=language())
    project = read_project(folder)
    package = train_project(project, folder / "package", step, language=language())
    relevo.server.register(settings, folder / "package", alias="champion", who=current_user(), why=translate("the demo trained it"))
    held = split_examples(load_examples(project), project.data.held_out)[1]
    return held, settings.packages_folder / package.digest


def _trust(settings: Settings) -> ssl.SSLContext | None:
    certificate = relevo.server.certificate_of(settings, relevo.server.utc_now())
    return relevo.server.pinned_context(certificate.cert) if certificate else None


def _ask(
    url: str, trust: ssl.SSLContext | None, held: list[Example], package: Path, step: Callable[[int, int, str], object]
) -> Outcome:
    """Send every held-out digit as a PNG, in turns as a raw body and as a form, and look all of them up in the history."""
    waits: list[float] = []
    right = 0
    asked: set[str] = set()
    with Client(url, verify=trust) as client:
        for number, example in enumerate(held):
            began = time.monotonic()
            result = _predict(client, png(example.x), as_form=number % 2 == 1)
            waits.append(time.monotonic() - began)
            right += result.prediction == str(example.y)
            asked.add(result.query_id)
            step(number + 1, len(held), "asking")
        recorded = _recorded(client, asked)
    cuts = statistics.quantiles(waits, n=100)
    return Outcome(
        url=url,
        asked=len(asked),
        accuracy=right / len(held),
        p50_ms=cuts[49] * 1000,
        p99_ms=cuts[98] * 1000,
        recorded=recorded,
        package=str(package),
    )


def _predict(client: Client, picture: bytes, *, as_form: bool) -> Result:
    return client.predict_form(_MODEL, picture) if as_form else client.predict(_MODEL, picture)


def _recorded(client: Client, asked: set[str]) -> int:
    """How many of these the history has, once it had time to receive them."""
    deadline = time.monotonic() + _SHIP_S
    while True:
        found = asked & {item["query_id"] for item in client.all_history(model=_MODEL)}
        if found == asked or time.monotonic() > deadline:
            return len(found)
        time.sleep(0.1)


def _show(outcome: Outcome, *, as_json: bool, stays: bool) -> None:
    if as_json:
        facts: dict[str, Any] = {name: getattr(outcome, name) for name in Outcome.__slots__}
        show_json(facts | {"problems": outcome.problems})
        return
    told = [
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
    for name, fact in told:
        show_text(f"{translate(name):<12}  {fact}")


def _wait_for_interrupt() -> None:
    say("Draw a digit on the page; Ctrl-C ends the demo.")
    sys.stdout.flush()
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    over.wait()
