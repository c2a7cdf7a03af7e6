"""An ONNX Runtime session over bytes: fixed threads, no files, no telemetry.

    model.onnx bytes ─► Session ─ run(feeds) ─► scores (n, columns) float

The library is loaded by the first session and not by the import of this module: its switch against telemetry only works
when it is in the environment before the library is.
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

#: ONNX Runtime's severity "fatal": what it says of errors it raises too, and what it prints has colours, a zoneless time and values
#: of the input.
_QUIET = 4
#: How long one run of a model with a loop may take; any other model ends by itself.
MAX_LOOP_S = 30.0
_LOOK_S = 0.5


def load_onnxruntime() -> Any:
    """Import ONNX Runtime with its usage reports switched off."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    onnxruntime.set_default_logger_severity(_QUIET)
    return onnxruntime


def load_session(onnx: bytes, *, threads: int = 1) -> Any:
    """ONNX Runtime's own session over a file's bytes. Raises InvalidOnnxError when it cannot build one."""
    library = load_onnxruntime()
    options = library.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _QUIET
    # Options embedded in a stranger's file stay off: they may name libraries.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    # Spinning threads take the core from the neighbour process.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return library.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    except Exception as cause:
        raise InvalidOnnxError(reason=f"ONNX Runtime cannot load it ({_first_line(cause)})") from cause


class Session:
    """One loaded model; lives as long as its lane or opened package."""

    def __init__(self, onnx: bytes, *, output: str, threads: int = 1) -> None:
        """Build from bytes. Raises InvalidOnnxError when ONNX Runtime cannot build it or it has no output of that name."""
        self._session = load_session(onnx, threads=threads)
        names = [node.name for node in self._session.get_outputs()]
        if output not in names:
            raise InvalidOnnxError(reason=f"it has no output '{output}', only {', '.join(names)}")
        self._wanted = [output]
        # The operator's name stands in the bytes; a tensor that is called so costs a few microseconds a run.
        self._loops = b"Loop" in onnx
        self.inputs = {node.name: (node.type, tuple(node.shape)) for node in self._session.get_inputs()}

    def run(self, feeds: dict[str, NDArray[Any]]) -> NDArray[np.floating]:
        """Scores for n rows, shape (n, columns) or (n,). Raises ModelError when the model raises or loses rows."""
        try:
            scores = self._watched(feeds) if self._loops else self._session.run(self._wanted, feeds)[0]
        except Exception as cause:
            raise ModelError from cause
        rows = len(next(iter(feeds.values())))
        if not isinstance(scores, np.ndarray) or len(scores) != rows:
            raise ModelError
        return scores

    def _watched(self, feeds: dict[str, NDArray[Any]]) -> Any:
        options = load_onnxruntime().RunOptions()
        with _WATCH.until(time.monotonic() + MAX_LOOP_S, options):
            return self._session.run(self._wanted, feeds, options)[0]


class _Watch:
    """Ends runs that take too long; one thread for all sessions of the process, which lives while any of them runs."""

    def __init__(self) -> None:
        self._running: dict[int, tuple[float, Any]] = {}  # by the options' identity: until when, and the options
        self._lock = threading.Lock()
        self._looks = False

    @contextmanager
    def until(self, deadline: float, options: Any) -> Iterator[None]:
        """Terminate the run with these options when the block is not left by then."""
        with self._lock:
            self._running[id(options)] = (deadline, options)
            if not self._looks:
                # Behind the quarantine's walls no thread can be started, and processor time is bounded.
                with suppress(RuntimeError):
                    threading.Thread(target=self._look, name="loop-watch", daemon=True).start()
                    self._looks = True
        try:
            yield
        finally:
            with self._lock:
                del self._running[id(options)]

    def _look(self) -> None:
        while True:
            time.sleep(_LOOK_S)
            with self._lock:
                # Race: a run that begins now sees `_looks` go and starts a thread of its own.
                if not self._running:
                    self._looks = False
                    return
                for deadline, options in self._running.values():
                    if time.monotonic() > deadline:
                        options.terminate = True


_WATCH = _Watch()


def _first_line(cause: Exception) -> str:
    return str(cause).strip().split("\n")[0][:200]
