"""Open a stranger's file in another process, and believe nothing that comes back.

    file, samples, options ─► Task (one read-only descriptor) ─► child behind walls ─► one pipe, read up to a bound
                                                                   │ too slow, too much, wrong ─► killed, SandboxError
    Visit(level, Converted, samples) ◄─ strict decode ◄─ audit ◄───┘

The child is started fresh, in isolated mode, with an empty environment, in an empty folder that is removed afterwards.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import msgspec

from relevo.converters.keras.saved_model import FOLDER
from relevo.converters.limits import Bounds
from relevo.errors import (
    ConversionError,
    ImportModelError,
    InvalidLabelsError,
    InvalidOnnxError,
    InvalidOptionsError,
    MissingDependencyError,
    RelevoError,
    SandboxError,
    SandboxTooWeakError,
)
from relevo.importing.folder_archive import FOLDERS, unfold
from relevo.importing.sandbox import protocol
from relevo.importing.sandbox.memory import available_memory_mib
from relevo.importing.sandbox.workdir import sandbox_workdir
from relevo.package.conversion import ConvertedModel
from relevo.package.onnx_validation import audit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from relevo.converters.options import ConversionOptions

_CHILD = Path(__file__).with_name("worker.py")
_CHILD_OF_OTHER_TIMES = Path(__file__).parent.parent / "legacy" / "worker.py"
_SOURCE = Path(__file__).parents[3]
_CHUNK = 2**20
_SHOWN = 400
#: What a library may take to load beside that, on a slow machine.
_LOADING_SECONDS = {"keras": 120, "saved_model": 120, "torch": 120, "torchscript": 120}
#: Doors whose library starts threads however it is asked not to, and how many; processes stay forbidden.
_THREADS = {"keras": 256, "saved_model": 256}
_SIGNALS: dict[int, str] = {
    signal.SIGKILL: "it was stopped by the system, most likely for want of memory",
    signal.SIGSEGV: "it crashed",
    signal.SIGSYS: "it made a system call that is forbidden",
    signal.SIGABRT: "it crashed",
    signal.SIGXFSZ: "it tried to write a file",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Visit:
    """What came back from the quarantine, checked; lives as long as one import."""

    level: str
    converted: ConvertedModel
    records: tuple[dict[str, Any], ...]  # the samples the child made, when it was given none
    generated: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answer:
    """What the original said in an environment of its time, checked; lives as long as one import."""

    level: str
    outputs: NDArray[np.float64]  # (n, columns)
    frame: bytes  # the whole answer, for a further quarantine to read the model out of


def ask(
    question: protocol.LegacyRequest, bodies: Sequence[bytes], *, python: Path, need_strong: bool, bounds: Bounds | None = None
) -> Answer:
    """Have a child under another Python load the file and answer the samples; the same walls stand around it.

    python: the interpreter of the environment that can load the file.
    Raises SandboxTooWeakError, SandboxError, and what the child reports: ConversionError.
    """
    running = _Running(
        python=str(python),
        script=_CHILD_OF_OTHER_TIMES,
        need_strong=need_strong,
        bounds=(bounds or Bounds()).for_bytes(sum(len(body) for body in bodies[:2]), len(bodies[2])),
    )
    level, frame = _heard(protocol.pack(question, bodies), running)
    header = frame.header
    if isinstance(header, protocol.FailureMessage):
        raise _reported(header)
    if not isinstance(header, protocol.LegacyOutputsMessage) or len(frame.bodies) != 4:
        raise SandboxError(reason="it answered out of turn")
    try:
        outputs = protocol.numbers_in(frame.bodies[0], header.outputs)
    except protocol.ProtocolError as cause:
        raise SandboxError(reason="its arrays are not as agreed") from cause
    return Answer(level=level, outputs=outputs, frame=protocol.pack(header, frame.bodies))


def visit(task: ConversionOptions, bodies: Sequence[bytes], *, need_strong: bool, bounds: Bounds | None = None) -> Visit:
    """Have a child open the file and convert it.

    need_strong: refuse before the file is opened when a wall does not hold.
    Raises SandboxTooWeakError, SandboxError, InvalidOnnxError, and what the child reports: ConversionError, InvalidOptionsError,
    MissingDependencyError.
    """
    running = _Running(
        python=sys.executable,
        script=_CHILD,
        need_strong=need_strong,
        bounds=(bounds or Bounds()).for_bytes(
            sum(len(body) for body in bodies[:2]), len(bodies[2]), replay=task.format == "replay"
        ),
        loading=_LOADING_SECONDS.get(task.format, 0),
        threads=_THREADS.get(task.format, 0),
        folder=bodies[0] if task.format in FOLDERS else b"",
    )
    if running.folder:
        # It stands ready in the child's own folder, in which the child can write nothing.
        bodies = [b"", *bodies[1:]]
    return _believed(*_heard(protocol.pack(task, bodies), running))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Running:
    """Which child is started, and how; lives as long as it runs."""

    python: str
    script: Path
    need_strong: bool
    bounds: Bounds
    threads: int = 0  # it may start
    loading: int = 0  # seconds of processor time its library may take to load
    folder: bytes = b""  # a framework's folder, as `folders` makes it bytes


def _heard(task: bytes, running: _Running) -> tuple[str, protocol.Frame]:
    """How strong the walls were, and the child's one answer. Raises SandboxTooWeakError, SandboxError."""
    spared = available_memory_mib()
    if spared is None or spared >= running.bounds.memory_mb:
        return _heard_within(task, running)
    told = f"it had {spared} MiB of memory, what this machine can spare now of the {running.bounds.memory_mb} MiB an import may use"
    try:
        level, frame = _heard_within(task, replace(running, bounds=replace(running.bounds, memory_mb=spared)))
    except SandboxError as cause:
        raise SandboxError(reason=f"{cause.facts['reason']}; {told}") from cause
    if isinstance(frame.header, protocol.FailureMessage) and frame.header.code == "quarantine_failed":
        raise SandboxError(reason=f"{_readable(frame.header.reason)}; {told}")
    return level, frame


