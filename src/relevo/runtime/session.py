"""An ONNX Runtime session over bytes: fixed threads, no files, no telemetry.

    model.onnx bytes ─► Session ─ run(feeds) ─► scores (n, columns) float

The library is loaded by the first session and not by the import of this module: its switch against telemetry only works
when it is in the environment before the library is.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from relevo.errors import ModelFailed, OnnxRefused

if TYPE_CHECKING:
    from numpy.typing import NDArray

_QUIET = 3  # ONNX Runtime's severity "error"


def load_onnxruntime() -> Any:  # noqa: ANN401 - the library ships no usable types
    """Import ONNX Runtime with its usage reports switched off."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime  # noqa: PLC0415 - must follow the switch above

    return onnxruntime


def load_session(onnx: bytes, *, threads: int = 1) -> Any:  # noqa: ANN401 - the same
    """ONNX Runtime's own session over a file's bytes. Raises OnnxRefused when it cannot build one."""
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
        raise OnnxRefused(reason=f"ONNX Runtime cannot load it ({_first_line(cause)})") from cause


class Session:
    """One loaded model; lives as long as its lane or opened package."""

    def __init__(self, onnx: bytes, *, output: str, threads: int = 1) -> None:
        """Build from bytes. Raises OnnxRefused when ONNX Runtime cannot build it or it has no output of that name."""
        self._session = load_session(onnx, threads=threads)
        names = [node.name for node in self._session.get_outputs()]
        if output not in names:
            raise OnnxRefused(reason=f"it has no output '{output}', only {', '.join(names)}")
        self._wanted = [output]
        self.inputs = {node.name: (node.type, tuple(node.shape)) for node in self._session.get_inputs()}

    def run(self, feeds: dict[str, NDArray[Any]]) -> NDArray[np.floating]:
        """Scores for n rows, shape (n, columns) or (n,). Raises ModelFailed when the model raises or loses rows."""
        try:
            scores = self._session.run(self._wanted, feeds)[0]
        except Exception as cause:
            raise ModelFailed from cause
        rows = len(next(iter(feeds.values())))
        if not isinstance(scores, np.ndarray) or len(scores) != rows:
            raise ModelFailed
        return scores


def _first_line(cause: Exception) -> str:
    return str(cause).strip().split("\n")[0][:200]
