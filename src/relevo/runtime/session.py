"""Runs an ONNX model from bytes with ONNX Runtime: fixed number of threads, no file access, no telemetry.

    model.onnx bytes ─► Session ─ run(feeds) ─► scores (n, columns) float

The library is imported by the first session and not by this module: its telemetry switch only works if the environment variable is
set before the import.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from relevo.errors import InvalidOnnxError, ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

#: ONNX Runtime's severity "fatal": it also raises the errors that it logs, and its log lines have colours, times without a zone, and
#: values of the input.
_LOG_FATAL = 4
#: Maximum seconds of one run of a model with a loop; any other model ends by itself.
MAX_LOOP_S = 30.0
_POLL_S = 0.5


def load_onnxruntime() -> Any:
    """Import ONNX Runtime with telemetry disabled."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    onnxruntime.set_default_logger_severity(_LOG_FATAL)
    return onnxruntime


def load_session(onnx: bytes, *, threads: int = 1) -> Any:
    """ONNX Runtime's session for a model file's bytes. Raises InvalidOnnxError if it cannot build one."""
    library = load_onnxruntime()
    options = library.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _LOG_FATAL
    # Session options embedded in an untrusted file stay disabled: they may name libraries to load.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    # Spinning threads take processor time from other processes.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return library.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    except Exception as cause:
        raise InvalidOnnxError(reason=f"ONNX Runtime cannot load it ({_first_line(cause)})") from cause


class Session:
    """One ONNX session. Lifetime: its LoadedVersion or opened package."""

    def __init__(self, onnx: bytes, *, output: str, threads: int = 1) -> None:
        """Build from bytes. Raises InvalidOnnxError if ONNX Runtime cannot build it or if it has no output with that name."""
        self._session = load_session(onnx, threads=threads)
        names = [node.name for node in self._session.get_outputs()]
        if output not in names:
            raise InvalidOnnxError(reason=f"it has no output '{output}', only {', '.join(names)}")
        self._output_names = [output]
        # The operator's name is in the bytes; a false match, such as a tensor's name, only costs a few microseconds per run.
        self._has_loop = b"Loop" in onnx
        self.inputs = {node.name: (node.type, tuple(node.shape)) for node in self._session.get_inputs()}

    def run(self, feeds: dict[str, NDArray[Any]]) -> NDArray[np.floating]:
        """Scores for n rows, shape (n, columns) or (n,). Raises ModelError if the model fails or returns another number of rows."""
        try:
            scores = self._run_with_deadline(feeds) if self._has_loop else self._session.run(self._output_names, feeds)[0]
        except Exception as cause:
            raise ModelError from cause
        rows = len(next(iter(feeds.values())))
        if not isinstance(scores, np.ndarray) or len(scores) != rows:
            raise ModelError
        return scores

    def _run_with_deadline(self, feeds: dict[str, NDArray[Any]]) -> Any:
        options = load_onnxruntime().RunOptions()
        with _WATCHDOG.limit(time.monotonic() + MAX_LOOP_S, options):
            return self._session.run(self._output_names, feeds, options)[0]


class _RunWatchdog:
    """Ends runs that take too long, with one thread for all sessions. Lifetime: the process; its thread ends when no run is active."""

    def __init__(self) -> None:
        self._running: dict[int, tuple[float, Any]] = {}  # by id of the options: deadline, options
        self._lock = threading.Lock()
        self._is_polling = False

    @contextmanager
    def limit(self, deadline: float, options: Any) -> Iterator[None]:
        """Terminate the run with these options unless the block ends before the deadline."""
        with self._lock:
            self._running[id(options)] = (deadline, options)
            if not self._is_polling:
                # Inside the sandbox no thread can be started, and CPU time is limited.
                with suppress(RuntimeError):
                    threading.Thread(target=self._poll, name="loop-watch", daemon=True).start()
                    self._is_polling = True
        try:
            yield
        finally:
            with self._lock:
                del self._running[id(options)]

    def _poll(self) -> None:
        while True:
            time.sleep(_POLL_S)
            with self._lock:
                # Race: a run that begins now sees that the flag is cleared and starts a new thread.
                if not self._running:
                    self._is_polling = False
                    return
                for deadline, options in self._running.values():
                    if time.monotonic() > deadline:
                        options.terminate = True


_WATCHDOG = _RunWatchdog()


def _first_line(cause: Exception) -> str:
    return str(cause).strip().split("\n")[0][:200]