def _heard_within(task: bytes, running: _Running) -> tuple[str, protocol.Frame]:
    frames = _frames(_run(task, running))
    if not frames or not isinstance(frames[0].header, protocol.SandboxStatus):
        raise SandboxError(reason="it ended before it began")
    walls = frames[0].header
    if running.need_strong and walls.level != "strong":
        raise SandboxTooWeakError(level=walls.level, reason=f"these are possible in it: {_readable(', '.join(walls.unheld))}")
    if len(frames) != 2:
        raise SandboxError(reason="it gave no result, or more than one")
    return walls.level, frames[1]


def _believed(level: str, frame: protocol.Frame) -> Visit:
    """Turn the child's last word into a Visit, or into the error it reports. The child may be the attacker."""
    header = frame.header
    if isinstance(header, protocol.FailureMessage):
        raise _reported(header)
    if not isinstance(header, protocol.ConvertedMessage) or len(frame.bodies) != 3:
        raise SandboxError(reason="it answered out of turn")
    onnx, outputs, samples = frame.bodies
    audit(onnx)
    try:
        records = msgspec.json.decode(samples, type=tuple[dict[str, str | int | float | bool | None], ...]) if samples else ()
        scores = None if header.outputs is None else protocol.numbers_in(outputs, header.outputs)
    except (protocol.ProtocolError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as cause:
        raise SandboxError(reason="its arrays are not as agreed") from cause
    predicted = None
    if header.predicted:
        scores, predicted = _apart(scores, len(header.output.labels))
    converted = ConvertedModel(
        onnx=onnx,
        input=header.input,
        steps=header.steps,
        output=header.output,
        framework=_readable(header.framework),
        converter={_readable(name)[:64]: _readable(version)[:64] for name, version in list(header.converter.items())[:20]},
        outputs=scores,
        predicted=predicted,
        classes=header.classes,
        decision=header.decision,
    )
    return Visit(level=level, converted=converted, records=records, generated=header.samples == "generated")


def _apart(told: NDArray[np.float64] | None, labels: int) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """The scores, and the places of labels in the column behind them. Raises SandboxError when they are none."""
    if told is None or told.shape[1] < 2 or any(place not in range(labels) for place in told[:, -1].tolist()):
        raise SandboxError(reason="its arrays are not as agreed")
    return told[:, :-1], told[:, -1].astype("intp")


def _reported(header: protocol.FailureMessage) -> RelevoError:
    reason = _readable(header.reason)
    errors: dict[str, RelevoError] = {
        "conversion_failed": ConversionError(reason=reason),
        "options_missing": InvalidOptionsError(options=reason),
        "extra_missing": MissingDependencyError(extra=reason),
        "onnx_refused": InvalidOnnxError(reason=reason),
        "import_refused": ImportModelError(reason=reason),
        "labels_refused": InvalidLabelsError(reason=reason),
        "quarantine_failed": SandboxError(reason=reason),
    }
    return errors[header.code]


def _readable(text: str) -> str:
    """The child's words, fit to be shown: printable, on one line, short."""
    return "".join(sign if sign.isprintable() else " " for sign in text[:_SHOWN])


def _frames(data: bytes) -> list[protocol.Frame]:
    try:
        return list(protocol.frames(data, protocol.Header))
    except protocol.ProtocolError as cause:
        raise SandboxError(reason=f"what it sent cannot be read ({cause})") from cause


# --- the process ------------------------------------------------------------------------------------------------------


def _run(task: bytes, running: _Running) -> bytes:
    """Everything the child wrote, after it ended by itself. Raises SandboxError when it did not, or wrote too much."""
    with sandbox_workdir() as outer:
        folder = outer / "work"
        # The way to the inner folder is open, so that a child without rights can stand in it; it holds nothing.
        outer.chmod(0o711)
        folder.mkdir(mode=0o700)
        if running.folder:
            unfold(running.folder, folder / FOLDER)
        with _read_only(task, outer) as given, _child(given, folder, running) as process:
            return _collect(process, running.bounds)


@contextmanager
def _read_only(task: bytes, folder: Path) -> Iterator[IO[bytes]]:
    """The task behind a descriptor that can only be read; the file has no name any more."""
    path = folder / "task"
    path.write_bytes(task)
    with path.open("rb") as given:
        path.unlink()
        yield given


@contextmanager
def _child(given: IO[bytes], folder: Path, running: _Running) -> Iterator[subprocess.Popen[bytes]]:
    """A fresh interpreter in its own process group; killed with the group when the block ends."""
    bounds = running.bounds
    command = [
        *(running.python, "-I", "-B", "-X", "utf8", str(running.script), str(_SOURCE)),
        *(str(bounds.memory_mb * 2**20), str(bounds.cpu_seconds), str(bounds.file_bytes)),
        *("strong" if running.need_strong else "any", ",".join(bounds.walls), str(running.threads)),
        *(str(bounds.data_mb * 2**20), str(running.loading)),
    ]
    process = subprocess.Popen(  # noqa: S603 - an interpreter that a person chose, and our own script
        command,
        stdin=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=_environment(folder),
        cwd=folder,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        with suppress(ProcessLookupError):
            process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def _environment(folder: Path) -> dict[str, str]:
    """Nothing of ours: one thread everywhere, no reports, a home that is the empty folder."""
    one = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "LOKY_MAX_CPU_COUNT"), "1")
    return {**one, "ORT_DISABLE_TELEMETRY": "1", "HOME": str(folder), "TMPDIR": str(folder), "LC_ALL": "C.UTF-8"}


