"""Converts an untrusted file in a sandboxed process; its output is validated as untrusted input.

    file, samples, options ─► ConversionOptions (one read-only descriptor) ─► sandboxed worker ─► one pipe, read up to a limit
                                                                      │ too slow, too much, invalid ─► killed, SandboxError
    SandboxResult(level, ConvertedModel, samples) ◄─ strict decode ◄─ audit ◄─┘

The worker is a new interpreter in isolated mode, with an empty environment, in an empty folder that is removed afterwards.
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
from relevo.importing.folder_archive import FOLDERS, extract_folder
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

_WORKER = Path(__file__).with_name("worker.py")
_LEGACY_WORKER = Path(__file__).parent.parent / "legacy" / "worker.py"
_SOURCE = Path(__file__).parents[3]
_CHUNK_BYTES = 2**20
_MAX_TEXT = 400
#: Extra processor time for loading a format's library, on a slow machine.
_LOADING_SECONDS = {"keras": 120, "saved_model": 120, "torch": 120, "torchscript": 120}
#: Thread limit for formats whose library starts threads regardless of its settings; processes stay forbidden.
_THREADS = {"keras": 256, "saved_model": 256}
_SIGNAL_REASONS: dict[int, str] = {
    signal.SIGKILL: "it was stopped by the system, most likely for want of memory",
    signal.SIGSEGV: "it crashed",
    signal.SIGSYS: "it made a system call that is forbidden",
    signal.SIGABRT: "it crashed",
    signal.SIGXFSZ: "it tried to write a file",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SandboxResult:
    """The validated result of the sandbox. Lifetime: one import."""

    level: str
    converted: ConvertedModel
    records: tuple[dict[str, Any], ...]  # the samples that the worker generated, when none were sent
    generated: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LegacyOutputs:
    """The validated outputs of the original, computed in a legacy environment. Lifetime: one import."""

    level: str
    outputs: NDArray[np.float64]  # (n, columns)
    frame: bytes  # the whole message; a second sandbox reads the serialized model from it


def predict_with_legacy(
    request: protocol.LegacyRequest, bodies: Sequence[bytes], *, python: Path, need_strong: bool, bounds: Bounds | None = None
) -> LegacyOutputs:
    """Load the file and predict the samples in the legacy worker, under another Python and the same isolation.

    python: the interpreter of the environment that can load the file.
    Raises SandboxTooWeakError, SandboxError, and what the worker reports: ConversionError.
    """
    worker = _WorkerSpec(
        python=str(python),
        script=_LEGACY_WORKER,
        need_strong=need_strong,
        bounds=(bounds or Bounds()).for_bytes(sum(len(body) for body in bodies[:2]), len(bodies[2])),
    )
    level, frame = _exchange(protocol.pack(request, bodies), worker)
    header = frame.header
    if isinstance(header, protocol.FailureMessage):
        raise _to_error(header)
    if not isinstance(header, protocol.LegacyOutputsMessage) or len(frame.bodies) != 4:
        raise SandboxError(reason="it answered out of turn")
    try:
        outputs = protocol.decode_matrix(frame.bodies[0], header.outputs)
    except protocol.ProtocolError as cause:
        raise SandboxError(reason="its arrays are not as agreed") from cause
    return LegacyOutputs(level=level, outputs=outputs, frame=protocol.pack(header, frame.bodies))


def convert_in_sandbox(
    options: ConversionOptions, bodies: Sequence[bytes], *, need_strong: bool, bounds: Bounds | None = None
) -> SandboxResult:
    """Open and convert the file in the sandbox worker.

    need_strong: fail before the file is opened when any isolation check fails.
    Raises SandboxTooWeakError, SandboxError, InvalidOnnxError, and what the worker reports: ConversionError, InvalidOptionsError,
    MissingDependencyError.
    """
    worker = _WorkerSpec(
        python=sys.executable,
        script=_WORKER,
        need_strong=need_strong,
        bounds=(bounds or Bounds()).for_bytes(
            sum(len(body) for body in bodies[:2]), len(bodies[2]), replay=options.format == "replay"
        ),
        loading=_LOADING_SECONDS.get(options.format, 0),
        threads=_THREADS.get(options.format, 0),
        folder=bodies[0] if options.format in FOLDERS else b"",
    )
    if worker.folder:
        # The folder is extracted into the worker's own folder, where the worker cannot write.
        bodies = [b"", *bodies[1:]]
    return _validate(*_exchange(protocol.pack(options, bodies), worker))


@dataclass(frozen=True, slots=True, kw_only=True)
class _WorkerSpec:
    """Which worker to start, and its limits. Lifetime: one worker process."""

    python: str
    script: Path
    need_strong: bool
    bounds: Bounds
    threads: int = 0  # that it may start
    loading: int = 0  # extra seconds of processor time for loading its library
    folder: bytes = b""  # a framework's folder, as `folder_archive` encodes it


def _exchange(request: bytes, worker: _WorkerSpec) -> tuple[str, protocol.Frame]:
    """Run the worker within the available memory; return its isolation level and its answer. Raises SandboxTooWeakError, SandboxError."""
    available = available_memory_mib()
    if available is None or available >= worker.bounds.memory_mb:
        return _exchange_within_limits(request, worker)
    memory_note = (
        f"it had {available} MiB of memory, what this machine can spare now of the {worker.bounds.memory_mb} MiB an import may use"
    )
    try:
        level, frame = _exchange_within_limits(request, replace(worker, bounds=replace(worker.bounds, memory_mb=available)))
    except SandboxError as cause:
        raise SandboxError(reason=f"{cause.facts['reason']}; {memory_note}") from cause
    if isinstance(frame.header, protocol.FailureMessage) and frame.header.code == "quarantine_failed":
        raise SandboxError(reason=f"{_printable(frame.header.reason)}; {memory_note}")
    return level, frame


def _exchange_within_limits(request: bytes, worker: _WorkerSpec) -> tuple[str, protocol.Frame]:
    frames = _decode_frames(_run(request, worker))
    if not frames or not isinstance(frames[0].header, protocol.SandboxStatus):
        raise SandboxError(reason="it ended before it began")
    status = frames[0].header
    if worker.need_strong and status.level != "strong":
        raise SandboxTooWeakError(
            level=status.level, reason=f"these are possible in it: {_printable(', '.join(status.failed_checks))}"
        )
    if len(frames) != 2:
        raise SandboxError(reason="it gave no result, or more than one")
    return status.level, frames[1]


def _validate(level: str, frame: protocol.Frame) -> SandboxResult:
    """Validate the worker's message, which may come from an attacker, or raise the error that it reports."""
    header = frame.header
    if isinstance(header, protocol.FailureMessage):
        raise _to_error(header)
    if not isinstance(header, protocol.ConvertedMessage) or len(frame.bodies) != 3:
        raise SandboxError(reason="it answered out of turn")
    onnx, outputs, samples = frame.bodies
    audit(onnx)
    try:
        records = msgspec.json.decode(samples, type=tuple[dict[str, str | int | float | bool | None], ...]) if samples else ()
        scores = None if header.outputs is None else protocol.decode_matrix(outputs, header.outputs)
    except (protocol.ProtocolError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as cause:
        raise SandboxError(reason="its arrays are not as agreed") from cause
    predicted = None
    if header.predicted:
        scores, predicted = _split_predicted(scores, len(header.output.labels))
    converted = ConvertedModel(
        onnx=onnx,
        input=header.input,
        steps=header.steps,
        output=header.output,
        framework=_printable(header.framework),
        converter={_printable(name)[:64]: _printable(version)[:64] for name, version in list(header.converter.items())[:20]},
        outputs=scores,
        predicted=predicted,
        classes=header.classes,
        decision=header.decision,
    )
    return SandboxResult(level=level, converted=converted, records=records, generated=header.samples == "generated")


def _split_predicted(matrix: NDArray[np.float64] | None, label_count: int) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Split the column of predicted label indexes from the scores. Raises SandboxError when an index is invalid."""
    if matrix is None or matrix.shape[1] < 2 or any(index not in range(label_count) for index in matrix[:, -1].tolist()):
        raise SandboxError(reason="its arrays are not as agreed")
    return matrix[:, :-1], matrix[:, -1].astype("intp")


def _to_error(header: protocol.FailureMessage) -> RelevoError:
    reason = _printable(header.reason)
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


def _printable(text: str) -> str:
    """Make the worker's text safe to display: printable, on one line, short."""
    return "".join(character if character.isprintable() else " " for character in text[:_MAX_TEXT])


def _decode_frames(data: bytes) -> list[protocol.Frame]:
    try:
        return list(protocol.frames(data, protocol.Header))
    except protocol.ProtocolError as cause:
        raise SandboxError(reason=f"what it sent cannot be read ({cause})") from cause


# --- the process ------------------------------------------------------------------------------------------------------


def _run(request: bytes, worker: _WorkerSpec) -> bytes:
    """Return everything the worker wrote before it exited. Raises SandboxError when it did not exit, failed, or wrote too much."""
    with sandbox_workdir() as outer:
        folder = outer / "work"
        # Searchable by others, so that a worker without privileges can enter the inner folder; this one holds nothing else.
        outer.chmod(0o711)
        folder.mkdir(mode=0o700)
        if worker.folder:
            extract_folder(worker.folder, folder / FOLDER)
        with _read_only_descriptor(request, outer) as stdin, _worker_process(stdin, folder, worker) as process:
            return _read_output(process, worker.bounds)


@contextmanager
def _read_only_descriptor(request: bytes, folder: Path) -> Iterator[IO[bytes]]:
    """Provide the request as a read-only descriptor of an unlinked file."""
    path = folder / "task"
    path.write_bytes(request)
    with path.open("rb") as file:
        path.unlink()
        yield file


@contextmanager
def _worker_process(stdin: IO[bytes], folder: Path, worker: _WorkerSpec) -> Iterator[subprocess.Popen[bytes]]:
    """Start an interpreter in its own process group; the group is killed when the block ends."""
    bounds = worker.bounds
    command = [
        *(worker.python, "-I", "-B", "-X", "utf8", str(worker.script), str(_SOURCE)),
        *(str(bounds.memory_mb * 2**20), str(bounds.cpu_seconds), str(bounds.file_bytes)),
        *("strong" if worker.need_strong else "any", ",".join(bounds.walls), str(worker.threads)),
        *(str(bounds.data_mb * 2**20), str(worker.loading)),
    ]
    process = subprocess.Popen(  # noqa: S603 - the user's interpreter and Relevo's own script
        command,
        stdin=stdin,
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
    """Return the worker's whole environment: one thread everywhere, no telemetry, the empty folder as home."""
    single_thread = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "LOKY_MAX_CPU_COUNT"), "1")
    return {**single_thread, "ORT_DISABLE_TELEMETRY": "1", "HOME": str(folder), "TMPDIR": str(folder), "LC_ALL": "C.UTF-8"}