def _collect(process: subprocess.Popen[bytes], bounds: Bounds) -> bytes:
    """Read the pipe to its end, within the bounds of time and size. Raises SandboxError."""
    assert process.stdout is not None  # noqa: S101 - a pipe was asked for; narrows for the type checker
    deadline = time.monotonic() + bounds.wall_seconds
    parts: list[bytes] = []
    size = 0
    with selectors.DefaultSelector() as ready:
        ready.register(process.stdout, selectors.EVENT_READ)
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not ready.select(left):
                raise SandboxError(reason=f"it took longer than {bounds.wall_seconds:g} seconds")
            part = os.read(process.stdout.fileno(), _CHUNK)
            if not part:
                break
            parts.append(part)
            size += len(part)
            if size > bounds.output_mb * 2**20:
                raise SandboxError(reason=f"it sent more than {bounds.output_mb} MiB")
    _check_end(process, max(deadline - time.monotonic(), 1.0), bounds, empty=size == 0)
    return b"".join(parts)


def _check_end(process: subprocess.Popen[bytes], seconds: float, bounds: Bounds, *, empty: bool) -> None:
    """The child must also end, and end well. Raises SandboxError."""
    try:
        code = process.wait(timeout=seconds)
    except subprocess.TimeoutExpired as cause:
        raise SandboxError(reason="it closed its pipe and went on") from cause
    if code == -signal.SIGXCPU:
        raise SandboxError(
            reason=f"it used more than the {bounds.cpu_seconds} seconds of processor time it is given; --max-seconds allows more"
        )
    if code < 0:
        raise SandboxError(reason=_SIGNALS.get(-code, f"it was ended by signal {-code}"))
    if code > 0 or empty:
        raise SandboxError(reason=f"it ended with code {code}" + (" and said nothing" if empty else ""))