def _read_output(process: subprocess.Popen[bytes], bounds: Bounds) -> bytes:
    """Read the pipe to its end, within the limits of time and size. Raises SandboxError."""
    assert process.stdout is not None  # noqa: S101 - stdout is a pipe; narrows for the type checker
    deadline = time.monotonic() + bounds.wall_seconds
    chunks: list[bytes] = []
    size = 0
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            remaining = deadline - time.monotonic()
            if remaining <= 0 or not selector.select(remaining):
                raise SandboxError(reason=f"it took longer than {bounds.wall_seconds:g} seconds")
            chunk = os.read(process.stdout.fileno(), _CHUNK_BYTES)
            if not chunk:
                break
            chunks.append(chunk)
            size += len(chunk)
            if size > bounds.output_mb * 2**20:
                raise SandboxError(reason=f"it sent more than {bounds.output_mb} MiB")
    _check_exit(process, max(deadline - time.monotonic(), 1.0), bounds, empty=size == 0)
    return b"".join(chunks)


def _check_exit(process: subprocess.Popen[bytes], seconds: float, bounds: Bounds, *, empty: bool) -> None:
    """Wait for the worker to exit with code 0. Raises SandboxError."""
    try:
        code = process.wait(timeout=seconds)
    except subprocess.TimeoutExpired as cause:
        raise SandboxError(reason="it closed its pipe and went on") from cause
    if code == -signal.SIGXCPU:
        raise SandboxError(
            reason=f"it used more than the {bounds.cpu_seconds} seconds of processor time it is given; --max-seconds allows more"
        )
    if code < 0:
        raise SandboxError(reason=_SIGNAL_REASONS.get(-code, f"it was ended by signal {-code}"))
    if code > 0 or empty:
        raise SandboxError(reason=f"it ended with code {code}" + (" and said nothing" if empty else ""))
